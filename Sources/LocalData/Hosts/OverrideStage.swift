public import DNSWire
public import Lookup

/// The stage of overrides: first those added at run time, then those of hosts files.
///
/// An override governs every type of its name. Types left to later sources come back through `review`, which lets
/// neither a missing name nor an alias bypass the override.
public struct OverrideStage: Stage {
    public let hosts: HostsTable
    /// Overrides added at run time: asked before all others.
    public let leases: HostsTable
    private let hasLeases: Bool

    public init(hosts: HostsTable, leases: HostsTable?) {
        self.hosts = hosts
        self.leases = leases ?? .empty()
        hasLeases = self.leases.nameCount > 0
    }

    public static var kind: SourceKind? { .hosts }

    public func prefetch(_ name: borrowing LookupName, step: Int) {
        if hasLeases { leases.prefetch(name, step: step) }
        hosts.prefetch(name, step: step)
    }

    public func owns(_ name: borrowing LookupName) -> Bool { hasLeases && leases.owns(name) || hosts.owns(name) }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        var outcome = HostsOutcome.pass
        if hasLeases { outcome = leases.answer(&lookup, before: hosts) }
        if outcome == .pass { outcome = hosts.answer(&lookup) }
        switch outcome {
        case .pass: return .pass
        case .answered: return .answered
        case .exists(let zonesOnly):
            lookup.reach = zonesOnly ? .zonesOnly : .beyondOverride
            lookup.mark = lookup.builder.mark
            return .pass
        }
    }

    /// An overridden name exists and must not be bypassed: NXDOMAIN from later sources, or an alias, becomes NODATA.
    /// Additional addresses of overridden names are removed.
    public func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome {
        if lookup.builder.additional > 0, outcome == .answered, lookup.decision.authoritative {
            dropOverriddenAddresses(&lookup)
        }
        guard lookup.reach != .everything else { return outcome }
        switch outcome {
        case .needs, .transfer: return outcome
        case .answered:
            let code = lookup.decision.responseCode
            if code == .serverFailure || code == .noError && lookup.builder.answers > lookup.mark.answers {
                return outcome
            }
        case .chase:
            // The settings leave this type to later sources: their aliases, as to a CDN, are wanted too.
            if lookup.reach == .beyondOverride { return outcome }
        case .pass: break
        }
        lookup.builder.rollback(to: lookup.mark)
        if hasLeases, leases.owns(lookup.name) {
            leases.answerNoData(&lookup)
        } else {
            hosts.answerNoData(&lookup)
        }
        return .answered
    }

    /// A zone's additional addresses would bypass an override of their owner name.
    private func dropOverriddenAddresses(_ lookup: inout Lookup) {
        var cursor = lookup.builder.questionEnd
        var start = cursor
        let others = Int(lookup.builder.answers) + Int(lookup.builder.authority)
        for index in 0..<(others + Int(lookup.builder.additional)) {
            guard let record = MessageReader.record(lookup.builder.message, at: cursor) else { return }
            if index == others { start = cursor }
            cursor = record.end
            guard index >= others, lookup.scratch.assign(message: lookup.builder.message, at: record.start) > 0 else {
                continue
            }
            if owns(lookup.scratch) { return lookup.builder.dropAdditional(from: start) }
        }
    }
}
