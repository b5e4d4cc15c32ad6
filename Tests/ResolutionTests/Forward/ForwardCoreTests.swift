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

    @Test("with random case, an answer in another case does not count over UDP, but leads to TCP")
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
        let stream = try #require(network.query())
        #expect(stream.isStream && stream.name == Name(name)!.wire)
        network.answer(stream)
        #expect(network.answered.count == 1)
    }

    @Test("random case is given up only for a server that changes the case of several questions in a row")
    func foldedCase() throws {
        let network = try ForwardNetwork(one) { $0.randomizesCase = true }
        func ask(_ label: String, folds: Bool) throws -> Bool {
            let name = Name("\(label)bcdefghijklmnopqrstuvwxyz.abcdefghijklmnopqrstuvwxyz")!
            network.fetch("\(name)")
            let query = try #require(network.query())
            let isRandom = query.name != name.wire
            var reply = ForwardNetwork.response(query)
            if folds { reply.replaceSubrange(12..<(query.questionEnd - 4), with: name.wire) }
            network.deliver(reply, on: query.channel)
            if let stream = network.query() { network.answer(stream) }
            return isRandom
        }
        // A forger that hits once, or twice, between right replies does not switch it off.
        for (index, folds) in [true, true, false, true, true, false].enumerated() {
            #expect(try ask("a\(index)", folds: folds))
        }
        for index in 0..<3 { #expect(try ask("b\(index)", folds: true)) }
        #expect(try !ask("c", folds: true))
        #expect(network.answered.count == 10)
        // Later it is tried again.
        network.pass(601_000)
        #expect(try ask("d", folds: false))
    }

    @Test("a server that changes the case and has no TCP is asked without random case")
    func caseWithoutStream() throws {
        let network = try ForwardNetwork(one) { $0.randomizesCase = true }
        let name = "abcdefghijklmnopqrstuvwxyz.example"
        network.fetch(name)
        let query = try #require(network.query())
        var folded = ForwardNetwork.response(query)
        folded.replaceSubrange(12..<(query.questionEnd - 4), with: Name(name)!.wire)
        network.deliver(folded, on: query.channel)
        network.fail(try #require(network.query()).channel, .unreachable)
        network.pass(200)
        let plain = try #require(network.query())
        #expect(!plain.isStream && plain.name == Name(name)!.wire)
        network.answer(plain)
        #expect(network.answered.count == 1)
    }

    @Test("without random case, the question's case does not matter")
    func otherCase() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let query = try #require(network.query())
        var message = ForwardNetwork.response(query)
        for index in 12..<(query.questionEnd - 4) where message[index] > 0x60 { message[index] -= 0x20 }
        network.deliver(message, on: query.channel)
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
        #expect(network.core.status(network.now).map(\.smoothedRTT) == [50_000, 5_000])
        network.fetch("b.example")
        #expect(network.query()?.server == 1)
    }

    @Test(
        "an error from one server sends the question to the next",
        arguments: [ResponseCode.serverFailure, .refused, .notImplemented, .notAuth])
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

    @Test("a question is not repeated on its own connection, nor on another one while other answers arrive")
    func streamIsReliable() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("slow.example")
        let slow = try #require(network.query())
        for index in 0..<28 {
            network.fetch("n\(index).example")
            network.pass(100)
            for query in network.queries() {
                #expect(query.channel == slow.channel)
                network.answer(query)
            }
        }
        network.answer(slow)
        #expect(network.answered.count == 29 && network.streamsEverOpened == 1)
    }

    @Test(
        "if a connection is silent, the question is also sent over a second one; the first is dropped after 3 s"
    )
    func secondStream() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("a.example")
        network.answer(try #require(network.query()))
        network.fetch("b.example")
        network.fetch("c.example")
        let lost = network.queries()
        network.pass(1_001)
        let again = network.queries()
        #expect(again.count == 2 && Set(again.map(\.channel)).isDisjoint(with: lost.map(\.channel)))
        network.answer(again[0])
        #expect(network.answered.count == 2)
        // Further questions go over the one that answers.
        network.fetch("d.example")
        let later = try #require(network.query())
        #expect(later.channel == again[0].channel)
        network.answer(later)
        network.pass(1_990)
        #expect(network.closedStreams.isEmpty)
        network.pass(20)
        #expect(network.closedStreams == [0])
        // Its silence is no habit of the server: questions still share a connection.
        network.fetch("e.example")
        network.fetch("f.example")
        #expect(Set(network.queries().map(\.channel)).count == 1)
    }

    @Test("a server that closes its connection after each answer gets one for each question; none is lost")
    func oneQueryPerConnection() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        for index in 0..<10 { network.fetch("n\(index).example") }
        var rounds = 0
        while network.answered.count < 10, rounds < 10 {
            rounds += 1
            let queries = network.queries()
            for (channel, group) in Dictionary(grouping: queries, by: \.channel) {
                network.answer(group[0])
                if network.openStreams[channel] != nil { network.fail(channel) }
            }
        }
        // One such end may have another reason.
        #expect(network.answered.count == 10 && rounds == 3)
        for index in 0..<5 { network.fetch("m\(index).example") }
        #expect(Set(network.queries().map(\.channel)).count == 5)
    }

    @Test("a connection that ends once with questions outstanding is no habit of its server")
    func cutOnce() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("a.example")
        network.fetch("b.example")
        let first = network.queries()
        network.answer(first[0])
        network.fail(first[0].channel)
        for query in network.queries() { network.answer(query) }
        for index in 0..<5 { network.fetch("m\(index).example") }
        #expect(network.answered.count == 2)
        #expect(Set(network.queries().map(\.channel)).count == 1)
    }

    @Test("a connection that has fallen silent costs one short wait, not one for each question")
    func muteConnections() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        network.fetch("a.example")
        let first = try #require(network.queries().first)
        network.core.channelOpened(first.channel, handshake: 2_000, now: network.now)
        network.answer(first)
        for index in 0..<6 {
            // Nobody hears of the last connection any more; a new one is answered.
            network.fetch("n\(index).example")
            let lost = try #require(network.queries().first)
            network.pass(250)
            let again = network.queries()
            #expect(again.count == 1 && again[0].channel != lost.channel, "\(index)")
            network.core.channelOpened(again[0].channel, handshake: 2_000, now: network.now)
            network.answer(again[0])
            #expect(network.answered.count == index + 2)
        }
        #expect(network.openStreams.count <= 3)
    }

    @Test(
        "a server that is silent to EDNS over streams, too, is asked without it before its client gives up",
        arguments: ["tcp://10.0.0.1", "tls://10.0.0.1"])
    func streamSilentToEDNS(_ server: String) throws {
        let network = try ForwardNetwork([server])
        network.fetch("a.example", dnssecOK: true)
        var ready: Set<UpstreamChannel> = []
        var waited = 0
        while network.answered.isEmpty, waited < 3_900 {
            for channel in network.openStreams.keys where ready.insert(channel).inserted {
                network.core.channelOpened(channel, handshake: 2_000, now: network.now)
            }
            for query in network.queries() where !query.hasEDNS { network.answer(query) }
            network.pass(10)
            waited += 10
        }
        #expect(network.answered.count == 1)
        network.fetch("b.example")
        #expect(network.queries().contains { !$0.hasEDNS })
    }

    @Test("a server that answers each cookie with another one is soon asked without, and stays so")
    func foreignCookies() throws {
        let network = try ForwardNetwork(one)
        var withCookie = 0
        for index in 0..<20 {
            network.fetch("n\(index).example")
            var waited = 0
            while network.answered.count <= index, waited < 4_000 {
                for query in network.queries() {
                    guard !query.cookie.isEmpty else {
                        network.answer(query)
                        continue
                    }
                    if index > 0 { withCookie += 1 }
                    network.deliver(
                        ForwardNetwork.response(query, cookie: [1, 2, 3, 4, 5, 6, 7, 8]), on: query.channel)
                }
                network.pass(10)
                waited += 10
            }
            if index > 0 { #expect(waited <= 20, "\(index)") }
        }
        // Only copies that see whether that has changed.
        #expect(withCookie <= 8)
    }

    @Test("a server that does not answer names in random case is asked without")
    func randomCaseSilent() throws {
        let network = try ForwardNetwork(one) { $0.randomizesCase = true }
        network.fetch("abcdefghijklmnopqrstuvwxyz.example")
        var waited = 0
        while network.answered.isEmpty, waited < 3_900 {
            for query in network.queries()
            where !query.isStream && !query.name.contains(where: { (0x41...0x5A).contains($0) }) {
                network.answer(query)
            }
            network.pass(10)
            waited += 10
        }
        #expect(network.answered.count == 1)
    }

    @Test("a connection that takes no more queries still brings its answers")
    func retiringConnection() throws {
        let network = try ForwardNetwork(["https://10.0.0.1/dns-query"])
        network.fetch("a.example")
        let first = try #require(network.queries().first)
        network.core.channelRetires(first.channel)
        network.fetch("b.example")
        let second = try #require(network.queries().first)
        #expect(second.channel != first.channel)
        network.answer(first)
        network.answer(second)
        #expect(network.answered.count == 2 && network.closedStreams == [0])
    }

    @Test("a thousand questions at once take one connection", arguments: ["tcp://10.0.0.1", "tls://10.0.0.1"])
    func thousandOnOne(_ server: String) throws {
        let network = try ForwardNetwork([server])
        for index in 0..<1_000 { network.fetch("n\(index).example") }
        let queries = network.queries()
        #expect(queries.count == 1_000 && Set(queries.map(\.channel)).count == 1)
        #expect(Set(queries.map(\.id)).count == 1_000)
        for query in queries.reversed() { network.answer(query) }
        #expect(network.answered.count == 1_000)
        // A day of work and idleness: never more than one connection at a time, and none while nothing is asked.
        for hour in 0..<24 {
            for index in 0..<20 {
                network.fetch("h\(hour)-\(index).example")
                for query in network.queries() { network.answer(query) }
                network.pass(3_000)
                #expect(network.openStreams.count == 1)
            }
            network.pass(3_600_000 - 60_000)
            #expect(network.openStreams.isEmpty)
        }
        #expect(network.answered.count == 1_480 && network.streamsEverOpened == 24)
    }

    @Test("a connection lost in mid-work takes no question with it")
    func lostStream() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        for index in 0..<20 { network.fetch("n\(index).example") }
        let queries = network.queries()
        for query in queries.prefix(8) { network.answer(query) }
        network.fail(queries[0].channel)
        let again = network.queries()
        #expect(again.count == 12 && Set(again.map(\.channel)).count == 1)
        for query in again { network.answer(query) }
        #expect(network.answered.count == 20)
    }

    @Test("a connection is closed a little before the server would close it, once that is known")
    func idleLimit() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1"])
        for index in 0..<2 {
            network.fetch("n\(index).example")
            let query = try #require(network.query())
            network.answer(query)
            network.pass(4_000)
            network.fail(query.channel)
        }
        network.closedStreams = []
        network.fetch("later.example")
        network.answer(try #require(network.query()))
        network.pass(3_500)
        #expect(network.closedStreams.isEmpty)
        network.pass(200)
        #expect(network.closedStreams == [0])
    }

    @Test("an answer over TCP with TC set is none: the next server is asked, and without one the question fails")
    func truncatedStream() throws {
        let network = try ForwardNetwork(["tcp://10.0.0.1", "tcp://10.0.0.2"])
        network.fetch("a.example")
        for query in network.queries() { network.answer(query, truncated: true) }
        #expect(network.answered.isEmpty && network.failures == [.invalidData])
    }

    @Test("a reply longer than the size that we announced and cut short is fetched over TCP")
    func longReply() throws {
        let network = try twoKnown()
        network.fetch("a.example")
        let query = try #require(network.query())
        var message = ForwardNetwork.response(query, edns: false)
        message[7] = 200
        network.deliver(message + [UInt8](repeating: 0xFF, count: 4_000), on: query.channel)
        let stream = try #require(network.query())
        #expect(stream.isStream && stream.server == query.server)
        network.answer(stream)
        #expect(network.answered.count == 1)
    }

    @Test("a reply cut short, of the only server, is fetched over TCP")
    func cutReply() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let query = try #require(network.query())
        var message = ForwardNetwork.response(query)
        message[7] = 1
        network.deliver(message, on: query.channel)
        let stream = try #require(network.query())
        #expect(stream.isStream)
        network.answer(stream)
        #expect(network.answered.count == 1)
    }

    enum Lame: String, CaseIterable { case empty, referral, upward }

    @Test("a referral, or nothing, from a server that does not recurse is no answer", arguments: Lame.allCases)
    func lame(_ kind: Lame) throws {
        for servers in [one, two] {
            let network = try ForwardNetwork(servers)
            network.fetch("a.example")
            let queries = network.queries()
            var message = ForwardNetwork.response(queries[0], edns: false)
            message[3] &= 0x7F
            let root: [UInt8] = kind == .upward ? [0] : [0xC0, 14]
            if kind != .empty {
                message[9] = 1
                message += root + [0, 2, 0, 1, 0, 0, 1, 0, 0, 4, 1, 120, 0xC0, 14]
            }
            network.deliver(message, on: queries[0].channel)
            if servers.count == 2 {
                network.answer(queries[1])
                #expect(network.answered.count == 1)
            } else {
                #expect(network.failures == [.invalidData])
            }
        }
    }

    @Test("an empty answer from a server that recurses, or that owns the name, is one")
    func emptyAnswer() throws {
        for flags: (UInt8, UInt8) in [(0x81, 0x80), (0x85, 0)] {
            let network = try ForwardNetwork(one)
            network.fetch("a.example")
            let query = try #require(network.query())
            var message = ForwardNetwork.response(query)
            (message[2], message[3]) = flags
            network.deliver(message, on: query.channel)
            #expect(network.answered.count == 1)
        }
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
        let next = try #require(network.query())
        #expect(!next.hasEDNS)
        network.answer(next, edns: false)
        // After a minute it may have learnt it.
        network.pass(61_000)
        network.fetch("c.example")
        #expect(network.queries().map(\.hasEDNS).sorted { $0 && !$1 } == [true, false])
    }

    /// What a server refuses of EDNS.
    enum Refusal: String, CaseIterable { case options, signatures, opt }

    /// Whether a query is within what such a server takes.
    private func takes(_ refusal: Refusal, _ query: ForwardNetwork.Sent) -> Bool {
        switch refusal {
        case .options: query.cookie.isEmpty
        case .signatures: !query.dnssecOK && query.cookie.isEmpty
        case .opt: !query.hasEDNS
        }
    }

    @Test(
        "a server that refuses part of EDNS is asked with less, one step at a time, and from the second question on at once",
        arguments: Refusal.allCases, [ResponseCode.formatError, .notImplemented, .badVersion, .serverFailure, .refused])
    func refusedEDNS(_ refusal: Refusal, _ code: ResponseCode) throws {
        for hasOPT in code == .badVersion ? [true] : [true, false] {
            let network = try ForwardNetwork(one)
            network.fetch("a.example", dnssecOK: true)
            var sends = 0
            while let query = network.queries().first {
                sends += 1
                if takes(refusal, query) {
                    network.answer(query, edns: query.hasEDNS)
                } else {
                    network.answer(query, code, edns: query.hasEDNS && hasOPT)
                }
            }
            #expect(network.answered.count == 1 && sends <= 4, "\(hasOPT)")
            network.fetch("b.example", dnssecOK: true)
            let second = try #require(network.query())
            #expect(takes(refusal, second))
            network.answer(second, edns: second.hasEDNS)
            #expect(network.answered.count == 2)
        }
    }

    @Test(
        "a server that ignores queries with part of EDNS gets less of it within the time-out, and from the second question on at once",
        arguments: Refusal.allCases, [true, false])
    func ignoredEDNS(_ refusal: Refusal, _ wasKnown: Bool) throws {
        let network = try ForwardNetwork(one)
        func serve() {
            for query in network.queries() where takes(refusal, query) { network.answer(query, edns: query.hasEDNS) }
        }
        if wasKnown {
            network.fetch("warm.example", dnssecOK: true)
            network.answer(try #require(network.query()))
        }
        let before = network.answered.count
        network.fetch("a.example", dnssecOK: true)
        for _ in 0..<40 {
            network.pass(100)
            serve()
        }
        #expect(network.answered.count == before + 1)
        for index in 0..<10 {
            network.fetch("b\(index).example", dnssecOK: true)
            serve()
            #expect(network.answered.count == before + 2 + index)
            network.pass(500)
        }
        // A server that takes all of it again is noticed.
        var full = 0
        for index in 0..<400 {
            network.fetch("c\(index).example", dnssecOK: true)
            network.pass(1)
            for query in network.queries() { network.answer(query) }
            network.pass(10_000)
            if network.core.status(network.now)[0].level == .full { full += 1 }
        }
        #expect(full > 200)
    }

    @Test(
        "what a server learns of EDNS is noticed over connections, too",
        arguments: ["tcp://10.0.0.1", "tls://10.0.0.1"])
    func relearntOverStream(_ server: String) throws {
        let network = try ForwardNetwork([server])
        network.fetch("a.example")
        network.answer(try #require(network.query()), .formatError)
        network.answer(try #require(network.query()))
        #expect(network.core.status(network.now)[0].level == .withoutOptions)
        network.pass(61_000)
        network.fetch("b.example")
        let copies = network.queries()
        #expect(copies.count == 2 && Set(copies.map(\.channel)).count == 1)
        for copy in copies.reversed() { network.answer(copy) }
        #expect(network.answered.count == 2)
        #expect(network.core.status(network.now)[0].level == .full)
    }

    @Test("a silent connection does not cost a server its EDNS")
    func silentConnectionKeepsEDNS() throws {
        let network = try ForwardNetwork(["tls://10.0.0.1"])
        network.fetch("a.example", dnssecOK: true)
        network.answer(try #require(network.query()))
        network.fetch("b.example", dnssecOK: true)
        _ = network.queries()
        network.pass(1_001)
        let again = try #require(network.query())
        #expect(again.dnssecOK && again.bytes.count == 128)
        network.answer(again)
        #expect(network.core.status(network.now)[0].level == .full)
    }

    @Test("one lost datagram does not cost a server its EDNS")
    func lostDatagram() throws {
        let network = try ForwardNetwork(one)
        network.fetch("warm.example", dnssecOK: true)
        network.answer(try #require(network.query()))
        network.fetch("a.example", dnssecOK: true)
        _ = network.query()
        network.pass(60)
        network.answer(try #require(network.queries().last))
        #expect(network.answered.count == 2)
        network.fetch("b.example", dnssecOK: true)
        network.pass(1)
        for query in network.queries() { network.answer(query) }
        network.fetch("c.example", dnssecOK: true)
        let last = try #require(network.query())
        #expect(last.dnssecOK && !last.cookie.isEmpty)
    }

    @Test("a malformed cookie counts as none: the server is asked without options")
    func malformedCookie() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        let first = try #require(network.query())
        network.answer(first, cookie: [1, 2, 3, 4])
        #expect(network.ended.isEmpty)
        network.pass(401)
        let second = try #require(network.query())
        #expect(second.cookie.isEmpty)
        network.answer(second)
        #expect(network.answered.count == 1)
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

    @Test("the silence of one question says nothing of the server")
    func silentQuestion() throws {
        let network = try ForwardNetwork(one)
        network.fetch("a.example")
        network.pass(5_000)
        #expect(network.failures == [.noReachableAuthority] && network.state == [.untried])
        _ = network.queries()
        network.fetch("b.example")
        network.answer(try #require(network.query()))
        #expect(network.answered.count == 1)
    }

    @Test("however many questions stay silent, a new one is asked at once, since there is no other server")
    func silentQuestions() throws {
        let network = try ForwardNetwork(one)
        var good = 0
        for second in 0..<60 {
            for index in 0..<5 {
                network.fetch("silent\(second)-\(index).example")
                network.pass(200)
            }
            _ = network.queries()
            if second % 2 == 1 {
                network.fetch("good\(second).example")
                let query = try #require(network.queries().last)
                #expect(query.name == Name("good\(second).example")!.wire)
                network.answer(query)
                good += 1
                #expect(network.answered.count == good)
            }
        }
    }

    @Test("a server that is down gets a bounded number of new questions a second; the others wait for its return")
    func turns() throws {
        let network = try ForwardNetwork(one)
        for index in 0..<3 { network.fetch("a\(index).example") }
        network.pass(5_000)
        #expect(network.state == [.down])
        _ = network.queries()
        for index in 0..<200 { network.fetch("b\(index).example") }
        let sent = network.queries()
        #expect(sent.count == ServerHealth.turnsPerSecond)
        // Waiters with a stale answer don't wait.
        network.pass(1)
        #expect(network.late.count >= 200)
        network.pass(100)
        network.answer(sent[0])
        let released = network.queries()
        #expect(released.count == 200 - ServerHealth.turnsPerSecond)
        for query in released + sent { network.answer(query) }
        #expect(network.answered.count == 200)
    }

    @Test("questions that had no turn fail after a second")
    func noTurn() throws {
        let network = try ForwardNetwork(one)
        for index in 0..<3 { network.fetch("a\(index).example") }
        network.pass(5_000)
        network.ended = []
        for index in 0..<1_000 { network.fetch("b\(index).example") }
        network.pass(1_000)
        #expect((700...950).contains(network.failures.count))
        network.pass(5_000)
        #expect(network.failures.count == 1_000)
    }

    @Test("what UDP does not answer is asked over TCP within two seconds; then TCP comes first for a while")
    func blockedDatagrams() throws {
        let network = try ForwardNetwork(one)
        for index in 0..<3 {
            network.fetch("a\(index).example")
            network.pass(2_500)
            let stream = try #require(network.queries().first { $0.isStream })
            network.answer(stream)
            #expect(network.answered.count == index + 1)
        }
        network.fetch("b.example")
        let stream = try #require(network.queries().first { $0.isStream })
        network.answer(stream)
        #expect(network.answered.count == 4)
    }

    @Test("a fast error does not end the wait for a slow server")
    func slowSecond() throws {
        let network = try twoKnown()
        network.fetch("a.example")
        network.answer(try #require(network.query()), .serverFailure)
        let second = try #require(network.query())
        network.pass(2_000)
        #expect(network.ended.isEmpty)
        network.answer(second)
        #expect(network.answered.count == 1)
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
        #expect(network.core.status(network.now)[0].smoothedRTT == 10_000)
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
        // It may be back: the next question is sent.
        network.fetch("b.example")
        network.answer(try #require(network.query()))
        #expect(network.state == [.up])
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
