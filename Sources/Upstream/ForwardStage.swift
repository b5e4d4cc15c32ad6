package import DNSWire
package import Lookup

/// The last stage: what nobody here knows is upstream's to say.
package struct ForwardStage: Stage {
    package init() {}

    package static var kind: SourceKind? { .upstream }

    package func answer(_ lookup: inout Lookup) -> Outcome {
        guard lookup.question.mayForward, lookup.reach != .zonesOnly else { return .pass }
        guard let failure = lookup.upstream.failure else { return lookup.want() }
        lookup.decision.fail(.serverFailure, failure.error, failure.text)
        return .answered
    }
}
