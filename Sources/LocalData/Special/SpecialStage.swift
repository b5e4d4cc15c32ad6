public import DNSWire
public import Lookup
public import Platform

/// The stage of special-use names; and of queries of type ANY, of which nobody needs all that upstream has.
public struct SpecialStage: Stage {
    public let names: SpecialNames

    public init(_ names: SpecialNames) { self.names = names }

    public static var kind: SourceKind? { .special }

    public func owns(_ name: borrowing LookupName) -> Bool { names.owns(name) }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        // What is delegated or overridden is no special-use name, whatever it ends in.
        if !lookup.isBelowCut, lookup.reach == .everything {
            let outcome = names.answer(&lookup)
            if outcome != .pass { return outcome }
        }
        guard lookup.question.type == .any, lookup.question.mayForward, lookup.reach != .zonesOnly else { return .pass }
        return answerANY(&lookup)
    }

    /// Nobody needs all types of a forwarded name, but whoever amplifies does.
    ///
    /// - RFC: 8482 4.2.
    private func answerANY(_ lookup: inout Lookup) -> Outcome {
        lookup.decision.source = .special
        lookup.decision.place = Self.minimalANY
        let rdata: InlineArray<9, UInt8> = [7, 0x52, 0x46, 0x43, 0x38, 0x34, 0x38, 0x32, 0]  // "RFC8482" ""
        rdata.span.withUnsafeBytes {
            _ = lookup.builder.append(owner: .at(lookup.nameOffset), type: .hinfo, ttl: 3600, rdata: $0)
        }
        return .answered
    }

    private static let minimalANY = Place(path: "RFC 8482 4.2")
    /// The place that is this stage's own.
    public static var document: Place { minimalANY }
}
