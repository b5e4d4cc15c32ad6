package import DNSWire
package import LDNS
package import Lookup
package import Platform

/// Asks one stage, or the whole pipeline, as if a query had arrived over TCP, and reads the response.
package struct SourceTrial: Sendable {
    package struct Hop: Sendable {
        package var name: Name
        package var source: SourceKind
        package var place: Place
    }

    /// The answer of a source.
    package struct Answer: Sendable {
        package var outcome: Outcome
        package var decision: Decision
        /// What rules do to it.
        var faults = Faults()
        /// Which later stages may answer for the name.
        var reach: Lookup.Reach
        var isBelowCut: Bool
        /// No server is known for the last name.
        var isCutOff = false
        /// The answer section.
        package var records: [LDNS.Message.Record]
        /// The name servers of a referral.
        var referral: [String]
        package var hops: [Hop]
        /// The last name of the chain.
        package var lastName: Name

        /// The chain leads to a name that no source has, and nothing is forwarded.
        var isDeadEnd = false

        /// The place of the deciding line; empty if there is none.
        package var place: String { decision.place.isNowhere ? "" : "\(decision.place)" }

        /// The source that answered for the QNAME, the first name of a chain.
        var firstSource: SourceKind {
            if let first = hops.first { return first.source }
            return outcome == .needs ? .upstream : decision.source
        }

        package func has(_ type: RecordType) -> Bool { records.contains { $0.type == type } }

        /// The data of the records of `type`.
        func data(_ type: RecordType) -> [String] {
            records.filter { $0.type == type }.map { Presentation.text(rdata: $0.rdata, type: $0.type) }
        }

        /// A short form of the data, or why there is none.
        func summary(_ type: RecordType) -> String {
            var found = data(type)
            if type == .any {
                found = records.map { "\($0.type) \(Presentation.text(rdata: $0.rdata, type: $0.type))" }
            }
            // A single source shows its alias; of a complete chain, only the end counts.
            let isOpen = hops.isEmpty || isDeadEnd
            if found.isEmpty, isOpen, decision.responseCode == .noError,
                let alias = records.last(where: { $0.type == .cname })
            {
                let target = Presentation.text(rdata: alias.rdata, type: .cname)
                found = ["CNAME \(target)" + (isDeadEnd ? ", which no source here has" : "")]
            }
            let remark = decision.isInUpstreamsWords ? " (\(decision.text))" : ""
            if !found.isEmpty {
                let more = found.count > 3 ? ", \(found.count - 3) more" : ""
                return found.prefix(3).joined(separator: ", ") + more + remark
            }
            guard decision.responseCode == .noError else {
                let text = decision.text
                return "\(decision.responseCode)" + (text.isEmpty ? "" : " (\(text))")
            }
            if let first = referral.first { return "referral to \(first)" }
            return decision.masked ? "masked" : "NODATA" + remark
        }

        /// The comment on the answering source in a table.
        var comment: String {
            guard let first = records.first else { return "answers" }
            return "answers, TTL \(first.ttl)"
        }
    }

    func ask(_ name: Name, _ type: RecordType, mayForward: Bool, _ body: (inout Lookup) -> Outcome) -> Answer {
        var lookup = Lookup()
        lookup.request = Lookup.Request(
            client: SocketAddress(high: 0, low: 0x7F00_0001, port: 0, isIPv6: false), transport: .tcp, arrival: .now())
        lookup.recursionAvailable = mayForward
        var answer = Answer(
            outcome: .pass, decision: lookup.decision, reach: .everything, isBelowCut: false, records: [],
            referral: [], hops: [], lastName: name)
        // A real query, because the response copies its first bytes.
        var options = QueryTemplate.Options()
        options.payloadSize = nil
        let message = (try? QueryTemplate.wire(name: name, type: type, id: 0, options)) ?? []
        message.withUnsafeBytes { message in
            guard lookup.query.parse(message, name: &lookup.name) == .resolve else { return }
            withUnsafeTemporaryAllocation(byteCount: 65535, alignment: 8) { buffer in
                lookup.builder = ResponseBuilder(buffer: buffer, query: lookup.query, message: message, reserved: 0)
                lookup.takeQuestion()
                answer.outcome = body(&lookup)
                lookup.builder.finish(flags: .response, questions: 1)
                answer.decision = lookup.decision
                answer.faults = lookup.faults
                answer.reach = lookup.reach
                answer.isBelowCut = lookup.isBelowCut
                answer.isCutOff = lookup.isCutOff
                answer.lastName = lookup.name.name
                Self.read(lookup.builder.message, lookup.decision, into: &answer)
            }
        }
        return answer
    }

    private static func read(_ message: UnsafeRawBufferPointer, _ decision: Decision, into answer: inout Answer) {
        if MessageReader.walk(message)?.isSound == true, let read = try? LDNS.Message(wire: Array(message)) {
            answer.records = read.records(.answer)
            let authority = read.records(.authority)
            if !authority.contains(where: { $0.type == .soa }) {
                answer.referral = authority.filter { $0.type == .ns }.map {
                    Presentation.text(rdata: $0.rdata, type: .ns)
                }
            }
        }
        for index in 0..<decision.hopCount {
            let hop = decision.hop(index)
            var wire: [UInt8] = []
            guard MessageReader.expandName(message, at: Int(hop.nameOffset), into: &wire), let name = Name(wire: wire)
            else { continue }
            answer.hops.append(Hop(name: name, source: hop.source, place: hop.place))
        }
    }
}
