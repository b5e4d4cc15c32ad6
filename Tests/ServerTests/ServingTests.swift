import CLinux
import DNSWire
import Foundation
import LocalData
import LookupLog
import Synchronization
import TestSupport
import Testing

@testable import Daemon
@testable import Lookup
@testable import Pipeline
@testable import Platform
@testable import Transports
@testable import Upstream

@Suite("Serving threads")
struct ServingTests {
    private func data() -> ServedData {
        ServedData(
            pipeline: Pipeline(hosts: .empty(), zones: .empty, special: .none, cache: AnswerCache()),
            service: ServiceSettings(cookie: ServerCookie()),
            recursionAvailable: true)
    }

    @Test("release old data as soon as there is new data, without waiting for a query")
    func snapshot() async throws {
        let store = ServedDataStore(data())
        weak let old = store.current().data
        let forwarding = try Forwarding(settings: ForwardSettings(servers: []), store: store, log: nil)
        let signal = try WakeSignal()
        let threads = ThreadGroup()
        threads.start("udp") {
            do {
                var worker = UDPWorker(
                    sockets: [], store: store, forwarding: forwarding, lane: try forwarding.makeLane(), ring: nil,
                    signal: signal)
                try worker.run()
            } catch {
                Issue.record(error)
            }
        }
        store.replace(data())
        signal.wake()
        let end = ContinuousClock.now + .seconds(longestWait)
        while old != nil, ContinuousClock.now < end { try await Task.sleep(for: .milliseconds(2)) }
        #expect(old == nil)
        signal.end()
        await threads.join()
    }

    @Test("waiting queries are bounded in bytes; further ones fail at once")
    func room() throws {
        let store = ServedDataStore(data())
        let server = try UpstreamServer(parsing: "127.0.0.1:1")
        // Never run: nothing is ever answered.
        let forwarding = try Forwarding(settings: ForwardSettings(servers: [server]), store: store, log: nil)
        var message: [UInt8] = [0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 0x61, 0, 0, 1, 0, 1, 0, 0, 41, 4, 0, 0, 0, 0, 0]
        // Padding (RFC 7830) of the maximum length.
        message += [0xFD, 0xE8, 0, 12, 0xFD, 0xE4] + [UInt8](repeating: 0, count: 0xFDE4)
        let client = SocketAddress(high: 0, low: 0x7F00_0001, port: 4000, isIPv6: false)
        let question = Question(type: .a)
        let refused = RefusalCount()
        for _ in 0..<500 {
            let request = Lookup.Request(client: client, transport: .tcp, arrival: Moment.now())
            message.withUnsafeBytes { bytes in
                let reply = ParkedQuery.Reply.stream { reply in
                    let response = reply.bytes
                    #expect(response.count > 12 && response[3] & 0xF == 2)
                    refused.add()
                }
                forwarding.park(bytes, request, reply: reply, key: FetchKey(.root, question))
            }
        }
        let waiting = (500 - refused.value) * message.count
        #expect(refused.value > 0 && waiting > 15 << 20 && waiting <= 16 << 20, "\(waiting) bytes")
    }

    private final class RefusalCount: Sendable {
        private let count = Atomic<Int>(0)
        var value: Int { count.load(ordering: .relaxed) }
        func add() { count.add(1, ordering: .relaxed) }
    }
}

@Suite("Access")
struct AccessListTests {
    @Test(
        "a network is an address with a prefix length",
        arguments: ["10.0.0.0/8", "192.0.2.1", "::/0", "2001:db8::/128"])
    func networks(_ text: String) { #expect(AccessList.Network(text) != nil) }

    @Test(
        "other texts are not networks",
        arguments: [
            "10.0.0.0/+8", "10.0.0.0/-0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/8/8", "::/129", "/8", "10/8",
            "10.0.0.0/99999999999999999999", "10.0.0.0/\u{0668}",
        ])
    func nonsense(_ text: String) { #expect(AccessList.Network(text) == nil) }

    @Test("an IPv4 client counts as the same if its address is mapped into IPv6")
    func mapped() throws {
        let access = AccessList(allowing: [try #require(AccessList.Network("192.0.2.0/24"))])
        for (text, isAllowed) in [
            ("192.0.2.7", true), ("::ffff:192.0.2.7", true), ("::ffff:192.0.3.7", false), ("::192.0.2.7", false),
            ("::ffff:127.0.0.1", true),
        ] {
            let client = try #require(SocketAddress(ip: text, port: 1))
            #expect(access.allows(client) == isAllowed, "\(text)")
        }
    }
}
