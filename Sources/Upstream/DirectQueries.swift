import DNSWire
import Lookup
import Platform

/// Questions of our own to certain servers, past the cache and the local data, and without the daemon's forward lane.
enum DirectQueries {
    /// The answers of `servers` to `keys`, all asked at once; nil where there was none within `timeout` microseconds.
    /// Blocks, unless `signal` ends.
    static func answers(
        to keys: [FetchKey], from servers: [UpstreamServer], timeout: UInt64, until signal: WakeSignal? = nil
    ) -> [UpstreamAnswer?] {
        let found = Found(count: keys.count)
        guard !servers.isEmpty, !keys.isEmpty else { return found.answers }
        var settings = ForwardSettings(servers: servers)
        settings.clientTimeout = timeout
        do {
            let engine = try ForwardEngine<Int, UpstreamAnswer>(
                settings: settings, check: { key, message, _ in try? UpstreamAnswer.check(message, for: key) },
                completion: { _, waiters, event, _ in
                    switch event {
                    case .late: return
                    case .answered(let answer, _): for index in waiters { found.answers[index] = answer }
                    case .failed: break
                    }
                    found.outstanding -= waiters.count
                })
            let lane = ForwardLane(engine, over: try SystemNetwork(wake: engine.wake))
            for (index, key) in keys.enumerated() {
                let now = SystemClock.monotonic()
                lane.fetch(key, for: index, deadline: now + timeout, now: now)
            }
            while found.outstanding > 0, signal?.hasEnded != true {
                // The end of the daemon wakes nobody here.
                let pause = lane.milliseconds
                lane.round(waiting: pause < 0 ? 100 : min(pause, 100))
            }
            engine.stop()
            lane.round()
        } catch {
            return found.answers
        }
        return found.answers
    }

    /// `@unchecked`: used on the caller's thread only, which runs the lane.
    private final class Found: @unchecked Sendable {
        var outstanding: Int
        var answers: [UpstreamAnswer?]

        init(count: Int) {
            outstanding = count
            answers = Array(repeating: nil, count: count)
        }
    }
}

extension UpstreamAnswer {
    /// Calls `body` with the RDATA of each record of `type` in the answer section.
    func forEachRecord(_ type: RecordType, _ body: (UnsafeRawBufferPointer) -> Void) {
        message.withUnsafeBytes { message in
            var cursor = questionEnd
            for _ in 0..<answers {
                guard let record = MessageReader.record(message, at: cursor) else { return }
                cursor = record.end
                guard record.type == type else { continue }
                body(UnsafeRawBufferPointer(rebasing: message[record.rdata..<record.end]))
            }
        }
    }

    /// The addresses in the answer section, with port 0.
    var addresses: [SocketAddress] {
        var addresses: [SocketAddress] = []
        for type in [RecordType.a, .aaaa] {
            forEachRecord(type) { addresses += SocketAddress.list($0, isIPv6: type == .aaaa) }
        }
        return addresses
    }
}

extension SocketAddress {
    /// The addresses in `bytes`, one after the other as in RDATA, with port 0.
    static func list(_ bytes: UnsafeRawBufferPointer, isIPv6: Bool) -> [SocketAddress] {
        let size = isIPv6 ? 16 : 4
        return stride(from: 0, to: bytes.count - size + 1, by: size).map { start in
            let (high, low) = bytes[start..<(start + size)].reduce((UInt64(0), UInt64(0))) {
                ($0.0 << 8 | $0.1 >> 56, $0.1 << 8 | UInt64($1))
            }
            return SocketAddress(high: high, low: low, port: 0, isIPv6: isIPv6)
        }
    }
}
