import DNSWire
import Foundation
import Synchronization
import TestSupport
import Testing

@testable import LocalData
@testable import Platform

/// An upstream server of a scenario: its data, its behaviour, and the queries it received.
///
/// It builds its messages itself, so that it does not share faults of our own code.
final class ScenarioServer: Sendable {
    enum Behavior: Sendable, Equatable {
        case alive
        /// No response.
        case silent
        /// The port is closed.
        case closed
        /// This RCODE for everything.
        case code(UInt16)
        /// TC over UDP, the answer over TCP.
        case truncates
        /// TC over UDP; over TCP it closes the connection.
        case closesStreams
        /// FORMERR without OPT to a query with OPT; with `bare`, only a header.
        case formatError(bare: Bool)
        /// No response to a query with OPT.
        case dropsEDNS
        /// Answers without OPT.
        case plain
        /// The answer after this many milliseconds.
        case slow(UInt32)
        /// A referral to the root, as from a server that does not serve us.
        case lame
        /// NOERROR without any records.
        case empty
        /// The answer cut in half.
        case garbage
        /// The answer to another question.
        case otherQuestion
        /// The answer with another query's ID.
        case otherID
        /// Gives a server cookie.
        case givesCookies
        /// BADCOOKIE for a query over UDP without its server cookie.
        case wantsCookies
        /// Answers with a wrong client cookie.
        case forgesCookies
        /// The answer with zero bytes behind it.
        case extraBytes
        /// The answer with an additional A record of three bytes, and one more record announced than there is.
        case oddAdditional
        /// The answer with an authority record that is cut short, and no additional ones.
        case oddAuthority

        static let words: Set<String> = [
            "alive", "dead", "silent", "closed", "servfail", "refuses", "notimp", "truncates", "tcp-closes", "formerr",
            "formerr-bare", "drops-edns", "no-edns", "slow", "lame", "empty", "garbage", "other-question", "other-id",
            "cookies", "wants-cookie", "forges-cookie", "extra-bytes", "odd-additional", "odd-authority",
        ]

        init?(_ words: [String]) {
            switch (words.first, words.count) {
            case ("slow", 2):
                guard let seconds = Double(words[1]) else { return nil }
                self = .slow(UInt32(seconds * 1_000))
            case ("alive", 1): self = .alive
            case ("dead", 1), ("silent", 1): self = .silent
            case ("closed", 1): self = .closed
            case ("servfail", 1): self = .code(2)
            case ("notimp", 1): self = .code(4)
            case ("refuses", 1): self = .code(5)
            case ("truncates", 1): self = .truncates
            case ("tcp-closes", 1): self = .closesStreams
            case ("formerr", 1): self = .formatError(bare: false)
            case ("formerr-bare", 1): self = .formatError(bare: true)
            case ("drops-edns", 1): self = .dropsEDNS
            case ("no-edns", 1): self = .plain
            case ("lame", 1): self = .lame
            case ("empty", 1): self = .empty
            case ("garbage", 1): self = .garbage
            case ("other-question", 1): self = .otherQuestion
            case ("other-id", 1): self = .otherID
            case ("cookies", 1): self = .givesCookies
            case ("wants-cookie", 1): self = .wantsCookies
            case ("forges-cookie", 1): self = .forgesCookies
            case ("extra-bytes", 1): self = .extraBytes
            case ("odd-additional", 1): self = .oddAdditional
            case ("odd-authority", 1): self = .oddAuthority
            default: return nil
            }
        }
    }

    /// The reaction to a query.
    enum Reaction: Sendable {
        case silence
        case send([UInt8])
        case sendAfter(milliseconds: UInt32, [UInt8])
        /// The connection is closed.
        case hangUp
    }

    let name: String
    private let zones: [ServedZone]
    private let replies: [PreparedReply]
    private let behavior: Mutex<Behavior>
    private let log: UpstreamQueryLog

    private struct PreparedReply: Sendable {
        var name: Name
        var type: RecordType
        var code: UInt16
        var flags: UInt16
        var sections: [[[UInt8]]]
        var options: [(code: UInt16, data: [UInt8])]
    }

