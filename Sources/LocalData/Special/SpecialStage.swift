public import DNSWire
public import Lookup
public import Platform

/// The stage of special-use names, and of minimal answers to type ANY.
public struct SpecialStage: Stage {
    public let names: SpecialNames

    public init(_ names: SpecialNames) { self.names = names }

    public static var kind: SourceKind? { .special }

    public func owns(_ name: borrowing LookupName) -> Bool { names.owns(name) }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        // A name that is delegated or overridden is not special-use, whatever its suffix.
        if !lookup.isBelowCut, lookup.reach == .everything {
            let outcome = names.answer(&lookup)
            if outcome != .pass { return outcome }
        }
        guard lookup.question.type == .any, lookup.question.mayForward, lookup.reach != .zonesOnly else { return .pass }
        return answerANY(&lookup)
    }

    /// Only amplification attacks need all types of a forwarded name.
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
    /// This stage's own place.
    public static var document: Place { minimalANY }
}
