import DNSWire
import Daemon
import Platform

/// What is special about the name itself.
extension Examination {
    /// Top-level domains that every browser asks for by https only: its list of HSTS hosts has them.
    /// - See: https://hstspreload.org
    private static let httpsOnly: Set<String> = [
        "android", "app", "bank", "boo", "channel", "chrome", "dad", "day", "dev", "esq", "foo", "gle", "gmail",
        "google", "ing", "insurance", "meme", "mov", "new", "nexus", "page", "phd", "play", "prof", "rsvp", "youtube",
        "zip",
    ]

    /// The last label, in lower case.
    private func topLevel(_ name: Name) -> String {
        name.labels.last { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self).lowercased() } ?? ""
    }

    func isHTTPSOnly(_ name: Name) -> Bool { Self.httpsOnly.contains(topLevel(name)) }

    var nameFindings: [Finding] {
        guard let name, !name.isRoot else { return [] }
        let top = topLevel(name)
        var findings: [Finding] = []
        if top == "local" {
            findings.append(
                Finding(
                    .name, "\(name.shown) may not be asked of the DNS",
                    why: ".local is for multicast DNS (RFC 6762): Avahi, "
                        + "systemd-resolved and other machines ask the network for it",
                    mend: "use another name, as one below .test"))
        }
        if name.labels.count(where: { !$0.isEmpty }) == 1, top != "localhost" {
            let search = machine.words(Self.resolvConf, comments: "#;").last {
                ["search", "domain"].contains($0.words[0])
            }
            findings.append(
                Finding(
                    .name, "\(name.shown) is a single label",
                    why: "browsers search the web for it, and the C library "
                        + (search.map {
                            "tries it below \($0.words.dropFirst().joined(separator: ", ")) first (\($0.place))"
                        }
                            ?? "takes it for a name of the local network"),
                    mend: "use a name of two labels, as one below .test; or type http://\(name.shown)/"))
        }
        return findings
    }

    /// A name that is not overridden, but nearly.
    func nearFinding(_ name: Name, _ daemon: Daemon) async throws -> Finding? {
        let listing = try await daemon.client.ask(.get, "/v1/hosts/lines?limit=10000", as: OverrideListing.self)
        let own = "\(name)".lowercased()
        // Overrides reach only the names on their lines.
        let relatives = [own.hasPrefix("www.") ? String(own.dropFirst(4)) : "www.\(own)"]
        if let line = listing.lines.first(where: { relatives.contains($0.name.lowercased()) }) {
            return Finding(
                .override, "\(name.shown) is not overridden, but \(line.name.dropLast()) is",
                why: "\(line.rule) is for that name only", mend: "add \(name.shown) to the line")
        }
        let most = own.utf8.count < 8 ? 1 : 2
        let near = listing.lines.lazy.filter { abs($0.name.utf8.count - own.utf8.count) <= most }
            .map { (line: $0, distance: editDistance(own, $0.name.lowercased())) }
            .filter { (1...most).contains($0.distance) }.min { $0.distance < $1.distance }
        return near.map { near in
            Finding(
                .override, "\(name.shown) is not overridden, but \(near.line.name.dropLast()) is",
                why: "\(near.line.rule) differs by \(Terminal.count(near.distance, "letter"))",
                mend: "correct the line, or the name that you ask for")
        }
    }
}
