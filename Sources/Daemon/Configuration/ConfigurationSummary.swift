import DNSWire
import LocalData
import Upstream

extension LoadedSources {
    /// What was loaded, one aligned line per file or server: the first lines of `serve`, the last of `check`.
    package var summary: String {
        var rows: [(what: String, name: String, note: String)] = []
        for (index, file) in hostsFiles.enumerated() {
            let count = "\(hosts.nameCount) \(hosts.nameCount == 1 ? "name" : "names")"
            rows.append(("overrides", file, index == 0 ? count : ""))
        }
        if hostsFiles.isEmpty { rows.append(("overrides", "none", "")) }
        for zone in zones.zones {
            rows.append(
                (
                    "zones", zone.path,
                    "\(zone.apex) serial \(zone.serial), \(zone.recordCount) \(zone.recordCount == 1 ? "record" : "records")"
                ))
        }
        for path in failedZones { rows.append(("zones", path, "not loaded")) }
        if zones.isEmpty && failedZones.isEmpty { rows.append(("zones", "none", "")) }
        for server in upstream {
            let origin = server.domain.isRoot ? upstreamOrigin.map { "from \($0)" } : nil
            rows.append(("upstream", "\(server)", origin ?? ""))
        }
        if !upstream.contains(where: \.domain.isRoot) {
            let notes = [
                upstream.isEmpty ? nil : "for other names", awaitsSystem ? "none in \(ResolvConf.systemPath)" : nil,
            ]
            rows.append(("upstream", "none", notes.compactMap(\.self).joined(separator: ": ")))
        }
        let width = min(rows.map(\.name.count).max() ?? 0, 60)
        var last = ""
        return rows.map { row in
            let what = row.what == last ? "" : row.what
            last = row.what
            var line = what + String(repeating: " ", count: 11 - what.count) + row.name
            if !row.note.isEmpty {
                line += String(repeating: " ", count: max(width - row.name.count, 0) + 2) + row.note
            }
            return line
        }.joined(separator: "\n")
    }
}
