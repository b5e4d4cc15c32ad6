import Certificates
import Daemon
import Glibc
import Platform

/// A browser started with a temporary profile that uses only the system's DNS.
enum Browser: String, CaseIterable {
    case chromium, firefox

    /// Possible names of the program, most likely first.
    private var programs: [String] {
        switch self {
        case .chromium: ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"]
        case .firefox: ["firefox", "firefox-esr"]
        }
    }

    /// The command that opens `words` (a URL and further arguments) with the profile in `folder`.
    func command(_ words: [String], profile folder: ScratchFolder) throws(ServiceFailure) -> [String] {
        guard let program = programs.first(where: Self.isInPath) else {
            throw ServiceFailure(
                .problem,
                "no \(rawValue) is installed (looked for \(programs.joined(separator: ", ")) in PATH); install it, or give "
                    + "its program as the command: stub53 exec -- PROGRAM")
        }
        try writeProfile(to: folder)
        let (url, more) = (words.prefix(1), words.dropFirst())
        switch self {
        case .chromium:
            var flags = ["--user-data-dir=\(folder.path)", "--no-first-run", "--no-default-browser-check"]
            // Its own lookups would mix with the page's; this avoids most of them.
            flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
            // Its sandbox does not run as root.
            if geteuid() == 0 { flags.append("--no-sandbox") }
            // Its home has its database of trusted CAs.
            mkdir(folder.path + "/.pki", 0o700)
            trustLocalAuthority(in: folder.path + "/.pki/nssdb")
            return ["env", "HOME=\(folder.path)", program] + flags + more + url
        case .firefox:
            trustLocalAuthority(in: folder.path)
            return [program, "--new-instance", "--profile", folder.path] + more + url
        }
    }

    /// Makes it trust the local CA of the user, or else of the machine, if there is one.
    private func trustLocalAuthority(in database: String) {
        for authority in [LocalAuthority(), LocalAuthority(folder: LocalAuthority.systemFolder)] {
            do {
                // None that could vouch for anything: the daemon replaces it.
                guard let known = try authority.load(), known.vouchesForHostsOnly else { continue }
                return try NSSDatabase(database).install(known.pem)
            } catch {
                Terminal.error("stub53: \(rawValue) does not trust the local CA: \(error)")
            }
        }
    }

    private func writeProfile(to folder: ScratchFolder) throws(ServiceFailure) {
        switch self {
        case .chromium: try folder.write(Self.localState, to: "Local State")
        case .firefox: try folder.write(Self.userPreferences, to: "user.js")
        }
    }

    /// Turns DoH off, and its own DNS client on, which also asks for HTTPS records.
    private static let localState = """
        {"dns_over_https": {"mode": "off", "templates": ""}, "async_dns": {"enabled": true}}

        """

    private static let userPreferences = """
        // DoH off by choice: no rollout turns it on (network.trr.mode 5).
        user_pref("network.trr.mode", 5);
        user_pref("doh-rollout.disable-heuristics", true);
        // HTTPS records from the system's DNS.
        user_pref("network.dns.native_https_query", true);
        // Its own lookups would be among those of the page; some are left.
        user_pref("network.captive-portal-service.enabled", false);
        user_pref("network.connectivity-service.enabled", false);
        user_pref("app.normandy.enabled", false);
        user_pref("app.update.enabled", false);
        user_pref("browser.safebrowsing.downloads.remote.enabled", false);
        user_pref("browser.safebrowsing.malware.enabled", false);
        user_pref("browser.safebrowsing.phishing.enabled", false);
        user_pref("browser.newtabpage.activity-stream.feeds.topsites", false);
        user_pref("browser.topsites.contile.enabled", false);
        user_pref("datareporting.healthreport.uploadEnabled", false);
        user_pref("datareporting.policy.dataSubmissionEnabled", false);
        user_pref("extensions.getAddons.cache.enabled", false);
        user_pref("extensions.systemAddon.update.enabled", false);
        user_pref("services.settings.server", "data:,");
        user_pref("toolkit.telemetry.enabled", false);
        // No pages and questions of a first start.
        user_pref("browser.aboutwelcome.enabled", false);
        user_pref("browser.shell.checkDefaultBrowser", false);
        user_pref("browser.startup.homepage_override.mstone", "ignore");
        user_pref("startup.homepage_welcome_url", "");
        user_pref("startup.homepage_welcome_url.additional", "");

        """

    private static func isInPath(_ program: String) -> Bool {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
    }
}
