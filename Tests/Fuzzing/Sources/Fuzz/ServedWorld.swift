import DNSWire
import LocalData
import Lookup
import Pipeline
import Platform
import Upstream

@testable import LookupLog
@testable import Transports

/// A `QueryHandler` with overrides, zones, a cache and special-use names.
final class ServedWorld {
    static let client = SocketAddress(high: 0, low: 0x7F00_0001, port: 40_000, isIPv6: false)
    static let stranger = SocketAddress(high: 0, low: 0xC000_0201, port: 40_000, isIPv6: false)
    static let now = Moment(wall: 1_700_000_000_000_000, monotonic: 1_000_000_000)

    private static let hosts = """
        127.0.0.14 over.acme.org
        2001:db8::14 over.acme.org
        127.0.0.15 *.wild.acme.org
        0.0.0.0 null.acme.org

        """
    private static let zone = """
        $ORIGIN acme.org.
        $TTL 3600
        @ IN SOA ns hostmaster 7 7200 3600 1209600 300
        @ IN NS ns
        @ IN A 152.153.81.14
        @ IN MX 10 mail
        @ IN HTTPS 1 . alpn=h2
        ns IN A 152.153.81.53
        mail IN A 152.153.81.25
        www IN CNAME @
        to-over IN CNAME over
        away IN CNAME far.example.
        loop IN CNAME loop2
        loop2 IN CNAME loop
        * IN TXT "any"
        sub IN NS ns.sub
        ns.sub IN A 152.153.81.54
        moved IN DNAME wild
        long IN DNAME \(String(repeating: "a23456789.", count: 20))acme.org.
        big IN TXT \((0..<16).map { "\"\(String(repeating: Character(Unicode.Scalar(97 + $0) ?? "a"), count: 250))\"" }.joined(separator: " "))
        medium IN TXT "\(String(repeating: "m", count: 250))" "\(String(repeating: "n", count: 250))"

        """
    /// Its signatures are invalid, but present.
    private static let signed: String = {
        let signature = "13 2 300 20300101000000 20200101000000 1 signed.test. AAAA"
        let records = [
            ("signed.test.", "SOA", "ns hostmaster 7 7200 3600 1209600 300"), ("signed.test.", "NS", "ns"),
            ("signed.test.", "NSEC", "*.signed.test. NS SOA RRSIG NSEC"), ("ns.signed.test.", "A", "192.0.2.1"),
            ("ns.signed.test.", "NSEC", "signed.test. A RRSIG NSEC"), ("*.signed.test.", "CNAME", "ns"),
            ("*.signed.test.", "NSEC", "ns.signed.test. CNAME RRSIG NSEC"),
        ]
        return "$ORIGIN signed.test.\n$TTL 300\n"
            + records.map { "\($0) \($1) \($2)\n\($0) RRSIG \($1) \(signature)\n" }.joined()
    }()