    init(_ server: Scenario.Server, of scenario: Scenario, folder: TemporaryFolder, log: UpstreamQueryLog) throws {
        name = server.name
        behavior = Mutex(server.behavior)
        self.log = log
        zones = try server.zones.map { zone in
            guard let apex = Name(zone.name) else { throw scenario.fault(zone.line, "'\(zone.name)' is no name") }
            return ServedZone(apex, try Self.records(zone.text, scenario, zone.line, folder))
        }
        replies = try server.replies.map { try Self.prepare($0, scenario, folder) }
    }

    func become(_ behavior: Behavior) { self.behavior.withLock { $0 = behavior } }

    /// The port is closed.
    var isClosed: Bool { behavior.withLock { $0 == .closed } }

    // MARK: Reading

    private static func records(
        _ text: String, _ scenario: Scenario, _ line: Int, _ folder: TemporaryFolder
    ) throws -> [ServedZone.Record] {
        let path = try folder.write(text, to: "upstream/" + UUID().uuidString)
        var reading = ZoneReading(name: .root, limits: ZoneReader.Limits())
        reading.readFile(path)
        let read = reading.finish()
        if let problem = read.diagnostics.sorted().first(where: { $0.severity == .error }) {
            throw scenario.fault(line, "\(problem)")
        }
        return read.records.entries.map { entry in
            ServedZone.Record(
                owner: Name(uncheckedWire: Array(read.records.owner(of: entry))), type: entry.type, ttl: entry.ttl,
                rdata: Array(read.records.rdata(of: entry)))
        }
    }

    private static func prepare(
        _ reply: Scenario.Reply, _ scenario: Scenario, _ folder: TemporaryFolder
    ) throws -> PreparedReply {
        let codes = [
            "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED", "YXDOMAIN", "YXRRSET", "NXRRSET",
            "NOTAUTH",
        ]
        guard let name = Name(reply.name), let type = RecordType(mnemonic: reply.type),
            let code = codes.firstIndex(of: reply.rcode)
        else { throw scenario.fault(reply.line, "the reply's name, type or RCODE is none") }
        var flags: UInt16 = 0x8180
        let bits: [String: UInt16] = ["aa": 0x0400, "tc": 0x0200, "ra": 0x0080, "ad": 0x0020, "cd": 0x0010]
        for flag in reply.flags {
            guard let bit = bits[flag.hasPrefix("-") ? String(flag.dropFirst()) : flag] else {
                throw scenario.fault(reply.line, "'\(flag)' is no flag")
            }
            if flag.hasPrefix("-") { flags &= ~bit } else { flags |= bit }
        }
        let sections = try [reply.answer, reply.authority, reply.additional].map { lines in
            try records(lines.joined(separator: "\n") + "\n", scenario, reply.line, folder).map(\.wire)
        }
        var options: [(code: UInt16, data: [UInt8])] = []
        if let ede = reply.ede {
            let parts = ede.split(separator: " ", maxSplits: 1).map(String.init)
            guard let code = UInt16(parts[0]) else { throw scenario.fault(reply.line, "'\(ede)' is no error") }
            options.append(
                (EDNS.Option.extendedError, Packet.bytes(code) + (parts.count > 1 ? Array(parts[1].utf8) : [])))
        }
        return PreparedReply(
            name: name, type: type, code: UInt16(code), flags: flags, sections: sections, options: options)
    }

    // MARK: Answering

