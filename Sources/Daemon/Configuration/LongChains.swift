import DNSWire
import LDNS
import LocalData
package import Platform

extension LoadedSources {
    /// Warnings about chains of aliases in zones that other resolvers do not follow to their end.
    package var longChains: [Diagnostic] {
        let aliases = zones.zones.flatMap(\.aliases)
        let targets = Set(aliases.map(\.target))
        let configured = ConfiguredSources(sources: self)
        return aliases.compactMap { alias in
            // A chain is reported where it starts.
            guard !alias.owner.isWildcard, !targets.contains(alias.owner) else { return nil }
            let count = configured.resolve(alias.owner, .a).records.count { $0.type == .cname }
            guard count > Self.longestChain else { return nil }
            return Diagnostic(
                alias.place, .warning,
                "\(alias.owner) leads over more than \(Self.longestChain) aliases, which other resolvers don't follow; "
                    + "point it nearer to the end of the chain")
        }
    }

    /// What PowerDNS Recursor 5.2 follows; BIND and Unbound follow 11.
    private static let longestChain = 10
}
