import DNSWire
import Daemon
import Platform
import Upstream

/// What the C library reads: resolv.conf and nsswitch.conf.
extension Examination {
    static let resolvConf = ResolvConf.systemPath
    /// The C library reads no more name servers.
    private static let mostServers = 3
    /// Docker's own, in containers that it gives a network of their own.
    private static let dockerServer = "127.0.0.11"

    struct NameServer {
        let address: SocketAddress
        let place: String
    }

    func nameServers(_ path: String) -> [NameServer] {
        machine.words(path, comments: "#;").compactMap { place, words in
            guard words.count > 1, words[0] == "nameserver", let address = SocketAddress(ip: String(words[1]), port: 53)
            else { return nil }
            return NameServer(address: address, place: place)
        }
    }

    var resolverFindings: [Finding] {
        guard !served.isEmpty else {
            let all = daemon?.statistics.addresses.map(\.address).joined(separator: ", ") ?? ""
            return [
                Finding(
                    .resolver, "programs of this machine can't ask stub53",
                    why: "it serves \(all), and \(Self.resolvConf) can name no port but 53",
                    mend: "have it listen on port 53 (--listen 127.0.0.53:53), or run a program with 'stub53 exec'")
            ]
        }
        let servers = nameServers(Self.resolvConf)
        let place = "nameserver \(advice)"
        guard !servers.isEmpty else {
            if let local = SocketAddress(ip: "127.0.0.1", port: 53), isOurs(local) { return [] }
            let isThere = machine.bytes(Self.resolvConf) != nil
            return [
                Finding(
                    .resolver, "programs of this machine do not ask stub53",
                    why: "\(Self.resolvConf) \(isThere ? "names no server" : "is missing"), so that they ask 127.0.0.1",
                    mend: "write '\(place)' into it")
            ]
        }
        let read = servers.prefix(Self.mostServers)
        let others = read.filter { !isOurs($0.address) }
        if others.count < read.count {
            guard let other = others.first else { return [] }
            return [
                Finding(
                    .resolver, "programs of this machine ask other servers, too",
                    why: "\(other.place) names \(other.address.ip): musl asks all servers at once and takes the first "
                        + "answer, and the C library asks the next one when one is late",
                    mend: "leave only '\(place)' there; stub53 asks other servers itself")
            ]
        }
        if let resolved = resolvedFinding(servers) { return resolved }
        if let ours = servers.first(where: { isOurs($0.address) }) {
            return [
                Finding(
                    .resolver, "programs of this machine do not ask stub53",
                    why: "\(ours.place) is behind \(Self.mostServers) others, and the C library reads no more",
                    mend: "move the line to the first place")
            ]
        }
        let first = servers[0]
        if first.address.ip == Self.dockerServer {
            return [
                Finding(
                    .container, "this container does not ask stub53", why: "\(first.place) names Docker's own server",
                    mend: "start the container with --dns ADDR, an address of stub53 that the container reaches")
            ]
        }
        let holder = first.address.isLoopback ? PortHolder.name(of: first.address).map { ", which is of \($0)" } : nil
        return [
            Finding(
                .resolver, "programs of this machine do not ask stub53",
                why: "\(first.place) names \(first.address.ip)\(holder ?? "")",
                mend: "put '\(place)' there, or run a program with 'stub53 exec'")
        ]
    }

    /// nsswitch.conf: who is asked before the DNS, or in its place.
    var nameServiceFindings: [Finding] {
        let file = "/etc/nsswitch.conf"
        var findings: [Finding] = []
        if let (place, words) = machine.words(file).last(where: { $0.words[0] == "hosts:" }) {
            // Actions such as [NOTFOUND=return] are no modules.
            var modules: [Substring] = []
            var isInside = false
            for word in words.dropFirst() {
                if word.hasPrefix("[") { isInside = true }
                if !isInside { modules.append(word) }
                if word.hasSuffix("]") { isInside = false }
            }
            let mend = "write 'hosts: files dns' there"
            if let dns = modules.firstIndex(of: "dns") {
                let before = modules[..<dns].filter { Self.answersAnything.contains($0) }
                if !before.isEmpty {
                    findings.append(
                        Finding(
                            .resolver, "\(before.joined(separator: " and ")) may answer before stub53 is asked",
                            why:
                                "\(place) has it before dns; Chromium then leaves names to the C library, too, and "
                                + "asks for no HTTPS records", mend: mend))
                }
            } else {
                findings.append(
                    Finding(
                        .resolver, "the C library does not ask the DNS",
                        why: "\(place) has no 'dns': \(modules.joined(separator: " "))", mend: mend))
            }
        }
        if machine.exists("/var/run/nscd/socket") || machine.exists("/run/nscd/socket") {
            findings.append(
                Finding(
                    .resolver, "nscd may give old answers", why: "it runs, and keeps what it was told for all programs",
                    mend: "'nscd -i hosts' after each change, or 'enable-cache hosts no' in /etc/nscd.conf"))
        }
        return findings
    }

    /// Modules that answer for any name. Those for .local and for this machine's own name are harmless.
    private static let answersAnything: Set<Substring> = [
        "resolve", "mdns", "mdns4", "mdns6", "nis", "nisplus", "ldap", "sss", "wins", "winbind",
    ]

    /// Containers get other servers than loopback ones.
    var containerFindings: [Finding] {
        let isThere = ["/run/docker.sock", "/var/run/docker.sock"].contains(where: machine.exists)
        guard daemon != nil, isThere, !served.isEmpty else { return [] }
        let file = "/etc/docker/daemon.json"
        let settings = machine.json(file, as: DockerSettings.self)
        let named = (settings?.dns ?? []).compactMap { SocketAddress(ip: $0, port: 53) }
        if !named.isEmpty, named.allSatisfy({ isOurs($0) && !$0.isLoopback }) { return [] }
        return [
            Finding(
                .container, "containers of Docker do not ask stub53",
                why: named.first.map { "\(file) names \($0.ip)" }
                    ?? "\(file) names no server, and Docker gives servers of its own in place of a loopback address",
                mend: "serve the bridge's address, too (--listen 172.17.0.1:53), and write {\"dns\": [\"172.17.0.1\"]} "
                    + "there, or start them with --dns")
        ]
    }

    private struct DockerSettings: Decodable { let dns: [String]? }
}