    func react(_ message: [UInt8], _ transport: UpstreamTransport) -> Reaction {
        guard let query = UpstreamQuery(message, transport, to: name) else { return .silence }
        log.append(query)
        let behavior = behavior.withLock { $0 }
        switch behavior {
        case .silent, .closed: return .silence
        case .code(let code): return .send(error(message, query, code))
        case .truncates where transport == .udp, .closesStreams where transport == .udp:
            return .send(error(message, query, 0, flags: 0x8380))
        case .closesStreams: return .hangUp
        case .formatError(let bare) where query.hasEDNS:
            var reply = error(message, query, 1, hasOPT: false)
            if bare {
                reply.removeLast(reply.count - Header.length)
                reply[5] = 0
            }
            return .send(reply)
        case .dropsEDNS where query.hasEDNS: return .silence
        case .plain: return .send(answer(message, query, hasOPT: false))
        case .slow(let milliseconds): return .sendAfter(milliseconds: milliseconds, answer(message, query))
        case .lame:
            let referral = Packet.record([0], .ns, ttl: 3600, Packet.name("a.root-servers.net"))
            return .send(self.message(message, query, flags: 0x8100, sections: [[], [referral], []]))
        case .empty: return .send(error(message, query, 0))
        case .garbage:
            let whole = answer(message, query, hasOPT: false)
            return .send(Array(whole.dropLast(max(1, (whole.count - query.questionEnd) / 2))))
        case .otherQuestion:
            var reply = answer(message, query)
            reply[Header.length + 1] ^= 1
            return .send(reply)
        case .otherID:
            var reply = answer(message, query)
            reply[0] ^= 0xFF
            return .send(reply)
        case .wantsCookies where transport == .udp && query.hasEDNS && query.cookie.dropFirst(8) != Self.cookie[...]:
            return .send(error(message, query, 23, cookie: Self.cookie))
        case .givesCookies, .wantsCookies: return .send(answer(message, query, cookie: Self.cookie))
        case .forgesCookies:
            var reply = answer(message, query, cookie: Self.cookie)
            // The client cookie in the only option.
            if !query.cookie.isEmpty { reply[reply.count - 16] ^= 0xFF }
            return .send(reply)
        case .extraBytes: return .send(answer(message, query) + [0, 0, 0, 0])
        case .oddAdditional:
            var reply = answer(message, query, hasOPT: false)
            reply[Header.additionalCount + 1] += 2
            return .send(reply + Packet.record([0], .a, ttl: 60, [192, 0, 2]))
        case .oddAuthority:
            var reply = answer(message, query, hasOPT: false)
            reply[Header.authorityCount + 1] += 1
            return .send(reply + Packet.record([0], .ns, ttl: 60, Packet.name("ns.example")).dropLast(3))
        case .alive, .truncates, .formatError, .dropsEDNS: return .send(answer(message, query))
        }
    }

    /// The server cookie.
    private static let cookie = Array("OVENWARM".utf8)

    private func error(
        _ message: [UInt8], _ query: UpstreamQuery, _ code: UInt16, flags: UInt16 = 0x8180, hasOPT: Bool = true,
        cookie: [UInt8]? = nil
    ) -> [UInt8] {
        self.message(
            message, query, flags: flags, code: code, sections: [[], [], []], hasOPT: hasOPT, cookie: cookie)
    }

    private func answer(
        _ message: [UInt8], _ query: UpstreamQuery, hasOPT: Bool = true, cookie: [UInt8]? = nil
    ) -> [UInt8] {
        if let reply = replies.first(where: { $0.name == query.name && $0.type == query.type }) {
            return self.message(
                message, query, flags: reply.flags, code: reply.code, sections: reply.sections, hasOPT: hasOPT,
                cookie: cookie, options: reply.options)
        }
        let (code, answers, authority) = ServedZone.answer(query.name, query.type, from: zones)
        return self.message(
            message, query, flags: 0x8180, code: code, sections: [answers.map(\.wire), authority.map(\.wire), []],
            hasOPT: hasOPT, cookie: cookie)
    }

    private func message(
        _ message: [UInt8], _ query: UpstreamQuery, flags: UInt16, code: UInt16 = 0, sections: [[[UInt8]]],
        hasOPT: Bool = true, cookie: [UInt8]? = nil, options: [(code: UInt16, data: [UInt8])] = []
    ) -> [UInt8] {
        var packet = Packet()
        packet.id = query.id
        packet.flags = flags | code & 0xF
        packet.questions = [Array(message[Header.length..<query.questionEnd])]
        packet.answers = sections[0]
        packet.authority = sections[1]
        packet.additional = sections[2]
        if query.hasEDNS, hasOPT {
            var options = options
            if let cookie, query.cookie.count >= 8 {
                options.append((EDNS.Option.cookie, Array(query.cookie.prefix(8)) + cookie))
            }
            var opt = Packet.opt(flags: query.dnssecOK ? 0x8000 : 0, options)
            opt[5] = UInt8(code >> 4)
            packet.additional.append(opt)
        }
        let wire = packet.wire
        guard query.transport == .udp, wire.count > query.payloadSize else { return wire }
        return error(message, query, code, flags: flags | 0x0200, hasOPT: hasOPT, cookie: cookie)
    }
}

