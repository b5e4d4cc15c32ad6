import Glibc
import Platform
import Synchronization
import Transports

/// Overrides that are added and removed while the daemon runs. All serving threads see a change at once.
extension DaemonControl {
    /// Overrides `name` with `addresses` for so many seconds, or until the daemon ends.
    ///
    /// It stands before all hosts files for the whole family of the name. What the name was leased before is replaced.
    @discardableResult
    package func addOverride(
        _ name: String, _ addresses: [String], seconds: UInt32?
    ) throws(OverrideProblem) -> OverrideLease {
        try daemon.changeLeases { leases throws(OverrideProblem) in
            try leases.add(name, addresses, seconds: seconds, now: .now())
        }
    }

    /// Ends the lease of `name` now; returns it.
    @discardableResult
    package func removeOverride(_ name: String) throws(OverrideProblem) -> OverrideLease {
        try daemon.changeLeases { leases throws(OverrideProblem) in try leases.remove(name) }
    }

    /// The leases that are live, in the order in which they were added.
    package func overrides() -> [OverrideLease] {
        daemon.state.withLock { $0.leases.all(at: Moment.monotonicMicroseconds()) }
    }
}

extension RunningDaemon {
    /// Changes the leases and has all threads serve them: one after the other, a reload among them.
    func changeLeases<R: Sendable>(
        _ change: (inout OverrideLeases) throws(OverrideProblem) -> R
    ) throws(OverrideProblem) -> R {
        let result = state.withLock { state -> Result<R, OverrideProblem> in
            do throws(OverrideProblem) {
                let result = try change(&state.leases)
                store.replace(state.servedData(cookie))
                return .success(result)
            } catch {
                return .failure(error)
            }
        }
        let value = try result.get()
        refreshWorkers()
        leaseClock.wake()
        return value
    }

    /// Ends the leases that are due; returns when the next one is, monotonic in microseconds.
    func endLeases(at now: UInt64 = Moment.monotonicMicroseconds()) -> UInt64? {
        let (ended, next) = state.withLock { state in
            let ended = state.leases.end(at: now)
            if !ended.isEmpty { store.replace(state.servedData(cookie)) }
            return (ended, state.leases.nextEnd)
        }
        if !ended.isEmpty { refreshWorkers() }
        for lease in ended { Report.line("override   \(lease.rule) has ended: \(lease.name)") }
        return next
    }
}

/// Ends leases on time: a thread that sleeps until the next end.
final class LeaseClock: Sendable {
    private let signal: WakeSignal

    init() throws(SystemError) { signal = try WakeSignal() }

    /// There may be an earlier end.
    func wake() { signal.wake() }

    func end() { signal.end() }

    /// Calls `endDue`, which returns when it is to be called next (monotonic, in microseconds), until `end`.
    func run(_ endDue: () -> UInt64?) {
        while true {
            let next = endDue()
            let pause = next.map { Int32(clamping: ($0 - min($0, Moment.monotonicMicroseconds()) + 999) / 1000) } ?? -1
            var polled = pollfd(fd: signal.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&polled, 1, pause) > 0 else { continue }
            if signal.consume() { return }
        }
    }
}
