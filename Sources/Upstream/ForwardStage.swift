import DNSWire
public import Lookup

/// The last stage: asks upstream for what no source here knows.
public struct ForwardStage: Stage {
    public init() {}

    public static var kind: SourceKind? { .upstream }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        guard lookup.question.mayForward, lookup.reach != .zonesOnly, !lookup.isCutOff else {
            return .pass
        }
        guard let failure = lookup.upstream.failure else { return lookup.want() }
        lookup.decision.fail(.serverFailure, failure.error, failure.text)
        return .answered
    }
}
