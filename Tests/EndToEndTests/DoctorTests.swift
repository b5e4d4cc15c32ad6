import Foundation
import TestSupport
import Testing

@testable import stub53

/// `stub53 doctor`: each situation that it finds is made, with the machine's files below another root.
@Suite("The doctor", .enabled(if: Namespace.isAvailable, "port 53 is needed: run as root"))
struct DoctorTests {
    /// A machine on which all is well: a daemon on port 53, and files that name it.
    final class World: Sendable {
        let folder: TemporaryFolder
        let daemon: DaemonProcess
        var socket: String { folder.file("control.sock") }

        init(
            _ more: [String] = ["--no-upstream"], hosts: String = "192.0.2.14 acme.org\n", port: Int = 53,
            folder: TemporaryFolder? = nil
        ) async throws {
            self.folder = try folder ?? TemporaryFolder()
            if !FileManager.default.fileExists(atPath: self.folder.file("hosts")) {
                try self.folder.write(hosts, to: "hosts")
            }
            let address = ownLoopbackAddress()
            try self.folder.write("nameserver \(address)\n", to: "root/etc/resolv.conf")
            try self.folder.write("passwd: files\nhosts: files mdns4_minimal dns\n", to: "root/etc/nsswitch.conf")
            try self.folder.write("127.0.0.1 localhost\n", to: "root/etc/hosts")
            daemon = try await DaemonProcess(
                [
                    "--listen", "\(address):\(port)", "--hosts", "hosts", "--control", "control.sock", "--history",
                    "history.db", "--log-file", "log",
                ] + more, folder: self.folder.path)
            _ = try await daemon.output.first { $0.hasPrefix("control") }
        }

        /// Writes files of the machine; a text that begins with `->` is a link.
        func machine(_ files: [String: String]) throws {
            for (name, text) in files {
                let path = "root/\(name)".replacing("ADDRESS", with: daemon.address)
                try folder.write(text.replacing("ADDRESS", with: daemon.address), to: path)
                guard text.hasPrefix("->") else { continue }
                try FileManager.default.removeItem(atPath: folder.file(path))
                try FileManager.default.createSymbolicLink(
                    atPath: folder.file(path), withDestinationPath: String(text.dropFirst(2)))
            }
        }

        func doctor(_ words: String...) async throws -> Command.Result {
            try await Command.run(["doctor", "--control", socket, "--root", folder.file("root")] + words)
        }

        /// Changes the overrides, and waits until they are served.
        func override(_ text: String) async throws {
            let said = daemon.errors.all.count
            try folder.write(text, to: "hosts")
            _ = try await daemon.errors.first(from: said) { $0.hasPrefix("reload ") }
        }
    }

    @Test("where all is well, prints one line and ends with 0")
    func well() async throws {
        let world = try await World()
        #expect(try await world.daemon.dig("acme.org", "+short") == "192.0.2.14\n")
        let machine = try await world.doctor()
        #expect(machine.output == "all is well\n" && machine.code == 0, "\(machine)")
        let name = try await world.doctor("acme.org")
        #expect(name.output == "acme.org: all is well\n" && name.code == 0 && name.errors.isEmpty, "\(name)")
        let json = try await world.doctor("acme.org", "--json")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
        #expect((report["findings"] as? [Any])?.isEmpty == true && report["name"] as? String == "acme.org.")
    }

    // MARK: The machine's files

    struct Situation: CustomTestStringConvertible, Sendable {
        var files: [String: String]
        /// Of the finding; nil: all is well.
        var what: String?
        var why = ""
        var testDescription: String { what ?? "\(files.keys.sorted())" }
    }

