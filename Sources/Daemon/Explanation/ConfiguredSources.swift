import Cassettes
package import DNSWire
import LDNS
import LocalData
import Lookup
import Pipeline
import Platform
package import Upstream

/// All sources of a configuration, asked as the daemon asks them, but beside the service and without side effects.
package struct ConfiguredSources: Sendable {
    /// Its cache is empty: what a daemon has cached is in `knownAnswers`.
    let pipeline: Pipeline
    /// The hosts files that were read, in order.
    let hostsFiles: [String]
    let upstream: [UpstreamServer]
    let mayForward: Bool
    /// A running daemon's knowledge from upstream; nil if only files are considered.
    let knownAnswers: KnownAnswers?
    /// Overrides added at run time.
    private(set) var leases: [OverrideLease] = []
    let trial = SourceTrial()

    /// From files alone, without any daemon's cache.
    package init(sources: LoadedSources) {
        pipeline = Pipeline(
            rules: RuleSet(rules: sources.rules), hosts: sources.hosts, zones: sources.zones,
            special: sources.special, cache: Self.emptyCache,
            routes: ForwardRoutes(sources.upstream, awaitsDefault: sources.awaitsSystem),
            privateAddresses: sources.privateAddresses)
        hostsFiles = sources.hostsFiles
        upstream = sources.upstream.filter { $0.partition == 0 }
        mayForward = !pipeline.routes.isEmpty
        knownAnswers = nil
    }

    /// From the daemon's current state.
    init(
        _ pipeline: Pipeline, hostsFiles: [String], upstream: [UpstreamServer], knownAnswers: KnownAnswers,
        leases: [OverrideLease]
    ) {
        self.leases = leases
        self.pipeline = Pipeline(
            rules: pipeline.rules.peeking, hosts: pipeline.overrides.hosts, leases: pipeline.overrides.leases,
            zones: pipeline.zones,
            special: pipeline.special, cache: Self.emptyCache, routes: pipeline.routes,
            privateAddresses: pipeline.privateAddresses)
        self.hostsFiles = hostsFiles
        self.upstream = upstream
        mayForward = !pipeline.routes.isEmpty
        self.knownAnswers = knownAnswers
    }

    private static let emptyCache: AnswerCache = {
        var settings = AnswerCache.Settings()
        settings.capacity = 0
        return AnswerCache(settings)
    }()

    /// The answer of all sources together. Follows the chain of aliases as far as it is known here.
    package func resolve(_ name: Name, _ type: RecordType) -> SourceTrial.Answer {
        var fresh = FreshAnswers.none
        var remembered: [Name: SourceKind] = [:]
        var answer = resolve(name, type, fresh)
        while answer.outcome == .needs || answer.isCutOff, let knownAnswers,
            remembered.count <= Decision.maximumHops, remembered[answer.lastName] == nil,
            let known = knownAnswers.answer(answer.lastName, type, allowStale: answer.isCutOff)
        {
            fresh.append(known.answer, from: known.origin)
            remembered[answer.lastName] = known.source
            answer = resolve(name, type, fresh)
        }
        // Cached answers went in as upstream's; the explanation shows where they came from.
        if answer.decision.source == .upstream {
            answer.decision.source = remembered[answer.lastName] ?? .upstream
        }
        for index in answer.hops.indices where answer.hops[index].source == .upstream {
            answer.hops[index].source = remembered[answer.hops[index].name] ?? .upstream
        }
        if answer.outcome == .answered, answer.decision.responseCode == .noError, !answer.hops.isEmpty,
            let alias = answer.records.last, alias.type == .cname
        {
            answer.isDeadEnd = !isLocal(Name(uncheckedWire: alias.rdata))
        }
        return answer
    }

    private func resolve(_ name: Name, _ type: RecordType, _ fresh: FreshAnswers) -> SourceTrial.Answer {
        trial.ask(name, type, mayForward: mayForward) { lookup in
            lookup.upstream.answers = fresh
            return pipeline.resolve(&lookup)
        }
    }

    /// Whether a local source answers for `name`.
    package func isLocal(_ name: Name) -> Bool {
        var lookup = LookupName()
        lookup.assign(name)
        return pipeline.isLocal(lookup)
    }

    /// Whether `name` is forwarded, if only to what the cache holds.
    func forwards(_ name: Name) -> Bool {
        var lookup = LookupName()
        lookup.assign(name)
        return mayForward && pipeline.routes.coverage(of: lookup) != .none
    }

    /// Whether another source or another server than that of `name` answers for `target`, to which an alias leads.
    package func isElsewhere(_ target: Name, from name: Name) -> Bool {
        var there = LookupName()
        there.assign(target)
        var here = LookupName()
        here.assign(name)
        return pipeline.isLocal(there) || pipeline.routes.separate(there, from: here)
    }

    /// The answer of zones alone.
    package func askZones(_ name: Name, _ type: RecordType) -> SourceTrial.Answer {
        ask(ZoneStage(pipeline.zones), name, type)
    }

    /// The rules for a lookup of `name` from this machine, over UDP, that all but chance and counts fit.
    func rules(for name: Name, _ type: RecordType) -> [Rule] {
        var lookup = Lookup()
        lookup.request.client = SocketAddress(high: 0, low: 0x7F00_0001, port: 0, isIPv6: false)
        lookup.request.arrival = .now()
        lookup.name.assign(name)
        lookup.question = Question(type: type)
        return pipeline.rules.matches(lookup)
    }

    /// The answer of one stage alone.
    func ask(_ stage: some Stage, _ name: Name, _ type: RecordType) -> SourceTrial.Answer {
        trial.ask(name, type, mayForward: mayForward) { stage.answer(&$0) }
    }

    /// The upstream servers for `name`: those of the longest matching domain (the default servers have the root).
    package func servers(for name: Name) -> [UpstreamServer] {
        let fitting = upstream.filter { name.isAtOrBelow($0.domain) }
        let depth = fitting.map(\.domain.labelCount).max() ?? 0
        return fitting.filter { $0.domain.labelCount == depth }
    }
}

/// What upstream answered earlier, or just now for this explanation.
struct KnownAnswers: Sendable {
    struct Known {
        var answer: UpstreamAnswer
        var origin: UpstreamAnswer.Origin
        var source: SourceKind
    }

    let cache: AnswerCache
    /// Monotonic, in microseconds.
    let now: UInt64
    /// Fetched for this explanation.
    var fetched: [Known] = []
    /// What is replayed.
    var cassette: Cassette?

    /// What a lookup would get now; nil: it would ask upstream.
    func answer(_ name: Name, _ type: RecordType, allowStale: Bool) -> Known? {
        let key = FetchKey(name, Question(type: type))
        if let known = fetched.first(where: { $0.answer.key == key }) { return known }
        guard let held = cache.peek(key, now: now),
            held.entry.isUsable || allowStale && cache.mayServeStale(held.entry)
        else { return recorded(key) }
        return Known(
            answer: held.answer, origin: held.entry.origin, source: held.entry.isStale ? .stale : .cache)
    }

    private func recorded(_ key: FetchKey) -> Known? {
        guard let reply = cassette?.peek(key) else { return nil }
        var scrubber = AnswerScrubber()
        let answer = reply.message.withUnsafeBytes { message in
            MessageReader.walk(message).flatMap {
                try? scrubber.check(message, $0, for: key, ttls: cache.settings.ttls)
            }
        }
        let origin = UpstreamAnswer.Origin(
            microseconds: reply.microseconds, transport: .replay, place: reply.place)
        return answer.map { Known(answer: $0, origin: origin, source: .upstream) }
    }
}
