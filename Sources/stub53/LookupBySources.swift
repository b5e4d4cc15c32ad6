import DNSWire
import Daemon
import Flow
import LDNS
import Lookup
import Upstream

/// Looks names up in a configuration's sources, in this process; asks upstream for what they leave to it.
struct LookupBySources: NameLookup {
    let configured: ConfiguredSources
    let timeout: Duration

    var description: String { "the configured sources" }

    func ask(_ name: Name, _ type: RecordType) throws(LookupFailure) -> LookupAnswer {
        var asked = name
        var answer: LookupAnswer?
        // Aliases may alternate between local data and upstream, as in the daemon.
        for _ in 0..<Decision.maximumHops {
            let local = configured.resolve(asked, type)
            guard local.outcome == .needs else {
                var decided = Self.join(answer, Self.answer(local))
                decided.hidden = hidden(asked, type, local)
                return decided
            }
            var remote = try askUpstream(local.lastName, type)
            remote.records.insert(contentsOf: local.records.map(LookupAnswer.Record.init), at: 0)
            guard let cut = next(remote, type, from: local.lastName) else { return Self.join(answer, remote) }
            // Upstream's records for a name of others are ignored.
            remote.records = remote.records.filter { $0.type == .cname && $0.owner != cut }
            answer = Self.join(answer, remote)
            asked = cut
        }
        throw LookupFailure("the chain of aliases from \(name) is longer than \(Decision.maximumHops)")
    }

    private static func answer(_ local: SourceTrial.Answer) -> LookupAnswer {
        var answer = LookupAnswer(
            records: local.records.map(LookupAnswer.Record.init), responseCode: local.decision.responseCode)
        answer.isAuthoritative = local.decision.authoritative
        answer.source = "\(local.decision.source)"
        answer.rule = local.place.isEmpty ? nil : local.place
        answer.isMasked = local.decision.masked
        return answer
    }

    /// The later answer decides; the records of both form the chain.
    private static func join(_ first: LookupAnswer?, _ second: LookupAnswer) -> LookupAnswer {
        guard let first else { return second }
        var joined = second
        joined.records = first.records + second.records
        joined.isAuthenticated = first.isAuthenticated && second.isAuthenticated
        return joined
    }

    /// The place of a zone's record that an override hides.
    private func hidden(_ name: Name, _ type: RecordType, _ local: SourceTrial.Answer) -> String? {
        guard local.decision.masked else { return nil }
        let zone = configured.askZones(name, type)
        return zone.has(type) ? zone.place : nil
    }

    /// The name to look up next: the first alias's target after `asked` that other sources or servers answer for, or
    /// the last one, if the server said nothing about it.
    private func next(_ answer: LookupAnswer, _ type: RecordType, from asked: Name) -> Name? {
        var name = asked
        for _ in 0..<Decision.maximumHops {
            guard let alias = answer.records.first(where: { $0.type == .cname && $0.owner == name }),
                let target = Name(wire: alias.rdata)
            else { break }
            if configured.isElsewhere(target, from: asked) { return target }
            name = target
        }
        let isOpen =
            name != asked && type != .cname && answer.responseCode == .noError
            && !answer.records.contains { $0.owner == name }
        return isOpen ? name : nil
    }

    private func askUpstream(_ name: Name, _ type: RecordType) throws(LookupFailure) -> LookupAnswer {
        guard let server = configured.servers(for: name).first else {
            throw LookupFailure("no upstream server is known for \(name); name one with --upstream")
        }
        var options = DNSExchange.Options()
        options.transport = server.transport
        options.timeout = timeout
        options.mend = "check the address, or name another with --upstream"
        do {
            let result = try DNSExchange(server, options).ask(name, type, .in)
            var answer = try LookupAnswer(message: LDNS.Message(wire: result.message))
            answer.source = "upstream"
            answer.rule = "\(server)"
            return answer
        } catch {
            throw LookupFailure("\(server): \(error)")
        }
    }
}
