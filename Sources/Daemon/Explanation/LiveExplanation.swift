package import DNSWire
import Lookup
import NIOPosix
import Pipeline
import Platform
import Synchronization
import Transports
import Upstream

/// What the daemon itself says about a name.
extension DaemonControl {
    /// Why `name` is answered as it is, from what the daemon serves now and what it remembers.
    ///
    /// Nothing is changed by it. With `asks`, what is not known here is asked upstream first, as a lookup would, and
    /// the answer is kept as a lookup's would; that takes no longer than a client would be kept waiting.
    package func why(_ name: Name, _ type: RecordType, asks: Bool = false) async -> Explanation {
        let (data, files, upstream, leases) = daemon.state.withLock {
            (
                daemon.store.current().data, $0.sources.hostsFiles, $0.sources.upstream,
                $0.leases.all(at: Moment.monotonicMicroseconds())
            )
        }
        func sources(_ memory: UpstreamMemory) -> ConfiguredSources {
            ConfiguredSources(data.pipeline, hostsFiles: files, upstream: upstream, memory: memory, leases: leases)
        }
        var memory = UpstreamMemory(cache: data.pipeline.cache, now: Moment.monotonicMicroseconds())
        var asked: AskedReply?
        var builder = ExplanationBuilder(sources(memory), name, type)
        if asks, type != .any {
            let deadline = memory.now + daemon.forwarding.patience
            // Without a detour through what is remembered: who asks to ask wants to know what upstream says now.
            for _ in 0..<Decision.maximumHops where asked == nil || builder.needsUpstream {
                guard builder.needsUpstream || builder.isRemembered else { break }
                let key = FetchKey(builder.lastName, Question(type: type))
                guard !memory.fetched.contains(where: { $0.answer.key == key }) else { break }
                switch await daemon.forwarding.ask(key, until: deadline) {
                case .answered(let answer, let origin):
                    asked = AskedReply(
                        upstream: daemon.forwarding.numbers.server(origin.upstream).map { "\($0)" },
                        transport: "\(origin.transport)", roundTripMicroseconds: origin.microseconds,
                        responseCode: "\(answer.responseCode)")
                    memory.fetched.append(UpstreamMemory.Known(answer: answer, origin: origin, source: .upstream))
                case .failed(let why):
                    asked = AskedReply(error: why)
                }
                builder = ExplanationBuilder(sources(memory), name, type)
                if asked?.error != nil { break }
            }
        }
        let complete = builder
        // It reads files, which may be large: not on a thread that others wait for.
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
            return data.pipeline.cache.peek(key, now: memory.now).map {
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
