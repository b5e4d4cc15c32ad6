package import DNSWire
import Lookup
import NIOPosix
import Pipeline
import Platform
import Synchronization
import Transports
import Upstream

/// Explanations by the running daemon.
extension DaemonControl {
    /// Explains the answer for `name` from the data served now and the cache.
    ///
    /// Without side effects, unless `asks`: then unknown names are asked upstream first, and the answers are cached, as
    /// for a lookup. That takes no longer than a client would be kept waiting.
    package func why(_ name: Name, _ type: RecordType, asks: Bool = false) async -> Explanation {
        let (data, files, upstream, leases) = daemon.state.withLock {
            (
                daemon.store.current().data, $0.sources.hostsFiles, $0.sources.upstream.filter { $0.partition == 0 },
                $0.leases.all(at: SystemClock.monotonic())
            )
        }
        func sources(_ knownAnswers: KnownAnswers) -> ConfiguredSources {
            ConfiguredSources(
                data.pipeline, hostsFiles: files, upstream: upstream, knownAnswers: knownAnswers, leases: leases)
        }
        var knownAnswers = KnownAnswers(
            cache: data.pipeline.cache, now: SystemClock.monotonic(), cassette: daemon.cassette)
        var asked: AskedReply?
        var builder = ExplanationBuilder(sources(knownAnswers), name, type)
        if asks, type != .any {
            let deadline = knownAnswers.now + daemon.forwarding.clientTimeout
            // With `asks`, the first question goes to upstream even if it is cached: the user wants to know the answer
            // now.
            for _ in 0..<Decision.maximumHops where asked == nil || builder.needsUpstream {
                guard builder.needsUpstream || builder.isRemembered else { break }
                let key = FetchKey(builder.lastName, Question(type: type))
                guard !knownAnswers.fetched.contains(where: { $0.answer.key == key }) else { break }
                switch await daemon.forwarding.ask(key, until: deadline) {
                case .answered(let answer, let origin):
                    asked = AskedReply(
                        upstream: daemon.forwarding.numbers.server(origin.upstream).map { "\($0)" },
                        transport: "\(origin.transport)", roundTripMicroseconds: origin.microseconds,
                        connection: origin.setup.word.map { "\($0)" },
                        handshakeMicroseconds: origin.setup.handshakeMicroseconds,
                        responseCode: "\(answer.responseCode)")
                    knownAnswers.fetched.append(KnownAnswers.Known(answer: answer, origin: origin, source: .upstream))
                case .failed(let why):
                    asked = AskedReply(error: why)
                }
                builder = ExplanationBuilder(sources(knownAnswers), name, type)
                if asked?.error != nil { break }
            }
        }
        let complete = builder
        // Reads files, which may be large, so not on a thread that others need.
        var explanation: Explanation
        do {
            explanation = try await NIOThreadPool.singleton.runIfActive { complete.build() }
        } catch {
            explanation = complete.build()
        }
        explanation.asked = asked
        explanation.cached = Self.variants.compactMap { variant in
            let key = FetchKey(
                builder.lastName,
                Question(type: type, dnssecOK: variant.dnssecOK, checkingDisabled: variant.checkingDisabled))
            return data.pipeline.cache.peek(key, now: knownAnswers.now).map {
                CacheEntry($0.entry, daemon.forwarding.numbers)
            }
        }
        let servers = builder.configured.servers(for: builder.lastName)
        explanation.upstreams = daemon.forwarding.status.filter { servers.contains($0.server) }.map(UpstreamReport.init)
        return explanation
    }

    private static let variants = [false, true].flatMap { dnssecOK in
        [false, true].map { (dnssecOK: dnssecOK, checkingDisabled: $0) }
    }
}
