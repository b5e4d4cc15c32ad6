/// DNS over HTTPS of Chromium and its relatives: by setting, or by policy.
extension Examination {
    private struct Browser {
        let name: String
        let policies: String
        /// Below a home.
        let profiles: [String]
    }

    private static let browsers = [
        Browser(
            name: "Chromium", policies: "/etc/chromium/policies/managed",
            profiles: [
                ".config/chromium", "snap/chromium/common/chromium", ".var/app/org.chromium.Chromium/config/chromium",
            ]),
        Browser(
            name: "Chrome", policies: "/etc/opt/chrome/policies/managed",
            profiles: [".config/google-chrome", ".var/app/com.google.Chrome/config/google-chrome"]),
        Browser(
            name: "Edge", policies: "/etc/opt/edge/policies/managed", profiles: [".config/microsoft-edge"]),
        Browser(
            name: "Brave", policies: "/etc/brave/policies/managed",
            profiles: [".config/BraveSoftware/Brave-Browser"]),
    ]

    private struct Policy: Decodable {
        let mode: String?
        let templates: String?

        enum CodingKeys: String, CodingKey {
            case mode = "DnsOverHttpsMode"
            case templates = "DnsOverHttpsTemplates"
        }
    }

    private struct LocalState: Decodable {
        struct OverHTTPS: Decodable {
            let mode: String?
            let templates: String?
        }
        let overHTTPS: OverHTTPS?

        enum CodingKeys: String, CodingKey { case overHTTPS = "dns_over_https" }
    }

    var chromiumFindings: [Finding] {
        var findings: [Finding] = []
        for browser in Self.browsers {
            let policies = machine.names(in: browser.policies).map { "\(browser.policies)/\($0)" }
                .compactMap { file in machine.json(file, as: Policy.self).map { (file, $0) } }
                .filter { $0.1.mode != nil }
            if let (file, policy) = policies.last {
                // A policy leaves users no choice.
                if asksOthers(policy.mode, policy.templates) {
                    findings.append(
                        Finding(
                            .browser, "\(browser.name) asks a server of its own",
                            why: "\(file): DnsOverHttpsMode is \(policy.mode ?? ""), for all users",
                            mend: "write \"DnsOverHttpsMode\": \"off\" there"))
                }
                continue
            }
            for file in machine.homes.flatMap({ home in browser.profiles.map { "\(home)/\($0)/Local State" } }) {
                let setting = machine.json(file, as: LocalState.self)?.overHTTPS
                guard asksOthers(setting?.mode, setting?.templates) else { continue }
                findings.append(
                    Finding(
                        .browser, "\(browser.name) asks a server of its own",
                        why: "\(file): dns_over_https is \(setting?.mode ?? "")"
                            + (setting?.templates.map { $0.isEmpty ? "" : ", with \($0)" } ?? ""),
                        mend: "Settings, Privacy and security, Security: Use secure DNS off; or 'stub53 exec --browser "
                            + "chromium URL'"))
            }
        }
        return findings
    }

    /// Automatic mode without templates asks the system's server, unless that is a known public one.
    private func asksOthers(_ mode: String?, _ templates: String?) -> Bool {
        let templates = templates ?? ""
        guard mode == "secure" || mode == "automatic" && !templates.isEmpty else { return false }
        return !isOurs(template: templates)
    }
}
