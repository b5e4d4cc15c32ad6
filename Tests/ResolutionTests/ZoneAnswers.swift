import DNSWire
import LDNS
import LocalData
import Lookup
import Testing

/// Zones compiled from text, to be asked like by a client.
struct ZoneAnswers {
    let zones: ZoneSet

    /// Each text is a complete master file; its SOA's owner, a fully qualified name, names the zone.
    init(_ texts: String..., sourceLocation: SourceLocation = #_sourceLocation) {
        let folder = TemporaryFolder()
        var zones: [Zone] = []
        for (number, text) in texts.enumerated() {
            let path = folder.write(text.utf8, to: "\(number).zone")
            let result = ZoneReader.read(path: path)
            #expect(result.isLoadable, "\(result.diagnostics)", sourceLocation: sourceLocation)
            guard let apex = result.apex else { continue }
            zones.append(Zone(apex: apex, records: result.records, path: path))
        }
        self.zones = ZoneSet(zones)
    }

    init(_ zones: [Zone]) { self.zones = ZoneSet(zones) }

    /// What the client sees, as text, and the decision.
    struct Answer {
        var outcome = Outcome.pass
        var decision = Decision()
        /// Only upstream knows the name.
        var isBelowCut = false
        var isTruncated = false
        /// Records as `owner ttl type rdata`, in lower case and sorted, because case and order don't matter.
        var answer: [String] = []
        var authority: [String] = []
        var additional: [String] = []
        var size = 0

        var code: ResponseCode { decision.responseCode }
        /// A response's status: `NOERROR aa`.
        var header: String {
            "\(code)\(decision.authoritative ? " aa" : "")\(isTruncated ? " tc" : "")"
        }
    }

    /// Asks `"NAME TYPE"`, following CNAMEs from zone to zone as the pipeline does.
    func ask(
        _ question: String, dnssecOK: Bool = false, mayForward: Bool = false, limit: Int = 65_535,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Answer {
        let words = question.split(separator: " ")
        let name = try #require(Name(String(words[0])), sourceLocation: sourceLocation)
        let type = try #require(RecordType(mnemonic: words[1]), sourceLocation: sourceLocation)
        return try ask(name, type, dnssecOK: dnssecOK, mayForward: mayForward, limit: limit)
    }

    func ask(
        _ name: Name, _ type: RecordType, dnssecOK: Bool = false, mayForward: Bool = false, limit: Int = 65_535,
        follow: Bool = true
    ) throws -> Answer {
        let wire: [UInt8] =
            [0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] + name.wire
            + [UInt8(type.rawValue >> 8), UInt8(type.rawValue & 0xFF), 0, 1]
        return try ask(wire: wire, dnssecOK: dnssecOK, mayForward: mayForward, limit: limit, follow: follow).0
    }

    /// Asks with a query in wire form; the response is complete except for OPT.
    func ask(
        wire: [UInt8], dnssecOK: Bool? = nil, mayForward: Bool = false, limit: Int, follow: Bool = true
    ) throws -> (Answer, [UInt8]) {
        var result = Answer()
        let message = Lookup.asking(wire, limit: max(limit, 512)) { lookup in
            lookup.question = Question(
                type: lookup.query.type, mayForward: mayForward, dnssecOK: dnssecOK ?? lookup.query.dnssecOK)
            var links: [Int] = []
            for hop in 0..<17 {
                let aa = lookup.decision.authoritative
                result.outcome = zones.answer(&lookup)
                if hop > 0 { lookup.decision.authoritative = aa }
                guard follow, case .chase(let target) = result.outcome else { break }
                links.append(lookup.nameOffset)
                #expect(lookup.name.assign(message: lookup.builder.message, at: target) > 0)
                lookup.nameOffset = lookup.builder.resolvePointer(at: target)
            }
            for offset in links where lookup.question.dnssecOK {
                #expect(lookup.scratch.assign(message: lookup.builder.message, at: offset) > 0)
                zones.proveWildcard(lookup.scratch, builder: &lookup.builder)
            }
            result.decision = lookup.decision
            result.isBelowCut = lookup.isBelowCut
            result.isTruncated = lookup.builder.truncated
            result.size = lookup.builder.length
            var flags = Header.Flags.response.rawValue | result.decision.responseCode.rawValue & 0xF
            if result.decision.authoritative { flags |= Header.Flags.authoritative.rawValue }
            if result.isTruncated { flags |= Header.Flags.truncated.rawValue }
            lookup.builder.finish(flags: Header.Flags(rawValue: flags), questions: 1)
            return Array(lookup.builder.message)
        }
        #expect(message.withUnsafeBytes { MessageReader.walk($0)?.isSound } == true, "a malformed response: \(message)")
        let parsed = try Message(wire: message)
        func texts(_ section: Message.Section) -> [String] {
            parsed.records(section).map {
                "\($0.owner) \($0.ttl) \($0.type) \(Presentation.text(rdata: $0.rdata, type: $0.type))".lowercased()
            }.sorted()
        }
        result.answer = texts(.answer)
        result.authority = texts(.authority)
        result.additional = texts(.additional)
        return (result, message)
    }
}
