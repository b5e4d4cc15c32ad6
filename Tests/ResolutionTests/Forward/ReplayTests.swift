import DNSWire
import Lookup
import Synchronization
import Testing

@testable import Platform
@testable import Upstream

@Suite("A lane with a cassette")
struct ReplayTests {
    /// Replies to each question with a delay of as many milliseconds as its name's first label says.
    private struct Delays: UpstreamCassette {
        func play(_ key: FetchKey) -> CassettePlay {
            let digits = key.name[1..<(1 + Int(key.name[0]))]
            guard let delay = UInt64(String(decoding: digits, as: UTF8.self)) else { return .ask }
            let message =
                [0, 0, 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0] + key.name
                + [0, UInt8(truncatingIfNeeded: key.type.rawValue), 0, 1]
            return .reply(
                RecordedReply(
                    message: message, place: .nowhere, microseconds: UInt32(delay * 1000), delay: delay * 1000,
                    hasSuccessor: false))
        }

        func record(_ key: FetchKey, _ message: UnsafeRawBufferPointer, from reply: UpstreamReply) {}
        func recordSilence(_ key: FetchKey, after microseconds: UInt64) {}
    }

    /// Nothing ever arrives.
    private struct NoNetwork: UpstreamNetwork {
        var descriptor: Int32 { -1 }
        func wait(milliseconds: Int32) {}
        func open(_ channel: UpstreamChannel, to server: UpstreamServer) {}
        func close(_ channel: UpstreamChannel) {}
        func closeAll() {}
        func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
            Issue.record("something is sent")
        }
        func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {}
        func takeEvents() -> [ExchangeEvent] { [] }
        func localAddress(of channel: UpstreamChannel) -> SocketAddress? { nil }
    }

    @Test("gives replies in the order of their times, each when its time has come, and asks nobody")
    func times() throws {
        let answered = Mutex<[Int]>([])
        let engine = try ForwardEngine<Int, Int>(
            settings: ForwardSettings(servers: []), check: { _, message, _ in message.count },
            completion: { _, waiters, event, _ in
                if case .answered(_, let reply) = event, reply.transport == .replay {
                    answered.withLock { $0 += waiters }
                } else {
                    answered.withLock { $0.append(-1) }
                }
            }, cassette: Delays())
        let lane = ForwardLane(engine, over: NoNetwork())
        let start: UInt64 = 1_000_000_000
        for delay in [30, 10, 0, 20, 10] {
            #expect(engine.fetch(ForwardNetwork.key("\(delay).example"), for: delay, deadline: start + 1_000_000))
        }
        lane.round(at: start)
        #expect(answered.withLock { $0 } == [0])
        #expect(lane.nextRound == start + 10_000)
        lane.round(at: start + 9_999)
        #expect(answered.withLock { $0 } == [0])
        lane.round(at: start + 10_000)
        #expect(answered.withLock { $0 } == [0, 10, 10])
        lane.round(at: start + 40_000)
        #expect(answered.withLock { $0 } == [0, 10, 10, 20, 30])
        // No longer than the client waits.
        #expect(engine.fetch(ForwardNetwork.key("5000.example"), for: 5000, deadline: start + 1_000_000))
        lane.round(at: start + 50_000)
        lane.round(at: start + 1_000_000)
        #expect(answered.withLock { $0 }.last == 5000)
        // What the cassette leaves to upstream has no server here.
        #expect(engine.fetch(ForwardNetwork.key("other.example"), for: 1, deadline: start + 2_000_000))
        lane.round(at: start + 1_000_001)
        #expect(answered.withLock { $0 }.last == -1)
    }
}
