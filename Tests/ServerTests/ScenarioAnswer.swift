import DNSWire
import Foundation
import LDNS
import Testing

/// The answer to a scenario's query, in the words of scenarios.
struct ScenarioAnswer {
    private let message: [UInt8]
    private let query: [UInt8]
    private let rcode: String
    private let flags: [String]
    private let answers: [String]
    private let authority: [String]
    private let additional: [String]
    private let hasEDNS: Bool
    private let options: [(code: UInt16, data: [UInt8])]

    init(_ message: [UInt8], to query: [UInt8]) throws {
        self.message = message
        self.query = query
        let packet = try LDNS.Message(wire: message)
        rcode = "\(packet.responseCode)"
        let bits = Header.Flags(rawValue: UInt16(message[2]) << 8 | UInt16(message[3]))
        let names: [(Header.Flags, String)] = [
            (.authoritative, "aa"), (.truncated, "tc"), (.recursionDesired, "rd"), (.recursionAvailable, "ra"),
            (.authenticData, "ad"), (.checkingDisabled, "cd"),
        ]
        flags = names.filter { bits.contains($0.0) }.map(\.1)
        answers = Self.lines(packet.records(.answer))
        authority = Self.lines(packet.records(.authority))
        additional = Self.lines(packet.records(.additional))
        (hasEDNS, options) = Self.edns(message)
    }

    private static func lines(_ records: [LDNS.Message.Record]) -> [String] {
        records.map {
            "\($0.owner) \($0.ttl) \($0.recordClass) \($0.type) \(Presentation.text(rdata: $0.rdata, type: $0.type))"
        }
    }

    private static func edns(_ message: [UInt8]) -> (isThere: Bool, options: [(code: UInt16, data: [UInt8])]) {
        message.withUnsafeBytes { bytes in
            guard let opt = MessageReader.walk(bytes)?.opt, let base = bytes.baseAddress else { return (false, []) }
            var options: [(code: UInt16, data: [UInt8])] = []
            var cursor = opt.rdata
            while cursor + 4 <= opt.end {
                let end = cursor + 4 + Int(base.readUInt16(cursor + 2))
                guard end <= opt.end else { break }
                options.append((base.readUInt16(cursor), Array(bytes[(cursor + 4)..<end])))
                cursor = end
            }
            return (true, options)
        }
    }

    private func option(_ code: UInt16) -> [UInt8]? { options.first { $0.code == code }?.data }

    /// `CODE TEXT`, or `none`.
    private var ede: String {
        guard let data = option(EDNS.Option.extendedError), data.count >= 2 else { return "none" }
        let text = String(decoding: data[2...], as: UTF8.self)
        return "\(UInt16(data[0]) << 8 | UInt16(data[1]))" + (text.isEmpty ? "" : " \(text)")
    }