    static let resolver = [
        Situation(
            files: ["etc/resolv.conf": "# mine\nnameserver 10.0.0.1\n"],
            what: "programs of this machine do not ask stub53", why: "/etc/resolv.conf:2 names 10.0.0.1"),
        Situation(
            files: ["etc/resolv.conf": "search acme.org\n"], what: "programs of this machine do not ask stub53",
            why: "names no server"),
        Situation(
            files: ["etc/resolv.conf": "nameserver ADDRESS\nnameserver 10.0.0.1\n"],
            what: "programs of this machine ask other servers, too", why: "/etc/resolv.conf:2 names 10.0.0.1"),
        Situation(
            files: [
                "etc/resolv.conf":
                    "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver ADDRESS\n"
            ], what: "programs of this machine do not ask stub53", why: "/etc/resolv.conf:4 is behind 3 others"),
        Situation(
            files: ["etc/resolv.conf": "nameserver 127.0.0.11\n"], what: "this container does not ask stub53",
            why: "Docker's own server"),
        Situation(
            files: ["etc/nsswitch.conf": "hosts: files resolve [!UNAVAIL=return] dns\n"],
            what: "resolve may answer before stub53", why: "/etc/nsswitch.conf:1"),
        Situation(
            files: ["etc/nsswitch.conf": "hosts: files myhostname\n"], what: "the C library does not ask the DNS",
            why: "/etc/nsswitch.conf:1 has no 'dns': files myhostname"),
        Situation(files: ["run/nscd/socket": ""], what: "nscd may give old answers", why: "it runs"),
        Situation(
            files: ["run/docker.sock": ""], what: "containers of Docker do not ask stub53",
            why: "/etc/docker/daemon.json names no server"),
        Situation(
            files: ["run/docker.sock": "", "etc/docker/daemon.json": #"{"dns": ["10.0.0.1"]}"#],
            what: "containers of Docker do not ask stub53", why: "/etc/docker/daemon.json names 10.0.0.1"),
    ]

    static let managers = [
        Situation(
            files: [
                "etc/resolv.conf": "->../run/systemd/resolve/stub-resolv.conf",
                "run/systemd/resolve/stub-resolv.conf": "nameserver 127.0.0.53\n",
                "run/systemd/resolve/resolv.conf": "nameserver 10.0.0.1\n",
            ], what: "systemd-resolved answers in stub53's place",
            why: "it asks 10.0.0.1 (/run/systemd/resolve/resolv.conf:1)"),
        // It asks us.
        Situation(
            files: [
                "etc/resolv.conf": "->../run/systemd/resolve/stub-resolv.conf",
                "run/systemd/resolve/stub-resolv.conf": "nameserver 127.0.0.53\n",
                "run/systemd/resolve/resolv.conf": "nameserver ADDRESS\n",
            ]),
        Situation(
            files: [
                "run/NetworkManager/devices": "", "etc/NetworkManager/NetworkManager.conf": "[main]\ndns=default\n",
            ],
            what: "NetworkManager writes /etc/resolv.conf anew", why: "/etc/NetworkManager/NetworkManager.conf:2"),
        Situation(
            files: [
                "run/NetworkManager/resolv.conf": "nameserver ADDRESS\n",
                "etc/resolv.conf": "->/run/NetworkManager/resolv.conf",
            ],
            what: "NetworkManager writes /etc/resolv.conf anew", why: "no file says dns=none"),
        Situation(
            files: [
                "run/NetworkManager/devices": "", "etc/NetworkManager/NetworkManager.conf": "[main]\ndns=default\n",
                "etc/NetworkManager/conf.d/90-dns.conf": "# ours\n[main]\ndns = none\n",
            ]),
        Situation(
            files: ["run/dhclient.eth0.pid": "7"], what: "dhclient writes /etc/resolv.conf anew",
            why: "/etc/dhcp/dhclient.conf does not replace"),
        Situation(
            files: ["run/dhclient.pid": "7", "etc/dhcp/dhclient.conf": "supersede domain-name-servers 10.0.0.1;\n"],
            what: "dhclient writes /etc/resolv.conf anew", why: "/etc/dhcp/dhclient.conf:1 names another server"),
        Situation(
            files: ["run/dhclient.pid": "7", "etc/dhcp/dhclient.conf": "supersede domain-name-servers ADDRESS;\n"]),
        Situation(files: ["run/dhcpcd/pid": "7"], what: "dhcpcd writes /etc/resolv.conf anew", why: "no 'nohook"),
        Situation(files: ["run/dhcpcd/pid": "7", "etc/dhcpcd.conf": "nohook resolv.conf, wpa\n"]),
        Situation(
            files: [
                "run/resolvconf/resolv.conf": "nameserver ADDRESS\n",
                "etc/resolv.conf": "->/run/resolvconf/resolv.conf",
            ],
            what: "resolvconf writes /etc/resolv.conf anew", why: "a link to /run/resolvconf"),
    ]

    static let browsers = [
        Situation(
            files: [
                "home/me/.mozilla/firefox/x.default/prefs.js":
                    "// Mozilla\nuser_pref(\"network.trr.mode\", 3);\n"
                    + "user_pref(\"network.trr.uri\", \"https://doh.example/q\");\n"
            ],
            what: "Firefox asks a server of its own",
            why:
                "/firefox/x.default/prefs.js:2: DNS over HTTPS is on (mode 3), with https://doh.example/q"
        ),
        // user.js is applied over it.
        Situation(
            files: [
                "root/.mozilla/firefox/x/prefs.js": "user_pref(\"network.trr.mode\", 2);\n",
                "root/.mozilla/firefox/x/user.js": "user_pref(\"network.trr.mode\", 5);\n",
            ]),
        Situation(
            files: ["root/snap/firefox/common/.mozilla/firefox/x/prefs.js": "user_pref(\"doh-rollout.mode\", 2);\n"],
            what: "Firefox asks a server of its own", why: "prefs.js:1"),
        Situation(
            files: ["etc/firefox/policies/policies.json": #"{"policies": {"DNSOverHTTPS": {"Enabled": true}}}"#],
            what: "Firefox asks a server of its own", why: "/etc/firefox/policies/policies.json has DNSOverHTTPS"),
        Situation(
            files: [
                "home/me/.config/chromium/Local State":
                    #"{"x": [1], "dns_over_https": {"mode": "secure", "templates": "https://doh.example/q"}}"#
            ],
            what: "Chromium asks a server of its own",
            why: "/home/me/.config/chromium/Local State: dns_over_https is secure, with https://doh.example/q"),
        Situation(files: [
            "home/me/.config/google-chrome/Local State": #"{"dns_over_https": {"mode": "automatic", "templates": ""}}"#
        ]),
        Situation(
            files: ["etc/opt/chrome/policies/managed/dns.json": #"{"DnsOverHttpsMode": "secure"}"#],
            what: "Chrome asks a server of its own", why: "/etc/opt/chrome/policies/managed/dns.json: "),
        // A policy leaves no choice.
        Situation(
            files: [
                "etc/chromium/policies/managed/dns.json": #"{"DnsOverHttpsMode": "off"}"#,
                "home/me/.config/chromium/Local State": #"{"dns_over_https": {"mode": "secure"}}"#,
            ]),
    ]

    @Test("finds what is wrong in the machine's files, with its place", arguments: resolver + managers + browsers)
    func files(_ situation: Situation) async throws {
        let world = try await World()
        try world.machine(situation.files)
        let result = try await world.doctor()
        guard let what = situation.what else {
            #expect(result.output == "all is well\n" && result.code == 0, "\(result)")
            return
        }
        #expect(result.code == 1, "\(result)")
        let lines = result.output.split(separator: "\n")
        #expect(lines.first?.hasPrefix(what) == true && lines.last == "1 finding", "\(result.output)")
        #expect(lines[1].hasPrefix("  why   ") && lines[1].contains(situation.why), "\(result.output)")
        #expect(lines[2].hasPrefix("  mend  "))
    }

    @Test("files of garbage, or too large, are no findings, and can't move the cursor")
    func hostile() async throws {
        let world = try await World()
        try world.machine([
            "home/me/.config/chromium/Local State": String(repeating: "[", count: 100_000),
            "etc/firefox/policies/policies.json": "{\"policies\": 7}",
            "etc/docker/daemon.json": "\u{0}",
            "home/me/.mozilla/firefox/a/prefs.js": "user_pref(\"network.trr.mode\"\nuser_pref(\n"
                + String(repeating: "\u{0}", count: 20 << 20),
            "home/me/.mozilla/firefox/b/prefs.js": "->/dev/zero",
            "etc/chromium/policies/managed/loop": "->loop",
        ])
        #expect(try await world.doctor().output == "all is well\n")
        try world.machine([
            "home/me/.mozilla/firefox/c/prefs.js":
                "user_pref(\"network.trr.mode\", 3);\nuser_pref(\"network.trr.uri\", \"\u{1B}[2Jx\u{202E}\");\n"
        ])
        let result = try await world.doctor()
        #expect(result.output.contains(#"with \u{1b}[2Jx\u{202e}"#), "\(result.output)")
    }

    @Test("as JSON it says the same")
    func json() async throws {
        let world = try await World()
        try world.machine(["etc/resolv.conf": "nameserver 10.0.0.1\n"])
        let result = try await world.doctor("--json")
        let report = try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let finding = try #require((report["findings"] as? [[String: String]])?.first)
        #expect(result.code == 1 && finding["subject"] == "resolver")
        #expect(finding["why"] == "/etc/resolv.conf:1 names 10.0.0.1")
        #expect(finding["mend"]?.contains("nameserver \(world.daemon.address)") == true)
    }

    @Test("a daemon that serves another port can't be named by resolv.conf")
    func port() async throws {
        let world = try await World(port: 5300)
        let result = try await world.doctor()
        #expect(
            result.output.contains("can't ask stub53\n  why   it serves \(world.daemon.address):5300, "), "\(result)")
    }

    // MARK: Without a daemon

    /// In a machine without a daemon, behind `setup`.
    private func alone(_ setup: String, _ words: String...) async throws -> Command.Result {
        let folder = try TemporaryFolder()
        try folder.write("nameserver 127.0.0.53\n", to: "root/etc/resolv.conf")
        var all = Namespace.entry("mount -t tmpfs none /run\nip link set lo up\n\(setup)", in: folder, network: true)
        all += [Command.executable.path, "doctor", "--root", folder.file("root")] + words
        return try await Command.run(Array(all.dropFirst()), executable: URL(filePath: all[0]))
    }

    @Test("without a daemon says so, and still looks at the files")
    func noDaemon() async throws {
        let result = try await alone("", "printer")
        #expect(result.code == 1 && result.output.hasPrefix("no daemon of stub53 runs here\n"), "\(result)")
        #expect(result.output.contains("\nprinter is a single label\n") && result.output.hasSuffix("2 findings\n"))
    }

    @Test("a daemon that this user may not ask is a finding, with the mend")
    func denied() async throws {
        let setup = """
            mkdir -p /run/stub53
            python3 -c "
            import socket
            s = socket.socket(socket.AF_UNIX); s.bind('/run/stub53/control.sock')"
            chmod 660 /run/stub53/control.sock
            chmod 755 $folder
            exec setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp "$@"
            """
        let result = try await alone(setup)
        #expect(result.code == 1 && result.output.hasPrefix("the daemon of stub53 may not be asked\n"), "\(result)")
        #expect(result.output.contains("this user may not open /run/stub53/control.sock; "), "\(result.output)")
    }

    @Test("names the program that has port 53")
    func portTaken() async throws {
        let holder = """
            mkfifo $folder/up
            python3 -c "
            import socket, time
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('127.0.0.53', 53))
            open('$folder/up', 'w').write('up'); time.sleep(\(longestWait))" &
            trap "kill $!" EXIT
            read line < $folder/up || true
            "$@" || true; exit
            """
        let result = try await alone(holder)
        #expect(result.output.contains(/python3 \(process \d+\) has port 53 of 127\.0\.0\.53\n/), "\(result)")
    }

    @Test("reads the machine's own files, as its programs see them")
    func ownFiles() async throws {
        let world = try await World()
        let prefix = try Namespace.client(of: "10.0.0.1", in: world.folder)
        let words = [Command.executable.path, "doctor", "--json", "--control", world.socket]
        let result = try await Command.run(Array((prefix + words).dropFirst()), executable: URL(filePath: prefix[0]))
        #expect(result.output.contains(#""/etc/resolv.conf:1 names 10.0.0.1""#), "\(result)")
    }

    @Test("this machine's clock can't be before the program was made")
    func clock() {
        let findings = Examination(machine: Machine(root: "/nowhere", now: 0), daemon: nil, name: nil).clockFindings
        #expect(findings.first?.what == "this machine's clock is wrong")
        #expect(Examination(machine: Machine(root: "/nowhere"), daemon: nil, name: nil).clockFindings.isEmpty)
    }
}
