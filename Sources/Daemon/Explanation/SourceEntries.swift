import DNSWire
import LDNS
import LocalData
import Lookup
import Pipeline

/// The hosts lines about a name: those that answer, and those that are shadowed.
struct OverrideEntries {
    private(set) var used: [Explanation.Entry] = []
    private(set) var shadowed: [Explanation.Entry] = []

    init(_ configured: ConfiguredSources, _ name: Name, _ type: RecordType) {
        let hosts = configured.pipeline.overrides.hosts
        // HTTPS of _8443._https.NAME belongs to NAME; the shortest name first.
        var names = [name]
        if type == .https || type == .svcb {
            while names.count < 3, names[0].labels.first?.first == UInt8(ascii: "_"), let base = names[0].parent,
                !base.isRoot
            { names.insert(base, at: 0) }
        }
        let leases = configured.pipeline.overrides.leases
        let leased = names.lazy.map { leases.lines(for: $0) }.first { !$0.isEmpty } ?? []
        let governed = names.first { !hosts.lines(for: $0).isEmpty } ?? name
        let lines = hosts.lines(for: governed)
        if let first = leased.first {
            used = leased.map { Self.entry($0) }
            shadowed = lines.map { Self.entry($0, "shadowed by \(first.place), which is leased") }
        } else {
            used = lines.map { Self.entry($0) }
        }
        for line in HostsReader.lines(about: governed, in: configured.hostsFiles) where !lines.contains(line) {
            shadowed.append(Self.entry(line, Self.reason(line, lines)))
        }
    }

    /// Why `line` is not used; `lines` are those that are.
    private static func reason(_ line: HostsTable.Line, _ lines: [HostsTable.Line]) -> String {
        guard let first = lines.first else {
            return "does not reach the name: a name between the two is written out"
        }
        if first.name != line.name { return "shadowed by \(first.name) (\(first.place)), which is closer" }
        if let same = lines.first(where: { $0.address == line.address }) { return "repeats \(same.place)" }
        return lines.count < HostsReader.maximumAddresses
            ? "is not loaded yet" : "the name has \(lines.count) addresses already"
    }

    private static func entry(_ line: HostsTable.Line, _ reason: String = "") -> Explanation.Entry {
        Explanation.Entry(
            name: "\(line.name)", type: line.isIPv6 ? "AAAA" : "A", data: line.address, rule: "\(line.place)",
            reason: reason)
    }
}

/// The zone records about a name: those of the answering zone, and those it hides.
struct ZoneEntries {
    private(set) var used: [Explanation.Entry] = []
    private(set) var shadowed: [Explanation.Entry] = []
    private let type: RecordType

    /// `own` is the answer of all zones together.
    init(_ configured: ConfiguredSources, _ name: Name, _ type: RecordType, _ own: SourceTrial.Answer) {
        self.type = type
        let above = configured.pipeline.zones.zones.filter { name.isAtOrBelow($0.apex) }
            .sorted { $0.apex.labelCount > $1.apex.labelCount }
        guard let zone = above.first else { return }
        let exact = records(zone, name)
        used = exact.map { entry($0) }
        // Only the closest wildcard above the name may answer, and only if no closer name exists.
        var ancestor = name.parent
        while let owner = ancestor, owner.isAtOrBelow(zone.apex) {
            ancestor = owner.parent
            guard let wildcard = owner.prepending(label: [UInt8(ascii: "*")]), wildcard != name else { continue }
            for record in records(zone, wildcard) {
                if own.outcome == .answered, !own.records.isEmpty, exact.isEmpty, used.isEmpty || isSame(record, used) {
                    used.append(entry(record))
                } else {
                    shadowed.append(entry(record, "a name that is closer exists"))
                }
            }
        }
        for other in above.dropFirst() {
            let hidden = configured.ask(ZoneStage(ZoneSet([other])), name, type)
            guard hidden.outcome == .answered, !hidden.records.isEmpty else { continue }
            let reason = "shadowed by the zone \(zone.apex) (\(zone.path)), whose apex is closer"
            let found = records(other, name)
            if !found.isEmpty {
                shadowed += found.map { entry($0, reason) }
            } else if let first = hidden.records.first {
                shadowed.append(
                    Explanation.Entry(
                        name: "\(first.owner)", type: "\(first.type)", data: hidden.summary(type),
                        rule: hidden.place.isEmpty ? nil : hidden.place, reason: reason))
            }
        }
    }

    private func isSame(_ record: Zone.RecordView, _ entries: [Explanation.Entry]) -> Bool {
        entries.first?.name == "\(Name(uncheckedWire: record.owner))"
    }

    /// The records at `name` that an answer of this type consists of.
    private func records(_ zone: Zone, _ name: Name) -> [Zone.RecordView] {
        zone.records(at: name).filter {
            type == .any || $0.type == type || $0.type == .cname && ![.rrsig, .nsec].contains(type)
        }
    }

    private func entry(_ record: Zone.RecordView, _ reason: String = "") -> Explanation.Entry {
        Explanation.Entry(
            name: "\(Name(uncheckedWire: record.owner))", type: "\(record.type)",
            data: Presentation.text(rdata: record.rdata, type: record.type), rule: "\(record.place)", reason: reason)
    }
}
