import DNSWire
import Foundation
import History
import Lookup
import LookupLog
import Platform

/// Seeded lookups of all kinds, with common ones often.
struct RandomLookups {
    var random: SplitMix
    /// The next lookup's time, in microseconds since 1970.
    var time: UInt64 = 1_795_453_200_000_000
    let upstreams = ["192.0.2.1:53", "[2001:db8::53]:53", "9.9.9.9:853"]

    init(seed: UInt64) { random = SplitMix(state: seed) }

    private mutating func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
    private mutating func one<T>(_ values: [T]) -> T { values.randomElement(using: &random)! }
    private mutating func chance(_ percent: Int) -> Bool { number(1...100) <= percent }

    static let words = ["www", "api", "mail", "cdn", "acme", "example", "shop", "org", "com", "test", "_443", "_https"]
    static let hostile: [[UInt8]] = [
        Array("a\nb".utf8), Array("\u{1B}[31mred".utf8), Array("\"},{\"id\":7".utf8), Array("\\".utf8), [0],
        Array("a.b".utf8), [0x80, 0xFF], Array(" ".utf8), Array("=1+1".utf8), Array("*".utf8), Array("ACME".utf8),
    ]

    mutating func name() -> Name {
        var name = Name.root
        for _ in 0..<number(1...4) {
            let label = chance(4) ? one(Self.hostile) : Array(one(Self.words).utf8)
            let cased = chance(20) ? label.map { (97...122).contains($0) && $0 % 2 == 0 ? $0 - 32 : $0 } : label
            name = name.prepending(label: cased) ?? name
        }
        if chance(10) { name = name.prepending(label: Array("h\(number(0...300))".utf8)) ?? name }
        return chance(1) ? .root : name
    }

    static let addresses = [
        "127.0.0.1", "127.0.0.1", "::1", "::ffff:127.0.0.1", "192.0.2.7", "2001:db8::7", "fe80::1%3",
    ]
    static let commands = ["dig", "firefox", "Web Content", "curl", "a\"b,c\n", "=cmd", "\u{202E}gpj"]

    /// The next lookup, with the fields to be written.
    mutating func next() -> LookupFields {
        time += UInt64(number(0...3000))
        var fields = LookupFields(client: SocketAddress(ip: one(Self.addresses), port: UInt16(number(1...65_535)))!)
        fields.time = time - UInt64(chance(5) ? number(0...2000) : 0)
        fields.transport = one([.udp, .udp, .udp, .tcp, .dot, .doh])
        if chance(60) { fields.process = ClientProcess(pid: Int32(number(1...20)), command: one(Self.commands)) }
        if chance(2) {
            fields.answerKind = .dropped
            return fields
        }
        if chance(2) {
            fields.responseCode = .formatError
            return fields
        }
        let name = name()
        fields.type = one([.a, .a, .aaaa, .https, .mx, .any, .ptr, RecordType(rawValue: 65_280)])
        fields.recordClass = chance(97) ? .in : .ch
        fields.flags = Header.Flags(rawValue: UInt16(number(0...65_535)))
        fields.dnssecOK = chance(20)
        if chance(50) { fields.payloadSize = UInt16(number(1...65_535)) }
        fields.source = one(SourceKind.allCases)
        fields.responseCode = one([.noError, .noError, .noError, .nxDomain, .serverFailure, .refused, .badVersion])
        if fields.responseCode == .noError {
            fields.answerKind = one([.answer, .answer, .noData, .referral, .transfer])
        }
        if chance(60) {
            fields.place = Place(path: one(["/etc/hosts", "zones/a \"b\".zone", "RFC 6761"]), line: number(0...99))
        }
        fields.isMasked = chance(5)
        fields.isTruncated = chance(5)
        if chance(5) { fields.privateAnswer = one([.passed, .refused]) }
        if chance(30) {
            fields.upstream = number(0...3)
            fields.upstreamMicroseconds = UInt32(number(0...5_000_000))
            fields.upstreamTransport = chance(30) ? .tcp : .udp
            if fields.upstreamTransport == .tcp {
                fields.upstreamSetup = UpstreamSetup(rawValue: UInt16(number(1...65_535)))
            }
        }
        fields.durationMicroseconds = UInt32(number(0...5_000_000))
        if chance(10) {
            fields.extendedError = ExtendedError(rawValue: UInt16(number(0...40)))
            if chance(70) { fields.extendedText = Array("because of \"\(number(0...9))\"".utf8) }
        }
        fields.questionLength = name.wire.count + 4
        var message = [UInt8](repeating: 0, count: Header.length) + name.wire
        func append(_ value: UInt16) { message += [UInt8(value >> 8), UInt8(value & 0xFF)] }
        append(fields.type.rawValue)
        append(fields.recordClass.rawValue)
        for _ in 0..<number(0...3) {
            fields.answers += 1
            message += [0xC0, 12]
            let type = one([fields.type, .cname, .txt])
            append(type.rawValue)
            append(1)
            message += [0, 0, 1, 44]
            let data: [UInt8] =
                type == .cname
                ? self.name().wire : (0..<number(0...20)).map { _ in UInt8.random(in: 0...255, using: &random) }
            append(UInt16(data.count))
            message += data
        }
        if chance(30) {
            message += [0, 0, type(chance(70)), 0, 1, 0, 0, 0, 9, 0, 0]
        }
        fields.message = message
        if chance(10) {
            for _ in 0..<number(2...5) {
                fields.hops.append(
                    .init(
                        nameOffset: UInt16(number(0...40)), source: one(SourceKind.allCases),
                        place: chance(50) ? .nowhere : Place(path: "acme.zone", line: number(1...9))))
            }
        }
        return fields
    }

