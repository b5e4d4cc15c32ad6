public import DNSWire
public import Lookup

/// The stage of local zones.
public struct ZoneStage: Stage {
    public let zones: ZoneSet

    public init(_ zones: ZoneSet) { self.zones = zones }

    public static var kind: SourceKind? { .zone }

    public func answer(_ lookup: inout Lookup) -> Outcome { zones.answer(&lookup) }

    public func owns(_ name: borrowing LookupName) -> Bool { zones.owns(name) }

    public func prefetch(_ name: borrowing LookupName, step: Int) { zones.prefetch(name, step: step) }
}