/// The queries that a scenario's servers received, in order of arrival.
final class UpstreamQueryLog: Sendable {
    private let queries = Mutex<[UpstreamQuery]>([])

    func append(_ query: UpstreamQuery) { queries.withLock { $0.append(query) } }

    var count: Int { queries.withLock { $0.count } }

    func from(_ index: Int) -> [UpstreamQuery] { queries.withLock { Array($0[index...]) } }
}

/// A zone on an upstream server: plain lists, and RFC 1034 4.3.2 word for word.
struct ServedZone: Sendable {
    struct Record: Sendable {
        var owner: Name
        var type: RecordType
        var ttl: UInt32
        var rdata: [UInt8]

        var wire: [UInt8] { Packet.record(owner.wire, type, ttl: ttl, rdata) }
    }

    let apex: Name
    private let records: [Record]

    init(_ apex: Name, _ records: [Record]) {
        self.apex = apex
        self.records = records
    }

    /// The answer of a resolver that knows only these zones.
    static func answer(
        _ name: Name, _ type: RecordType, from zones: [ServedZone]
    ) -> (code: UInt16, answers: [Record], authority: [Record]) {
        var name = name
        var answers: [Record] = []
        for _ in 0..<20 {
            let zone = zones.filter { name.isAtOrBelow($0.apex) }.max { $0.apex.labelCount < $1.apex.labelCount }
            // Outside its zones: an alias that leads there ends the answer; anything else is refused.
            guard let zone else { return (answers.isEmpty ? 5 : 0, answers, []) }
            var code: UInt16 = 0
            var found = zone.at(name)
            if found.isEmpty {
                if let alias = zone.substitution(of: name) {
                    answers += alias
                    name = Name(uncheckedWire: alias[1].rdata)
                    continue
                }
                if !zone.hasNames(below: name) {
                    found = zone.wildcard(for: name)
                    if found.isEmpty { code = 3 }
                }
            }
            let wanted = found.filter { $0.type == type || type == .any }
            if !wanted.isEmpty { return (0, answers + wanted, []) }
            if let alias = found.first(where: { $0.type == .cname }) {
                answers.append(alias)
                name = Name(uncheckedWire: alias.rdata)
                continue
            }
            return (code, answers, zone.negative)
        }
        return (2, [], [])
    }

    private func at(_ name: Name) -> [Record] { records.filter { $0.owner == name } }

    private func hasNames(below name: Name) -> Bool { records.contains { $0.owner.isBelow(name) } }

    /// The DNAME above `name`, and the CNAME synthesized from it (RFC 6672 3.1).
    private func substitution(of name: Name) -> [Record]? {
        for record in records where record.type == .dname && name.isBelow(record.owner) {
            let prefix = name.wire.dropLast(record.owner.wire.count)
            let alias = Record(owner: name, type: .cname, ttl: record.ttl, rdata: prefix + record.rdata)
            return [record, alias]
        }
        return nil
    }

    private func wildcard(for name: Name) -> [Record] {
        var encloser = name.parent
        while let candidate = encloser, candidate != apex, at(candidate).isEmpty, !hasNames(below: candidate) {
            encloser = candidate.parent
        }
        guard let wildcard = encloser?.prepending(label: [UInt8(ascii: "*")]) else { return [] }
        return at(wildcard).map { Record(owner: name, type: $0.type, ttl: $0.ttl, rdata: $0.rdata) }
    }

    /// The SOA as sent with NXDOMAIN and NODATA (RFC 2308 3).
    private var negative: [Record] {
        at(apex).filter { $0.type == .soa }.map { soa in
            let minimum = soa.rdata.suffix(4).reduce(0) { $0 << 8 | UInt32($1) }
            return Record(owner: apex, type: .soa, ttl: min(soa.ttl, minimum), rdata: soa.rdata)
        }
    }
}
