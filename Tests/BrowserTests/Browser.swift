import Foundation
import TestSupport

/// One of Debian's browsers, headless, and new for each visit.
enum Browser: String, Sendable, CaseIterable {
    case chromium, firefox

    /// Which client asks the daemon, and how.
    enum Resolver: Sendable {
        /// The browser itself, over plain DNS, including HTTPS records.
        case ownClient
        /// The C library (getaddrinfo), which does not ask for HTTPS records.
        case systemResolver
        /// The browser itself, over DNS over HTTPS at this URL. `trust` adds the daemon's local CA to a trust database.
        case doh(String, trust: @Sendable (_ database: String) async throws -> Void)
    }

    private var program: String { self == .chromium ? "/usr/bin/chromium" : "/usr/bin/firefox-esr" }

    var isInstalled: Bool { FileManager.default.isExecutableFile(atPath: program) }

    /// Opens `url` on a system whose resolv.conf names `server`; returns the output: Chromium prints the page.
    ///
    /// If it hangs, it is killed with all its processes.
    func open(
        _ url: String, _ resolver: Resolver, server: String, trusting authority: TestAuthority
    ) async throws -> String {
        let home = try TemporaryFolder()
        let command =
            switch self {
            case .chromium: try await chromium(home, resolver, authority)
            case .firefox: try await firefox(home, resolver, authority)
            }
        let system = try Namespace.client(of: server, in: home)
        let environment = ["/usr/bin/env", "-i", "PATH=/usr/bin:/bin", "HOME=\(home.path)", "LANG=C.UTF-8"]
        let program = try ProgramProcess(
            "/usr/bin/timeout", ["--signal=KILL", "\(longestWait - 5)"] + system + environment + command + [url])
        // Its helpers are in its process group; none outlives the visit.
        defer { kill(-program.identifier, SIGKILL) }
        let code = try await program.exitCode()
        guard code == 0 else {
            throw LineReader.Missing(
                description: "\(rawValue) exited \(code)\n\(program.errors.all.suffix(50).joined(separator: "\n"))")
        }
        return program.output.all.joined(separator: "\n")
    }

    private func chromium(
        _ home: TemporaryFolder, _ resolver: Resolver, _ authority: TestAuthority
    ) async throws -> [String] {
        try await authority.makeTrustDatabase(home.file(".pki/nssdb"))
        if case .systemResolver = resolver {
            try home.write(#"{"async_dns": {"enabled": false}}"#, to: "profile/Local State")
        }
        if case .doh(let url, let trust) = resolver {
            try await trust(home.file(".pki/nssdb"))
            try home.write(
                #"{"dns_over_https": {"mode": "secure", "templates": "\#(url)"}}"#, to: "profile/Local State")
        }
        return [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--user-data-dir=\(home.path)/profile", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-default-apps", "--disable-extensions", "--disable-sync",
            "--disable-breakpad", "--password-store=basic",
            // By default it tries https first; here that must come from the DNS.
            "--disable-features=HttpsUpgrades,OptimizationHints,MediaRouter", "--dump-dom",
        ]
    }

    private func firefox(
        _ home: TemporaryFolder, _ resolver: Resolver, _ authority: TestAuthority
    ) async throws -> [String] {
        try await authority.makeTrustDatabase(home.file("profile"))
        var preferences = [
            // Uses the system's resolver, and does not try https first: that must come from the DNS.
            "network.trr.mode": "5", "dom.security.https_first": "false",
            "network.dns.native_https_query": "true",
            // By default it avoids HTTP/3 if an authority was added by hand.
            "network.http.http3.disable_when_third_party_roots_found": "false",
            // No background traffic.
            "network.captive-portal-service.enabled": "false", "network.connectivity-service.enabled": "false",
            "app.normandy.enabled": "false", "app.update.enabled": "false",
            "datareporting.policy.dataSubmissionEnabled": "false", "toolkit.telemetry.enabled": "false",
            "extensions.getAddons.cache.enabled": "false", "extensions.update.enabled": "false",
            "browser.safebrowsing.malware.enabled": "false", "browser.safebrowsing.phishing.enabled": "false",
            "services.settings.server": "\"data:,#remote-settings-dummy/v1\"",
            "browser.shell.checkDefaultBrowser": "false", "browser.startup.page": "0",
        ]
        if case .systemResolver = resolver { preferences["network.dns.native_https_query"] = "false" }
        if case .doh(let url, let trust) = resolver {
            try await trust(home.file("profile"))
            preferences["network.trr.mode"] = "3"
            preferences["network.trr.uri"] = "\"\(url)\""
            // By default it rejects loopback addresses from DoH.
            preferences["network.trr.allow-rfc1918"] = "true"
        }
        try home.write(
            preferences.map { "user_pref(\"\($0.key)\", \($0.value));\n" }.sorted().joined(), to: "profile/user.js")
        return [
            program, "--headless", "--no-remote", "--profile", home.file("profile"), "--screenshot",
            home.file("page.png"),
        ]
    }
}
