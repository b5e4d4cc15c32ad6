import DNSWire
import Platform
import Testing

@testable import Lookup
@testable import Upstream

@Suite("Decisions of forwarding")
struct ForwardCoreTests {
    private let one = ["10.0.0.1"]
    private let two = ["10.0.0.1", "10.0.0.2"]

    /// Two servers that have answered: the first in 10 ms, the second in 20 ms.
    private func twoKnown(_ adjust: (inout ForwardSettings) -> Void = { _ in }) throws -> ForwardNetwork {
        let network = try ForwardNetwork(two, adjust)
        network.fetch("warm.example")
        let queries = network.queries()
        try #require(queries.map(\.server) == [0, 1])
        network.pass(10)
        network.answer(queries[0])
        network.pass(10)
        network.answer(queries[1])
        network.ended.removeAll()
        return network
    }

    // MARK: Queries

    @Test("a query has RD and AD, one question, EDNS with 1232 bytes and a client cookie")
    func queryBytes() throws {
        let network = try ForwardNetwork(one)
        network.fetch("WWW.Example.org", .aaaa)
        let query = try #require(network.query())
        #expect(Array(query.bytes[2..<12]) == [1, 0x20, 0, 1, 0, 0, 0, 0, 0, 1])
        #expect(query.name == Name("www.example.org")!.wire)
        #expect(Array(query.bytes[(query.questionEnd - 4)..<query.questionEnd]) == [0, 28, 0, 1])
        #expect(Array(query.bytes[query.questionEnd...].prefix(9)) == [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0])
        #expect(query.cookie.count == 8)
    }

