import DNSWire
import Daemon
import Inspector
import Platform

/// What each upstream server can't do, by what the daemon has learnt and by asking.
extension Examination {
    private static let mostServers = 8
    /// Less than this, and answers of usual size need TCP.
    private static let usualSize = 1200

    /// Asks all servers, side by side.
    func probes(_ daemon: Daemon) async -> [UpstreamProbe] {
        var seen: [String] = []
        for server in daemon.upstreams
        where !seen.contains(server.address + server.transport) && seen.count < Self.mostServers {
            seen.append(server.address + server.transport)
        }
        let targets = seen.compactMap { key in daemon.upstreams.first { $0.address + $0.transport == key }?.target }
        return await withTaskGroup(of: (Int, UpstreamProbe).self) { group in
            for (index, target) in targets.enumerated() { group.addTask { (index, UpstreamProbe(target)) } }
            var found: [(Int, UpstreamProbe)] = []
            for await probe in group { found.append(probe) }
            return found.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    func upstreamFindings(_ daemon: Daemon, _ probes: [UpstreamProbe]) async throws -> [Finding] {
        let findings = probes.flatMap(Self.findings) + daemon.upstreams.compactMap(Self.finding)
        return findings + (try await privateAnswers(daemon))
    }

    private static func findings(_ probe: UpstreamProbe) -> [Finding] {
        func finding(_ what: String, _ why: String, mend: String = "use another server (--upstream)") -> Finding {
            Finding(.upstream, "\(probe.server) \(what)", why: why, mend: mend)
        }
        if let failure = probe.failure {
            return [
                finding(
                    "does not answer", failure,
                    mend: "see that this machine reaches it, or name another with --upstream")
            ]
        }
        var findings: [Finding] = []
        if let size = probe.ednsSize, size < usualSize {
            findings.append(
                finding(
                    size == 0 ? "has no EDNS" : "takes only \(size) bytes over UDP",
                    size == 0
                        ? "its answers have no OPT record: no extended errors, no DNSSEC, 512 bytes at most"
                        : "its OPT record says so: larger answers come over TCP, later"))
        } else if probe.dnssecOK == false {
            findings.append(finding("ignores DO", "its answers to DO=1 lack it: clients can't validate"))
        }
        if probe.signatures == false {
            findings.append(
                finding("strips signatures", "it gave the root's DNSKEY without RRSIG: clients can't validate"))
        }
        if probe.tcp == false {
            findings.append(
                finding(
                    "does not answer over TCP", "what does not fit into a datagram can't be had from it",
                    mend: "open port 53 over TCP in the firewall, or use another server (--upstream)"))
        }
        if let address = probe.rewrites {
            findings.append(
                finding("rewrites NXDOMAIN", "it gave \(address) for a name that nobody has"))
        }
        return findings
    }

    /// What the daemon has learnt in its own lookups, and a probe can't see.
    private static func finding(_ report: UpstreamReport) -> Finding? {
        guard report.state == "down" else { return nil }
        return Finding(
            .upstream, "\(report.server) is down",
            why: report.lastError ?? "its last \(report.failures) queries had no answer",
            mend: "see that this machine reaches it, or name another with --upstream")
    }

    /// Private addresses for public names, which the history has marked.
    private func privateAnswers(_ daemon: Daemon) async throws -> [Finding] {
        var bytes: [UInt8] = []
        let filter = "rcode:private since:1d\(name.map { " name:\($0)" } ?? "")"
        // Without a history nothing is known.
        let target = "/v1/lookups?format=json&limit=1&filter=\(filter.percentEncoded)"
        do { try await daemon.client.send(.get, target) { bytes += $0 } } catch { return [] }
        var found = FoundLookups(filter)
        found.take(bytes)
        guard let lookup = try found.all().last else { return [] }
        let server = lookup.upstream?.prefix { $0 != "/" } ?? "an upstream server"
        return [
            Finding(
                .upstream, "\(server) gives private addresses for public names",
                why: "\(lookup.name ?? "a name") got one at \(lookup.time)",
                mend:
                    "if this is meant, add the domain to upstream.private-domains; else set upstream.private to refuse")
        ]
    }
}
