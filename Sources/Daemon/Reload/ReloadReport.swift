import LocalData
import Upstream

/// Describes what a reload changed.
enum ReloadReport {
    static func changes(from old: LoadedSources, to new: LoadedSources) -> String {
        var parts: [String] = []
        if old.hosts.nameCount != new.hosts.nameCount {
            parts.append("overrides \(old.hosts.nameCount) -> \(new.hosts.nameCount) names")
        } else {
            parts.append("overrides \(new.hosts.nameCount) names")
        }
        if old.rules.rules.count != new.rules.rules.count {
            parts.append("rules \(old.rules.rules.count) -> \(new.rules.rules.count)")
        }
        for zone in new.zones.zones {
            guard let before = old.zones.zone(apex: zone.apex) else {
                parts.append("zone \(zone.apex) new, serial \(zone.serial)")
                continue
            }
            if before.serial != zone.serial {
                parts.append("zone \(zone.apex) serial \(before.serial) -> \(zone.serial)")
            } else if before !== zone, before.recordCount != zone.recordCount {
                parts.append("zone \(zone.apex) \(before.recordCount) -> \(zone.recordCount) records, same serial")
            }
        }
        for zone in old.zones.zones where new.zones.zone(apex: zone.apex) == nil {
            parts.append("zone \(zone.apex) gone")
        }
        if old.upstream != new.upstream {
            func list(_ servers: [UpstreamServer]) -> String {
                servers.isEmpty ? "none" : servers.map(\.description).joined(separator: " ")
            }
            parts.append("upstream \(list(old.upstream)) -> \(list(new.upstream))")
        }
        for path in new.keptHosts { parts.append("\(path) not read, its last good lines stay") }
        for path in new.keptRules { parts.append("\(path) not read, its last good rules stay") }
        for path in new.failedZones { parts.append("\(path) not loaded, its last good version stays") }
        return parts.joined(separator: ", ")
    }
}