    private func type(_ isSOA: Bool) -> UInt8 { isSOA ? 6 : 2 }

    /// Conditions that match few, many or no lookups.
    mutating func filter() -> LookupFilter {
        var filter = LookupFilter()
        func some(_ percent: Int) -> Bool { chance(percent) }
        if chance(50) {
            for _ in 0..<number(1...2) {
                let name = name().description
                let text: String
                switch number(0...5) {
                case 0: text = name
                case 1, 2: text = "*." + name
                case 3: text = one(Self.words) + "*"
                case 4: text = "*" + one(["cm", "h1", "a", "\\", "xyz"]) + "*"
                default: text = "*." + one(["org", "com", "acme.org", "test."])
                }
                if let pattern = try? NamePattern(text) { filter.names.append(pattern) }
            }
        }
        if chance(30) { filter.types = [one([.a, .https, .mx, .txt])] }
        if chance(30) { filter.sources = [one(SourceKind.allCases), one(SourceKind.allCases)] }
        if chance(30) {
            filter.codes = [
                one(AnswerKind.allCases.map { .kind($0) } + [.code(.nxDomain), .code(.noError), .privateAddress])
            ]
        }
        if chance(20) { filter.transports = [one(Transport.allCases)] }
        if chance(30) {
            filter.clients = [
                one([
                    .address(SocketAddress(ip: "127.0.0.1", port: 0)!),
                    .address(SocketAddress(ip: "2001:db8::7", port: 0)!),
                    .process(7), .command(Array("firefox".utf8)), .command(Array("*c*".utf8)),
                ])
            ]
        }
        if chance(30) { filter.since = time - UInt64(number(0...40_000_000)) }
        if chance(30) { filter.until = time - UInt64(number(0...40_000_000)) }
        return filter
    }
}

extension RandomLookups {
    /// One lookup of any kind.
    static func one(seed: UInt64) -> LookupFields {
        var random = RandomLookups(seed: seed)
        return random.next()
    }

    /// An HTTPS query for an overridden name.
    static func masked(_ name: String) -> LookupFields {
        let name = Name(name)!
        var fields = LookupFields(client: SocketAddress(ip: "127.0.0.1", port: 54_321)!)
        fields.time = 1_795_453_200_000_001
        fields.type = .https
        fields.recordClass = .in
        fields.flags = .recursionDesired
        fields.source = .hosts
        fields.place = Place(path: "/etc/hosts", line: 12)
        fields.answerKind = .noData
        fields.isMasked = true
        fields.durationMicroseconds = 11
        fields.questionLength = name.wire.count + 4
        fields.message = [UInt8](repeating: 0, count: Header.length) + name.wire + [0, 65, 0, 1]
        return fields
    }
}

/// A seeded generator; failing tests print the seed.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }
}

extension HistoryWriterFeed {
    /// Notes all `lookups`, numbered from `first` on, without waiting.
    func note(_ lookups: some Sequence<LookupFields>, from first: UInt64 = 1) {
        for (index, fields) in lookups.enumerated() {
            let number = first + UInt64(index)
            StoredLookup(id: 0, number: number, fields).withRecord { writer.note($0, id: number) }
            noted += 1
        }
        writer.flush()
    }
}
