package import DNSWire
package import Lookup

/// The stage of local zones.
package struct ZoneStage: Stage {
    package let zones: ZoneSet

    package init(_ zones: ZoneSet) { self.zones = zones }

    package static var kind: SourceKind? { .zone }

    package func answer(_ lookup: inout Lookup) -> Outcome { zones.answer(&lookup) }

    package func owns(_ name: borrowing LookupName) -> Bool { zones.owns(name) }

    package func prefetch(_ name: borrowing LookupName, step: Int) { zones.prefetch(name, step: step) }
}
