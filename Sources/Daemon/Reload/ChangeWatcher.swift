import Glibc
import Platform

/// Waits for whatever calls for other data: changed files, another network, a request. One thread runs it.
final class ChangeWatcher: Sendable {
    let files = FileWatcher()
    /// Nil if the system does not announce changes: then they are looked for, like those of files.
    private let network: NetworkEvents?
    private let signal: WakeSignal
    /// For the next look at the files, which also notices that the machine has slept.
    private let timer: WakeTimer

    enum Change {
        case files, asked
        /// Addresses, links or routes.
        case network
        /// The machine has slept, for so many microseconds: it may be anywhere now.
        case awake(UInt64)
    }

    /// Times in microseconds: from one look to the next, and from one that saw something new.
    private static let lookInterval: UInt64 = 5_000_000
    private static let settleInterval: UInt64 = 1_000_000
    /// A change counts as complete after this time without events: an editor writes a file in several steps, and an
    /// address comes with routes.
    private static let quiet: UInt64 = 20_000
    /// The most that a report is delayed.
    private static let longestDelay: UInt64 = 500_000
    /// Events that concern nobody wake the thread this often at most: a folder above may be a busy one.
    private static let rest: UInt64 = 50_000

    /// Events that belong together.
    private struct Burst {
        private var start: UInt64?
        /// When it counts as complete; nil: there is none.
        private(set) var end: UInt64?

        mutating func note(_ now: UInt64) {
            let first = start ?? now
            start = first
            end = min(now + quiet, first + longestDelay)
        }

        /// Whether it is complete; then it is over.
        mutating func ends(_ now: UInt64) -> Bool {
            guard let end, now >= end else { return false }
            self = Burst()
            return true
        }
    }

    init() throws(SystemError) {
        signal = try WakeSignal()
        timer = try WakeTimer()
        do throws(SystemError) { network = try NetworkEvents() } catch {
            Report.problem("changes of networks are not announced: \(error); they are seen within seconds, not at once")
            network = nil
        }
    }

    func end() { signal.end() }

    /// Makes `run` report `.asked` soon; several requests may become one.
    func request() { signal.wake() }

    /// Calls `report` for each change; returns after `end`.
    func run(_ report: (Change) -> Void) {
        var (edits, moves) = (Burst(), Burst())
        var sleep = SleepWatch()
        var restsUntil: UInt64 = 0
        timer.set(SystemClock.monotonic() + Self.lookInterval)
        // What changed before the system announced it to us.
        report(.network)
        while true {
            let now = SystemClock.monotonic()
            if files.hasMissed() { edits.note(now) }
            if edits.ends(now) { report(.files) }
            if moves.ends(now) { report(.network) }
            let due = [edits.end, moves.end, now < restsUntil ? restsUntil : nil].compactMap { $0 }.min()
            // A negative descriptor is not waited for.
            var polled = [
                signal.descriptor, timer.descriptor, network?.descriptor ?? -1,
                now < restsUntil ? -1 : files.inotify,
            ].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            let pause = due.map { Int32(clamping: ($0 - min(now, $0) + 999) / 1000) }
            guard poll(&polled, nfds_t(polled.count), pause ?? -1) > 0 else { continue }
            if polled[0].revents != 0 {
                if signal.consume() { return }
                report(.asked)
            }
            if polled[1].revents != 0 {
                timer.consume()
                if let asleep = sleep.look() {
                    report(.awake(asleep))
                } else if network == nil {
                    report(.network)
                }
                let look = files.look()
                if look == .changed { report(.files) }
                timer.set(SystemClock.monotonic() + (look == .unsettled ? Self.settleInterval : Self.lookInterval))
            }
            if polled[2].revents != 0 {
                network?.consume()
                // At once: until then, clients of a new network are refused. And again when it is complete.
                if moves.end == nil { report(.network) }
                moves.note(SystemClock.monotonic())
            }
            if polled[3].revents != 0 {
                if files.readEvents() {
                    edits.note(SystemClock.monotonic())
                } else {
                    restsUntil = SystemClock.monotonic() + Self.rest
                }
            }
        }
    }
}
