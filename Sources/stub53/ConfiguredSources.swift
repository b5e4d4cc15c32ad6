import DNSWire
import LDNS
import Resolution
import Server

/// The sources of a configuration, asked in this process as the daemon asks them.
struct ConfiguredSources: Sendable {
    let sources: ConfigurationSources
    let mayForward: Bool
    let trial = SourceTrial()
    private let chain: SourceChain

    init(sources: ConfigurationSources, configuration: Configuration) {
        self.sources = sources
        var cache = AnswerCache.Settings()
        cache.capacity = 0
        chain = SourceChain(
            hosts: sources.hosts, zones: sources.zones, special: sources.special, cache: AnswerCache(cache))
        mayForward = configuration.upstream != .none
    }

    /// What all of them together say, the chain of aliases followed as far as local data goes.
    func resolve(_ name: Name, _ type: RecordType) -> SourceTrial.Answer {
        var answer = trial.ask(name, type, mayForward: mayForward) { lookup, question, builder, decision, scratch in
            let resolution = chain.resolve(
                &lookup, question, now: 0, fresh: .none, builder: &builder, decision: &decision, scratch: &scratch)
            return resolution == .needsUpstream ? .needsUpstream : .answered
        }
        if answer.outcome == .answered, answer.decision.responseCode == .noError, !answer.hops.isEmpty,
            let alias = answer.records.last, alias.type == .cname
        {
            answer.isDeadEnd = !isLocal(Name(uncheckedWire: alias.rdata))
        }
        return answer
    }

    /// Whether a source other than upstream answers for `name`.
    func isLocal(_ name: Name) -> Bool {
        var lookup = LookupName()
        lookup.assign(name)
        return chain.isLocal(lookup)
    }

    /// What zones alone say.
    func askZones(_ name: Name, _ type: RecordType) -> SourceTrial.Answer {
        trial.ask(name, type, mayForward: mayForward) { lookup, question, builder, decision, _ in
            switch sources.zones.answer(
                lookup, nameOffset: Header.length, question: question, builder: &builder, decision: &decision)
            {
            case .pass: .passed
            case .forward: .needsUpstream
            case .answered, .chase: .answered
            }
        }
    }

    /// The upstream servers for `name`: those of the longest domain that it is in (the root's have no domain).
    func servers(for name: Name) -> [UpstreamServer] {
        let fitting = sources.upstream.filter { name.isAtOrBelow($0.domain) }
        let depth = fitting.map(\.domain.labelCount).max() ?? 0
        return fitting.filter { $0.domain.labelCount == depth }
    }
}