    private let local = ServedWorld.data()
    private let handler: QueryHandler
    private var lookup = Lookup()
    private var parsed = ParsedQuery()
    private let ring: LookupRing
    private var position = 0
    private var lines = LineTrial()
    private let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_535, alignment: 8)
    private let other = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_535, alignment: 8)
    /// A buffer of exactly the size for a datagram.
    private let datagram = UnsafeMutableRawBufferPointer.allocate(
        byteCount: DatagramBatch.answerCapacity, alignment: 8)

    init() {
        ring = LookupRing(capacity: 1 << 20, bell: try! Bell())
        handler = QueryHandler(ring: ring)
    }

    private static let rules = """
        www.acme.org * ttl=5 only=4 strip=ech,hints shuffle keep=1
        acme.org A,AAAA,HTTPS,MX only=6 seed=3 shuffle
        over.acme.org TXT servfail
        *.leased.example * alias=over.acme.org
        * CAA truncate
        * * wrong-id client=192.0.2.77

        """

    /// The data served.
    static func data(recursionAvailable: Bool = true) -> ServedData {
        let file = MemoryFile(number: 1000)
        func read(_ text: String) -> Zone {
            file.write(text)
            let read = ZoneReader.read(path: file.path)
            guard read.isLoadable, let apex = read.apex else { broken("\(read.diagnostics)") }
            return Zone(apex: apex, records: read.records, path: file.path)
        }
        let zones = ZoneSet([read(zone), read(signed)])
        file.write(hosts)
        let overrides = HostsReader.load(paths: [file.path], settings: HostsSettings()).table
        let leases = HostsReader.table(
            [(Array("127.0.0.16 leased.example".utf8), 1)], path: "override", settings: HostsSettings()
        ).table
        file.write(rules)
        let given = RuleReader.load(paths: [file.path], settings: HostsSettings()).table
        let cache = AnswerCache()
        fill(cache, "cached.example.", [0xC0, 12, 0, 1, 0, 1, 0, 0, 1, 0x2C, 0, 4, 192, 0, 2, 1])
        fill(cache, "alias.example.", [0xC0, 12, 0, 5, 0, 1, 0, 0, 1, 0x2C, 0, 15] + wire("over.acme.org."))
        return ServedData(
            pipeline: Pipeline(
                rules: RuleSet(rules: given), hosts: overrides, leases: leases, zones: zones,
                special: SpecialNames(without: [], routed: []),
                cache: cache,
                identity: ServerIdentity(identity: Array("fuzz".utf8), version: Array("fuzz".utf8))),
            service: ServiceSettings(
                cookie: ServerCookie(), identity: Array("fuzz".utf8), explains: .loopback),
            recursionAvailable: recursionAvailable)
    }

    private static func wire(_ name: String) -> [UInt8] { Name(name)?.wire ?? [0] }

    private static func fill(_ cache: AnswerCache, _ name: String, _ record: [UInt8]) {
        let message = [0, 1, 0x81, 0xA0, 0, 1, 0, 1, 0, 0, 0, 0] + wire(name) + [0, 1, 0, 1] + record
        let key = FetchKey(Name(name) ?? .root, Question(type: .a))
        message.withUnsafeBytes {
            guard let answer = try? UpstreamAnswer.check($0, for: key) else { broken("a seed is no answer") }
            cache.insert(answer, now: now.monotonic)
        }
    }

    func trial(_ message: UnsafeRawBufferPointer, over transport: Transport, isStranger: Bool) {
        let isDatagram = transport == .udp
        let client = isStranger ? Self.stranger : Self.client
        let request = Lookup.Request(client: client, transport: transport, arrival: Self.now)
        let room = isDatagram ? datagram : room
        let result = handler.handle(message, request, &lookup, local, into: room)
        switch result {
        case .nothing: expect(message.count < 12 || message[2] & 0x80 != 0, "a query was dropped: \(hex(message))")
        case .needs, .transfer: break
        case .impaired(let length, _): expect(length <= room.count, "an answer of \(length) bytes")
        case .reply(let length):
            let response = UnsafeRawBufferPointer(rebasing: room[..<length])
            ResponseRules.check(response, to: message, isDatagram: isDatagram)
            if isStranger, isDatagram { expect(length <= message.count, "a stranger gets no more than came") }
        }
        readAhead(message, request, result, room)
        readLog()
    }

    /// Parsed ahead of its answer, as in a batch, a query gets the same answer.
    private func readAhead(
        _ message: UnsafeRawBufferPointer, _ request: Lookup.Request, _ result: QueryHandler.Result,
        _ room: UnsafeMutableRawBufferPointer
    ) {
        parsed.read(message)
        for step in 0..<Pipeline.prefetchSteps { parsed.prefetch(local.pipeline, step: step) }
        let buffer = UnsafeMutableRawBufferPointer(rebasing: other[..<room.count])
        switch (result, handler.handle(&parsed, message, request, &lookup, local, into: buffer)) {
        case (.reply(let one), .reply(let other)):
            expect(room[..<one].elementsEqual(buffer[..<other]), "read ahead, another answer: \(hex(message))")
        case (.nothing, .nothing), (.impaired, .impaired): break
        case (.needs(let one), .needs(let other)): expect(one == other, "read ahead, another question: \(hex(message))")
        case (.transfer(let one), .transfer(let other)): expect(one == other, "read ahead, another zone")
        case (_, let other): broken("read ahead, \(other) and not \(result): \(hex(message))")
        }
    }

    /// Whatever was asked, the log's lines are whole.
    private func readLog() {
        while position < ring.head {
            let record = ring.record(at: position)
            if !record.isGap { lines.append(record) }
            position += record.size
        }
        ring.release(position)
    }
}
