import Glibc
import Platform

/// The system's files as a command sees them whose names are all to be asked of one server.
///
/// Made from the machine's own, so that what has nothing to do with the server stays as it is.
enum ResolverFiles {
    /// The `nameserver` lines are ours; `search` and `options` stay: they say what a short name means.
    ///
    /// `edns0` and `trust-ad` are not added: whom a program believes is not for us to change.
    static func resolvConf(_ system: String, server: SocketAddress) -> String {
        let kept = lines(system).filter { line in
            !["nameserver", "#", ";"].contains { line.drop { $0 == " " || $0 == "\t" }.hasPrefix($0) }
        }
        return text(["# of stub53 exec", "nameserver \(server.ip)"] + kept)
    }

    /// `hosts: files dns`: no module may answer in front of the DNS, and Chromium takes its own DNS client only with these
    /// two.
    static func nameServiceSwitch(_ system: String) -> String {
        let kept = lines(system).filter { !$0.drop { $0 == " " || $0 == "\t" }.hasPrefix("hosts:") }
        return text(kept + ["hosts: files dns"])
    }

    /// Names of this machine only: `files` stands in front of `dns`, so any other line would answer in place of the
    /// server.
    ///
    /// Who wants the machine's overrides has them from the server, which reads them from the same file, and logs it.
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
