import Daemon
import FoundationEssentials

/// Firefox's own DNS over HTTPS, which it calls TRR: by preference, by user.js, or by policy.
extension Examination {
    private static let mend =
        "Settings, Privacy & Security, DNS over HTTPS: Off (network.trr.mode 5); or 'stub53 exec --browser firefox URL'"

    private static let policyFiles = [
        "/etc/firefox/policies/policies.json", "/etc/firefox-esr/policies/policies.json",
        "/usr/lib/firefox/distribution/policies.json", "/usr/lib/firefox-esr/distribution/policies.json",
        "/usr/lib64/firefox/distribution/policies.json", "/opt/firefox/distribution/policies.json",
    ]

    private struct Policies: Decodable {
        struct Values: Decodable {
            let overHTTPS: OverHTTPS?

            enum CodingKeys: String, CodingKey { case overHTTPS = "DNSOverHTTPS" }
        }

        struct OverHTTPS: Decodable {
            let isEnabled: Bool?
            let server: String?

            enum CodingKeys: String, CodingKey {
                case isEnabled = "Enabled"
                case server = "ProviderURL"
            }
        }

        let policies: Values?
    }

    var firefoxFindings: [Finding] {
        var findings: [Finding] = []
        for file in Self.policyFiles {
            guard let policy = machine.json(file, as: Policies.self)?.policies?.overHTTPS, policy.isEnabled == true,
                !isOurs(template: policy.server ?? "")
            else { continue }
            findings.append(
                Finding(
                    .browser, "Firefox asks a server of its own",
                    why: "\(file) has DNSOverHTTPS enabled, for all users",
                    mend: "write \"DNSOverHTTPS\": {\"Enabled\": false, \"Locked\": true} there"))
        }
        let places = [
            ".mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox",
        ]
        for home in machine.homes {
            for folder in places.map({ "\(home)/\($0)" }) {
                findings += machine.names(in: folder).compactMap { profile("\(folder)/\($0)") }
            }
        }
        return findings
    }

    /// One profile's finding.
    private func profile(_ folder: String) -> Finding? {
        // user.js is applied over prefs.js at each start.
        let preferences = ["prefs.js", "user.js"].reduce(into: [:]) { preferences, file in
            preferences.merge(self.preferences("\(folder)/\(file)")) { $1 }
        }
        let chosen = preferences["network.trr.mode"]
        // What Mozilla rolled out counts if the user has not chosen.
        let mode = chosen.flatMap { $0.value == "0" ? nil : $0 } ?? preferences["doh-rollout.mode"]
        guard let mode, ["2", "3"].contains(mode.value) else { return nil }
        let server = (preferences["network.trr.uri"] ?? preferences["network.trr.custom_uri"])?.value ?? ""
        guard !isOurs(template: server) else { return nil }
        let whom = server.isEmpty ? "Mozilla's partner" : server
        return Finding(
            .browser, "Firefox asks a server of its own",
            why: "\(mode.place): DNS over HTTPS is on (mode \(mode.value)), with \(whom)", mend: Self.mend)
    }

    /// `user_pref("network.trr.mode", 3);`, by name.
    private func preferences(_ path: String) -> [String: (value: String, place: String)] {
        var found: [String: (String, String)] = [:]
        for line in machine.lines(path) {
            let text = line.text.trimmed
            guard text.hasPrefix("user_pref(\""), let end = text.lastIndex(of: ")") else { continue }
            let parts = text[..<end].dropFirst("user_pref(\"".count).split(separator: "\"", maxSplits: 1)
            guard parts.count == 2, parts[0].hasPrefix("network.trr.") || parts[0].hasPrefix("doh-rollout.") else {
                continue
            }
            let value = parts[1].trimmed.drop { $0 == "," }.trimmed
            found[String(parts[0])] = (String(value.filter { $0 != "\"" }), line.place)
        }
        return found
    }

    /// Whether a browser's own server is this daemon.
    func isOurs(template: String) -> Bool {
        guard let daemon, !template.isEmpty else { return false }
        return daemon.statistics.addresses.compactMap(\.url).contains { template.hasPrefix($0) }
    }
}
