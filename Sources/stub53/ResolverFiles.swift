import Glibc
import Platform

/// Variants of system files for a command whose names are looked up at one server.
///
/// Made from the machine's own files; unrelated lines stay.
enum ResolverFiles {
    /// Replaces the `nameserver` lines; `search` and `options` stay, because they say what a short name means.
    ///
    /// `edns0` and `trust-ad` are not added: whom a program trusts is not our decision.
    static func resolvConf(_ system: String, server: SocketAddress) -> String {
        let kept = lines(system).filter { line in
            !["nameserver", "#", ";"].contains { line.drop { $0 == " " || $0 == "\t" }.hasPrefix($0) }
        }
        return text(["# of stub53 exec", "nameserver \(server.ip)"] + kept)
    }

    /// `hosts: files dns`: no module may answer before the DNS, and Chromium uses its own DNS client only with just
    /// these two.
    static func nameServiceSwitch(_ system: String) -> String {
        let kept = lines(system).filter { !$0.drop { $0 == " " || $0 == "\t" }.hasPrefix("hosts:") }
        return text(kept + ["hosts: files dns"])
    }

    /// Keeps only this machine's own names: `files` comes before `dns`, so any other line would answer instead of the
    /// server.
    ///
    /// The server reads the machine's overrides from the same file, if it is configured to, and logs their use.
    static func hosts(_ system: String, hostName: String) -> String {
        var kept: [String] = []
        for line in lines(system) {
            let words = line.prefix { $0 != "#" }.split { $0 == " " || $0 == "\t" }
            guard let address = words.first else { continue }
            let names = words.dropFirst().filter { isOfThisMachine($0, hostName) }
            if !names.isEmpty { kept.append("\(address) \(names.joined(separator: " "))") }
        }
        for address in ["127.0.0.1", "::1"] where !kept.contains(where: { $0.hasPrefix("\(address) localhost") }) {
            kept.insert("\(address) localhost", at: 0)
        }
        return text(kept)
    }

    private static func isOfThisMachine(_ name: Substring, _ hostName: String) -> Bool {
        let name = name.lowercased()
        let host = hostName.lowercased()
        return ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"].contains(name)
            || !host.isEmpty && (name == host || name.hasPrefix(host + "."))
    }

    private static func lines(_ text: String) -> [Substring] {
        text.split(whereSeparator: \.isNewline)
    }

    private static func text(_ lines: [some StringProtocol]) -> String { lines.map { $0 + "\n" }.joined() }
}
