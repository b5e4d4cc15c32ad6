public import DNSWire
import Lookup
public import Platform

/// Looks up the addresses of a server's host with other servers, before anything else can be asked.
public enum HostLookup {
    /// The addresses of `host` (port 0), IPv4 first, as `servers` know them; empty if none answers within `timeout`
    /// microseconds. Blocks.
    public static func addresses(
        of host: Name, from servers: [UpstreamServer], timeout: UInt64 = 2_000_000
    ) -> [SocketAddress] {
        guard !servers.isEmpty else { return [] }
        var settings = ForwardSettings(servers: servers)
        settings.clientTimeout = timeout
        let found = Found()
        do {
            let engine = try ForwardEngine<RecordType, UpstreamAnswer>(
                settings: settings, check: { key, message, _ in try? UpstreamAnswer.check(message, for: key) },
                completion: { _, waiters, event, _ in
                    switch event {
                    case .late: return
                    case .answered(let answer, _): for type in waiters { found.take(answer, type) }
                    case .failed: found.outstanding -= waiters.count
                    }
                })
            let lane = ForwardLane(engine, over: try SystemNetwork(wake: engine.wake))
            for type in [RecordType.a, .aaaa] {
                let now = SystemClock.monotonic()
                found.outstanding += 1
                lane.fetch(
                    FetchKey(host, Question(type: type, mayForward: true)), for: type, deadline: now + timeout, now: now
                )
            }
            while found.outstanding > 0 { lane.round(waiting: lane.milliseconds) }
            engine.stop()
            lane.round()
        } catch {
            return []
        }
        return found.addresses.sorted { !$0.isIPv6 && $1.isIPv6 }
    }

    /// `@unchecked`: used on the caller's thread only, which runs the lane.
    private final class Found: @unchecked Sendable {
        var outstanding = 0
        var addresses: [SocketAddress] = []

        func take(_ answer: UpstreamAnswer, _ type: RecordType) {
            outstanding -= 1
            answer.message.withUnsafeBytes { message in
                var cursor = answer.questionEnd
                for _ in 0..<answer.answers {
                    guard let record = MessageReader.record(message, at: cursor) else { return }
                    cursor = record.end
                    guard record.type == type else { continue }
                    let bytes = UnsafeRawBufferPointer(rebasing: message[record.rdata..<record.end])
                    let (high, low) = bytes.reduce((UInt64(0), UInt64(0))) {
                        ($0.0 << 8 | $0.1 >> 56, $0.1 << 8 | UInt64($1))
                    }
                    addresses.append(SocketAddress(high: high, low: low, port: 0, isIPv6: type == .aaaa))
                }
            }
        }
    }
}