    /// Compares it with the scenario's expectations; what they don't mention is not checked.
    ///
    /// - Parameter slack: seconds by which TTLs may have decreased.
    func check(_ expected: Scenario.Expectation, at place: String, slack: UInt32) {
        // For any answer to any query: RFC 1035 4.1.1; 4343 4.1 for the question's case.
        #expect(message.prefix(2) == query.prefix(2) && message[2] & 0xF8 == 0x80, "\(place): not a response to it")
        let end = query.withUnsafeBytes { MessageReader.walk($0)?.questionEnd ?? 0 }
        #expect(
            message.count >= end && message[Header.length..<end] == query[Header.length..<end],
            "\(place): the question is another")
        if let wanted = expected.rcode { #expect(rcode == wanted, "\(place)") }
        for flag in expected.flags {
            if flag.hasPrefix("-") {
                #expect(!flags.contains(String(flag.dropFirst())), "\(place): \(flag) in \(flags)")
            } else {
                #expect(flags.contains(flag), "\(place): \(flag) in \(flags)")
            }
        }
        if !expected.anyAnswers { compare(answers, expected.answers, isOrdered: true, slack, "\(place): the answer") }
        if let wanted = expected.authority {
            compare(authority, wanted, isOrdered: false, slack, "\(place): the authority section")
        }
        if let wanted = expected.additional {
            compare(additional, wanted, isOrdered: false, slack, "\(place): the additional section")
        }
        if let wanted = expected.hasEDNS { #expect(hasEDNS == wanted, "\(place): OPT") }
        if let wanted = expected.ede {
            let isWhole = wanted.contains(" ") || wanted == "none"
            #expect((isWhole ? ede : ede.split(separator: " ").first.map(String.init)) == wanted, "\(place): \(ede)")
        }
        if let wanted = expected.nsid {
            #expect(option(EDNS.Option.nsid).map { String(decoding: $0, as: UTF8.self) } == wanted, "\(place)")
        }
        if let wanted = expected.hasCookie {
            #expect((option(EDNS.Option.cookie)?.count ?? 0 > 8) == wanted, "\(place): the cookie")
        }
    }

    private func compare(_ found: [String], _ wanted: [String], isOrdered: Bool, _ slack: UInt32, _ what: String) {
        let aged = slack == 0 || found.count != wanted.count ? found : restored(found, wanted, isOrdered, slack)
        if isOrdered {
            #expect(aged == wanted, "\(what)")
        } else {
            #expect(aged.sorted() == wanted.sorted(), "\(what)")
        }
    }

    /// `found` with the expected TTLs where the actual ones are lower by no more than `slack`.
    private func restored(_ found: [String], _ wanted: [String], _ isOrdered: Bool, _ slack: UInt32) -> [String] {
        func fields(_ line: String) -> [Substring] { line.split(separator: " ", maxSplits: 2) }
        var rest = wanted
        return found.enumerated().map { index, line in
            let parts = fields(line)
            let match = rest.indices.first { candidate in
                let other = fields(rest[candidate])
                guard !isOrdered || rest.count == wanted.count - index && candidate == 0, other.count == 3,
                    parts.count == 3, parts[0] == other[0], parts[2] == other[2],
                    let ttl = UInt32(parts[1]), let most = UInt32(other[1])
                else { return false }
                return ttl <= most && ttl + slack >= most
            }
            guard let match else {
                if isOrdered, !rest.isEmpty { rest.removeFirst() }
                return line
            }
            return rest.remove(at: match)
        }
    }
}

/// A line of the lookup log.
struct LoggedLookup: Decodable {
    var name: String
    var type: String
    var source: String
    var rule: String?
    var rcode: String?
    var answerKind: String?
    var reason: Reason?
    var upstream: String?
    var masked: Bool?
    var faults: [Fault]?
    var privateAnswer: String?

    struct Reason: Decodable { var text: String }
    struct Fault: Decodable {
        var actions: [String]
        var rule: String?
    }

    enum CodingKeys: String, CodingKey {
        case name, type, source, rule, rcode
        case reason = "ede"
        case answerKind = "answer_kind"
        case upstream, masked, faults
        case privateAnswer = "private"
    }

    init(line: String) throws { self = try JSONDecoder().decode(Self.self, from: Data(line.utf8)) }

    private static func withoutFolder(_ rule: String) -> String {
        rule.hasPrefix("/") ? rule.split(separator: "/").last.map(String.init) ?? rule : rule
    }

    /// Compares it, with only the names of files and servers.
    func check(_ expected: Scenario.Expectation, at place: String, _ servers: [(name: String, address: String)]) {
        if let wanted = expected.source {
            let rule = rule.map(Self.withoutFolder)
            #expect(([source] + (rule.map { [$0] } ?? [])).joined(separator: " ") == wanted, "\(place): the log")
        }
        if let wanted = expected.logged { #expect((answerKind ?? rcode) == wanted, "\(place): the log") }
        if let wanted = expected.reason { #expect(reason?.text == wanted, "\(place): the log") }
        if let wanted = expected.upstream {
            let parts = upstream?.split(separator: "/").map(String.init)
            let name = parts.map { parts in servers.first { $0.address == parts[0] }?.name ?? parts[0] }
            let found = name.map { wanted.contains("/") ? "\($0)/\(parts?.last ?? "")" : $0 } ?? "none"
            #expect(found == wanted, "\(place): the log")
        }
        if let wanted = expected.privateAnswer { #expect((privateAnswer ?? "no") == wanted, "\(place): the log") }
        if let wanted = expected.faults {
            let found = (faults ?? []).map {
                "\($0.actions.joined(separator: " ")) \($0.rule.map(Self.withoutFolder) ?? "-")"
            }
            #expect((found.isEmpty ? "none" : found.joined(separator: ", ")) == wanted, "\(place): the log")
        }
        if let wanted = expected.masked { #expect((masked ?? false) == wanted, "\(place): the log") }
    }
}