    @Test("DO and CD are passed on, and make the question a different one")
    func flags() throws {
        let network = try ForwardNetwork(one)
        let plain = FetchKey(Name("a.example")!, Question(type: .a))
        let secure = FetchKey(Name("a.example")!, Question(type: .a, dnssecOK: true, checkingDisabled: true))
        for key in [plain, secure] { _ = network.core.fetch(key, waits: true, deadline: .max, now: network.now) }
        network.pump()
        let queries = network.queries()
        try #require(queries.count == 2)
        #expect(queries[0].bytes[3] == 0x20 && queries[1].bytes[3] == 0x30)
        #expect(
            queries[0].bytes[queries[0].questionEnd + 7] == 0 && queries[1].bytes[queries[1].questionEnd + 7] == 0x80)
    }

    @Test("IDs and source ports differ from query to query")
    func unpredictable() throws {
        let network = try ForwardNetwork(one)
        for index in 0..<1000 {
            network.fetch("n\(index).example")
            network.now += 1
        }
        let queries = network.queries()
        #expect(Set(queries.map(\.id)).count > 950)
        #expect(Set(queries.map(\.channel)).count == 32)
        // Each port for few queries, and not one after the other.
        #expect(Dictionary(grouping: queries, by: \.channel).values.allSatisfy { $0.count < 100 })
        #expect(zip(queries, queries.dropFirst()).count { $0.channel == $1.channel } < 100)
    }

    @Test("a port is retired after its share of queries, and closed once all are answered")
    func portsRetire() throws {
        let network = try ForwardNetwork(one) { $0.queriesPerPort = 10 }
        for index in 0..<400 {
            network.fetch("n\(index).example")
            for query in network.queries() { network.answer(query) }
        }
        #expect(network.portsEverOpened >= 40)
        #expect(network.openPorts.count <= 32)
        #expect(network.answered.count == 400)
    }

    // MARK: Messages that are no answer

    enum Forgery: String, CaseIterable {
        case wrongID, otherName, otherType, otherClass, isQuery, otherOpcode, otherPort, garbage, header, empty
    }

    @Test("messages that don't match the query are ignored", arguments: Forgery.allCases)
    func forged(_ forgery: Forgery) throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let query = try #require(network.query())
        var message = ForwardNetwork.response(query)
        var channel = query.channel
        switch forgery {
        case .wrongID: message[1] ^= 1
        case .otherName: message[13] ^= 1
        case .otherType: message[query.questionEnd - 3] = 2
        case .otherClass: message[query.questionEnd - 1] = 3
        case .isQuery: message[2] = 1
        case .otherOpcode: message[2] = 0xA1
        case .otherPort: channel = .port(77)
        case .garbage: message.replaceSubrange(4..., with: Array(repeating: 0xFF, count: 40))
        case .header: message = Array(message[..<12])
        case .empty: message = []
        }
        network.deliver(message, on: channel)
        #expect(network.ended.isEmpty && network.sent.isEmpty)
        network.answer(query)
        #expect(network.answered.count == 1)
    }

    @Test("prefixes of an answer and single changed bytes do no harm")
    func mutations() throws {
        let network = try ForwardNetwork(one)
        for cut in 0..<60 {
            for flip: UInt8 in [0x01, 0x80, 0xFF] {
                network.fetch("a\(cut).example")
                guard let query = network.queries().first else { continue }
                var message = ForwardNetwork.response(query, cookie: query.cookie)
                if cut < message.count { message[cut] ^= flip }
                network.deliver(message, on: query.channel)
                network.deliver(Array(message.prefix(cut)), on: query.channel)
                for query in network.queries() { network.answer(query) }
                network.answer(query)
            }
        }
        network.pass(20_000)
        #expect(network.core.flightCount == 0)
    }

    @Test("with random case, only an answer in exactly that case counts")
    func caseIsCompared() throws {
        let network = try ForwardNetwork(one) { $0.randomizesCase = true }
        let name = "abcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz"
        network.fetch(name)
        let query = try #require(network.query())
        #expect(query.name != Name(name)!.wire)
        #expect(Name(uncheckedWire: query.name) == Name(name)!)
        var folded = ForwardNetwork.response(query)
        folded.replaceSubrange(12..<(query.questionEnd - 4), with: Name(name)!.wire)
        network.deliver(folded, on: query.channel)
        #expect(network.ended.isEmpty)
        network.answer(query)
        #expect(network.answered.count == 1)
    }

    @Test("after an unusable answer the next server is asked; without one, the failure is invalid data")
    func unusable() throws {
        let network = try twoKnown()
        network.acceptsAnswers = false
        network.fetch("a.example")
        network.answer(try #require(network.query()))
        let second = try #require(network.query())
        #expect(second.server == 1)
        network.answer(second)
        #expect(network.failures == [.invalidData])
    }

    // MARK: Joining and limits

    @Test("equal questions in flight are joined, whatever their case")
    func joins() throws {
        let network = try ForwardNetwork(one)
        let first = network.fetch("a.example")
        #expect(network.fetch("A.EXAMPLE") == first)
        #expect(network.fetch("a.example", .aaaa) != first)
        #expect(network.queries().count == 2)
    }

    @Test("too many questions, or too many waiters on one, are refused at once")
    func limits() throws {
        let network = try ForwardNetwork(one) {
            $0.maximumFlights = 2
            $0.maximumWaiters = 3
        }
        #expect(network.fetch("a.example") != nil)
        #expect(network.fetch("b.example") != nil)
        #expect(network.fetch("c.example") == nil)
        #expect(network.fetch("a.example") != nil)
        #expect(network.fetch("a.example") != nil)
        #expect(network.fetch("a.example") == nil)
        let queries = network.queries()
        network.answer(queries[0])
        #expect(network.fetch("c.example") != nil)
    }

    // MARK: Routes

    @Test(
        "the longest matching route is used",
        arguments: [
            ("www.example.org", 0), ("corp.example", 1), ("host.CORP.example", 1), ("notcorp.example", 0),
            ("x.lab.corp.example", 2), ("example", 0),
        ])
    func routes(_ name: String, _ server: Int) throws {
        let network = try ForwardNetwork(["10.0.0.1", "corp.example=10.0.0.2", "lab.corp.example=10.0.0.3"])
        network.fetch(name)
        #expect(network.query()?.server == server)
    }

    @Test("a name without a route is not forwarded")
    func noRoute() throws {
        let network = try ForwardNetwork(["corp.example=10.0.0.2"])
        #expect(network.fetch("example.org") == nil)
        #expect(network.sent.isEmpty)
    }

    // MARK: Choice and failover

    @Test("the fastest server is asked, and one not yet heard of gets a copy of the first question")
    func fastest() throws {
        let network = try ForwardNetwork(two)
        network.fetch("a.example")
        let queries = network.queries()
        #expect(queries.map(\.server) == [0, 1])
        network.pass(5)
        network.answer(queries[1])
        #expect(network.answered.count == 1)
        network.pass(45)
        network.answer(queries[0])
        #expect(network.core.status().map(\.smoothedRTT) == [50_000, 5_000])
        network.fetch("b.example")
        #expect(network.query()?.server == 1)
    }

    @Test(
        "an error from one server sends the question to the next",
        arguments: [ResponseCode.serverFailure, .refused, .notImplemented, .formatError, .notAuth])
    func failover(_ code: ResponseCode) throws {
        let network = try twoKnown()
        network.fetch("a.example")
        let first = try #require(network.query())
        #expect(first.server == 0)
        network.answer(first, code)
        let second = try #require(network.query())
        #expect(second.server == 1)
        network.answer(second, .nxDomain)
        #expect(network.answered.count == 1)
    }

    @Test("if all fail, SERVFAIL is passed on and REFUSED becomes a failure")
    func allFail() throws {
        for (codes, passes) in [
            ([ResponseCode.serverFailure, .refused], true), ([.refused, .serverFailure], true),
            ([.refused, .refused], false),
        ] {
            let network = try twoKnown()
            network.fetch("a.example")
            network.answer(try #require(network.query()), codes[0])
            network.answer(try #require(network.query()), codes[1])
            try #require(network.ended.count == 1)
            if case .lastResort = network.ended[0].conclusion { #expect(passes) } else { #expect(!passes) }
        }
    }

    @Test("if a server is late, the next is asked too, and the late answer still counts")
    func hedge() throws {
        let network = try twoKnown()
        network.fetch("a.example")
        let first = try #require(network.query())
        network.pass(49)
        #expect(network.sent.isEmpty)
        network.pass(2)
        let second = try #require(network.query())
        #expect(first.server == 0 && second.server == 1)
        network.answer(first)
        #expect(network.answered.count == 1)
        network.answer(second)
        #expect(network.ended.count == 1)
    }

    @Test("a single server is asked again from another port")
    func retransmission() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let first = try #require(network.query())
        network.pass(400)
        let second = try #require(network.query())
        #expect(first.channel != second.channel && first.server == second.server)
        network.answer(second)
        #expect(network.answered.count == 1)
    }

    // MARK: TCP

    @Test("a truncated answer is fetched over TCP from the same server")
    func truncation() throws {
        let network = try twoKnown()
        network.fetch("a.example")
        network.answer(try #require(network.query()), truncated: true)
        let stream = try #require(network.query())
        #expect(stream.isStream && stream.server == 0)
        network.answer(stream)
        guard case .answered(let reply) = try #require(network.ended.first).conclusion else {
            Issue.record("not answered")
            return
        }
        #expect(reply.transport == .tcp && reply.server == 0)
        network.pass(11_000)
        #expect(network.closedStreams == [0])
    }

    @Test("questions are sent again over a new connection if the server has closed the old one")
    func streamReopens() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("a.example")
        network.answer(try #require(network.query()))
        network.fetch("b.example")
        network.fail(try #require(network.query()).channel)
        let again = try #require(network.query())
        #expect(again.isStream)
        network.answer(again)
        #expect(network.answered.count == 2)
    }

    @Test("a dead connection is dropped after 3 s, and its questions are sent over a new one")
    func deadStream() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("a.example")
        network.answer(try #require(network.query()))
        network.pass(2_000)
        network.fetch("b.example")
        network.pass(2_999)
        #expect(network.closedStreams.isEmpty)
        network.sent.removeAll()
        network.pass(2)
        #expect(network.closedStreams == [0])
        network.answer(try #require(network.queries().last))
        #expect(network.answered.count == 2)
    }

    @Test("a question is not repeated on its own connection")
    func streamIsReliable() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("a.example")
        network.pass(2_900)
        network.answer(try #require(network.query()))
        #expect(network.answered.count == 1)
    }

    @Test("extreme settings do no harm")
    func extremes() throws {
        let network = try ForwardNetwork(one) {
            $0.staleAfter = .max
            $0.portLifetime = .max
            $0.streamIdle = .max
            $0.portsPerServer = 0
            $0.queriesPerPort = 0
        }
        network.fetch("a.example")
        let first = try #require(network.query())
        network.pass(500)
        #expect(try #require(network.query()).channel != first.channel)
        network.answer(first)
        #expect(network.answered.count == 1 && network.late.isEmpty)
    }

    // MARK: EDNS and cookies

    @Test("FORMERR without OPT: EDNS is turned off for the server, and the query repeated")
    func plainServer() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        network.answer(try #require(network.query()), .formatError, edns: false)
        let plain = try #require(network.query())
        #expect(!plain.hasEDNS)
        network.answer(plain, edns: false)
        #expect(network.answered.count == 1)
        network.fetch("b.example")
        #expect(try #require(network.query()).hasEDNS == false)
    }

    @Test("a server cookie is remembered; an answer with a wrong client cookie is ignored")
    func cookies() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let first = try #require(network.query())
        let server: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        network.answer(first, cookie: Array(repeating: 0, count: 8) + server)
        #expect(network.ended.isEmpty)
        network.answer(first, cookie: first.cookie + server)
        #expect(network.answered.count == 1)
        network.fetch("b.example")
        #expect(try #require(network.query()).cookie == first.cookie + server)
    }

    @Test("BADCOOKIE: repeated with the new cookie, then over TCP")
    func badCookie() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let first = try #require(network.query())
        let fresh = first.cookie + [9, 9, 9, 9, 9, 9, 9, 9]
        network.answer(first, .badCookie, cookie: fresh)
        let second = try #require(network.query())
        #expect(second.cookie == fresh && !second.isStream)
        network.answer(second, .badCookie, cookie: fresh)
        #expect(try #require(network.query()).isStream)
    }

    /// A network whose server has answered one question, with a cookie: our part of it, and the whole.
    private func networkWithCookie() throws -> (network: ForwardNetwork, client: [UInt8], known: [UInt8]) {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let first = try #require(network.query())
        let known = first.cookie + [1, 2, 3, 4, 5, 6, 7, 8]
        network.answer(first, cookie: known)
        return (network, first.cookie, known)
    }

    @Test(
        "an answer without the cookie that the server has sent before is not taken over UDP, whatever it says",
        arguments: [(ResponseCode.noError, true), (.noError, false), (.nxDomain, true), (.formatError, false)])
    func missingCookie(_ code: ResponseCode, _ hasEDNS: Bool) throws {
        let (network, _, known) = try networkWithCookie()
        network.fetch("b.example")
        for _ in 0..<2 {
            let query = try #require(network.query())
            #expect(query.cookie == known && !query.isStream)
            network.answer(query, code, edns: hasEDNS)
            #expect(network.ended.count == 1)
        }
        #expect(try #require(network.query()).isStream)
    }

    @Test("a truncated answer without the cookie is not taken, either; the answer with it is")
    func missingCookieOfTruncated() throws {
        let (network, _, known) = try networkWithCookie()
        network.fetch("b.example")
        network.answer(try #require(network.query()), truncated: true)
        let again = try #require(network.query())
        #expect(!again.isStream)
        network.answer(again, cookie: known)
        #expect(network.answered.count == 2)
    }

    @Test(
        "a server that has lost its cookies says so over TCP; from then on none is expected, until it sends one again")
    func lostCookies() throws {
        let (network, client, _) = try networkWithCookie()
        network.fetch("b.example")
        network.answer(try #require(network.query()))
        network.answer(try #require(network.query()))
        network.answer(try #require(network.query()))
        #expect(network.answered.count == 2)
        network.fetch("c.example")
        let later = try #require(network.query())
        #expect(later.cookie == client && !later.isStream)
        network.answer(later)
        #expect(network.answered.count == 3)
        network.fetch("d.example")
        let last = try #require(network.query())
        network.answer(last, cookie: last.cookie + [8, 7, 6, 5, 4, 3, 2, 1])
        network.fetch("e.example")
        #expect(try #require(network.query()).cookie == client + [8, 7, 6, 5, 4, 3, 2, 1])
    }

    @Test(
        "a server that has lost its cookies and has no TCP is used again after TCP has failed",
        arguments: [true, false])
    func lostCookiesWithoutStream(_ refuses: Bool) throws {
        let (network, client, _) = try networkWithCookie()
        network.fetch("b.example")
        network.answer(try #require(network.query()))
        network.answer(try #require(network.query()))
        let stream = try #require(network.query())
        #expect(stream.isStream)
        if refuses {
            network.fail(stream.channel)
        } else {
            network.pass(6_000)
        }
        _ = network.queries()
        network.fetch("c.example")
        let query = try #require(network.query())
        #expect(query.cookie == client && !query.isStream)
        network.answer(query)
        #expect(network.answered.count == 2)
    }

    // MARK: Silence

    @Test("without any answer, the query fails by its deadline, and waiters with stale answers are told after 1.8 s")
    func deadline() throws {
        let network = try ForwardNetwork(two)
        network.fetch("a.example")
        network.pass(1_799)
        #expect(network.late.isEmpty)
        network.pass(2)
        #expect(network.late.count == 1)
        network.fetch("a.example")
        #expect(network.late.count == 2)
        network.pass(3_198)
        #expect(network.ended.isEmpty)
        network.pass(1)
        #expect(network.failures == [.noReachableAuthority])
        #expect(network.queries().count <= 11)
        network.pass(10_000)
        #expect(network.core.nextTimer == nil)
    }

    @Test("once all servers are down, questions fail at once, but one at a time is sent as a probe")
    func failFast() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        network.pass(5_000)
        #expect(network.state == [.down])
        _ = network.queries()
        network.pass(3_000)
        #expect(network.fetch("b.example") != nil)
        let probe = try #require(network.query())
        #expect(network.fetch("c.example") == nil)
        #expect(network.sent.isEmpty)
        network.pass(100)
        network.answer(probe)
        #expect(network.state == [.up])
        #expect(network.fetch("d.example") != nil)
    }

    @Test("a silence of two seconds loses no answer, and does not make the server count as slow")
    func shortStall() throws {
        let network = try ForwardNetwork(one)
        network.fetch("warm.example")
        network.pass(10)
        network.answer(try #require(network.query()))
        var held: [ForwardNetwork.Sent] = []
        for index in 0..<20 {
            #expect(network.fetch("n\(index).example") != nil)
            network.pass(100)
            held += network.queries()
        }
        #expect(network.state == [.down])
        for query in held { network.answer(query) }
        #expect(network.answered.count == 21 && network.failures.isEmpty)
        #expect(network.state == [.up])
        network.fetch("after.example")
        network.pass(10)
        network.answer(try #require(network.query()))
        #expect(network.core.status()[0].smoothedRTT == 10_000)
    }

    @Test("a server that was late once is soon probed with a copy, and used again once it is fast")
    func lateOnce() throws {
        let network = try twoKnown()
        network.fetch("a.example")
        network.pass(51)
        network.answer(try #require(network.queries().last))
        #expect(network.answered.count == 1)
        network.fetch("b.example")
        let afterwards = try #require(network.query())
        #expect(afterwards.server == 1)
        network.pass(15)
        network.answer(afterwards)
        network.pass(1_000)
        network.fetch("c.example")
        let copies = network.queries()
        #expect(copies.map(\.server) == [1, 0])
        network.pass(10)
        network.answer(copies[1])
        network.fetch("d.example")
        #expect(network.query()?.server == 0)
    }

    @Test("a server that comes back is used again within a second, even without other servers")
    func recovery() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        network.pass(5_000)
        // No server answers for ten minutes, while questions keep coming.
        for index in 0..<600 {
            network.fetch("n\(index).example")
            network.pass(1_000)
        }
        _ = network.queries()
        // Now it answers whatever it is sent.
        var answered = false
        for index in 0..<10 where !answered {
            network.pass(100)
            network.fetch("m\(index).example")
            for query in network.queries() { network.answer(query) }
            answered = !network.answered.isEmpty
        }
        #expect(answered)
    }

    @Test("a silent server is skipped while another answers, and probed with copies ever more rarely")
    func silentServer() throws {
        let network = try twoKnown()
        var toDead = 0
        for index in 0..<1_000 {
            network.fetch("n\(index).example")
            network.pass(51)
            for query in network.queries() {
                if query.server == 0 { toDead += 1 } else { network.answer(query) }
            }
            network.pass(49)
        }
        #expect(network.answered.count >= 999)
        #expect(network.state == [.down, .up])
        #expect(toDead < 40)
        // It is back: a probe notices.
        for index in 0..<400 where network.state[0] == .down {
            network.fetch("m\(index).example")
            for query in network.queries() { network.answer(query) }
            network.pass(100)
        }
        #expect(network.state == [.up, .up])
    }

    @Test("after a network error the next server is asked at once")
    func refusedPort() throws {
        let network = try twoKnown()
        network.fetch("a.example")
        network.fail(try #require(network.query()).channel)
        let second = try #require(network.query())
        #expect(second.server == 1)
        network.answer(second)
        #expect(network.answered.count == 1)
    }

    @Test("a network error of the only server: one retry after a short time, then failure with the reason")
    func refusedOnly() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        network.fail(try #require(network.query()).channel)
        network.pass(200)
        network.fail(try #require(network.query()).channel)
        #expect(network.failures == [.networkError])
        #expect(network.state == [.down])
        #expect(network.fetch("b.example") == nil)
    }

    /// Knuth's generator, so that a failing run can be repeated from its seed.
    private struct Seeded: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    @Test("many questions with random fates all end", arguments: [1, 2, 3, UInt64.random(in: 4...(.max))])
    func soak(seed: UInt64) throws {
        var random = Seeded(state: seed)
        let network = try ForwardNetwork(["10.0.0.1", "10.0.0.2", "tcp://10.0.0.3", "corp.example=10.0.0.4"]) {
            $0.queriesPerPort = 7
            $0.portsPerServer = 2
        }
        var asked = 0
        var pending: [ForwardNetwork.Sent] = []
        for index in 0..<5_000 {
            if network.fetch(index % 5 == 0 ? "n\(index).corp.example" : "n\(index % 900).example") != nil {
                asked += 1
            }
            pending += network.queries()
            network.pass(UInt64.random(in: 0...20, using: &random))
            while pending.count > 20 {
                let query = pending.remove(at: Int.random(in: 0..<pending.count, using: &random))
                switch Int.random(in: 0..<12, using: &random) {
                case 0: break
                case 1: network.fail(query.channel)
                case 2: network.answer(query, .serverFailure)
                case 3: network.answer(query, .refused)
                case 4: network.answer(query, .formatError, edns: false)
                case 5: network.answer(query, truncated: true)
                case 6: network.answer(query, .badCookie, cookie: query.cookie)
                default: network.answer(query)
                }
            }
        }
        network.pass(20_000)
        #expect(network.core.flightCount == 0)
        #expect(asked > 1_000 && network.answered.count > 100)
        #expect(network.openPorts.count <= 6)
        #expect(Set(network.ended.map(\.flight)).count <= 5_000)
    }
}
