import DNSWire
import Daemon
import Inspector
import Platform

/// What the doctor looks at: a machine, the daemon that runs on it, and a name. Each concern is a file of its own.
struct Examination: Sendable {
    let machine: Machine
    /// Nil: none runs, or it may not be asked.
    let daemon: Daemon?
    /// The socket that this user may not open.
    var refusal: String?
    /// Nil: the machine only.
    let name: Name?

    /// A running daemon, as it describes itself.
    struct Daemon: Sendable {
        let client: ControlClient
        let statistics: DaemonStatistics
        let upstreams: [UpstreamReport]

        init(_ client: ControlClient) async throws {
            self.client = client
            statistics = try await client.ask(.get, "/v1/stats", as: DaemonStatistics.self)
            upstreams = try await client.ask(.get, "/v1/upstreams", as: [UpstreamReport].self)
        }

        func why(_ name: Name, _ type: RecordType, asks: Bool = false) async throws -> Explanation {
            let target = "/v1/why?name=\("\(name)".percentEncoded)&type=\(type)&ask=\(asks ? 1 : 0)"
            return try await client.ask(.get, target, as: Explanation.self)
        }
    }

    /// What the daemon says about the name's addresses, and why.
    struct Answers: Sendable {
        let a: Explanation
        let aaaa: Explanation

        var both: [Explanation] { [a, aaaa] }
        var addresses: Set<String> { a.addresses.union(aaaa.addresses) }
    }

    /// Everything that was found, the causes before what follows from them.
    ///
    /// - Parameter probes: what the upstream servers can do.
    func findings(_ probes: inout [UpstreamProbe]) async throws -> [Finding] {
        var findings = daemonFindings + portFindings + resolverFindings + nameServiceFindings + managerFindings
        findings += containerFindings + firefoxFindings + chromiumFindings + clockFindings
        guard let daemon else { return findings + nameFindings }
        findings += try await problemFindings(daemon)
        findings += nameFindings
        if let name {
            let answers = Answers(a: try await daemon.why(name, .a), aaaa: try await daemon.why(name, .aaaa))
            findings += try await lookupFindings(name, answers, daemon)
            findings += try await overrideFindings(name, answers, daemon)
            findings += try await serviceRecordFindings(name, answers, daemon)
            findings += await certificateFindings(name, answers)
        }
        findings += await certificateFindings(daemon)
        probes = await self.probes(daemon)
        return findings + (try await upstreamFindings(daemon, probes))
    }

    // MARK: Where it serves

    /// The addresses at which resolv.conf can name it.
    var served: [SocketAddress] {
        guard let daemon else { return [Configuration.Listen.standardAddress] }
        return daemon.statistics.addresses.filter { $0.transports.contains("udp") && !$0.waits }
            .compactMap { SocketAddress(text: $0.address) }.filter { $0.port == 53 }
    }

    /// The address to give to others, as text.
    var advice: String {
        let first = served.first ?? Configuration.Listen.standardAddress
        return first.isUnspecified ? "127.0.0.1" : first.ip
    }

    func isOurs(_ address: SocketAddress) -> Bool {
        served.contains { own in
            own == address.withPort(53)
                || own.isUnspecified && (own.isIPv6 || !address.isIPv6) && address.isOfThisMachine
        }
    }

    // MARK: The daemon

    private var daemonFindings: [Finding] {
        guard let daemon else {
            let unknown = "what overrides, history and upstream servers say is not known"
            if let refusal {
                return [
                    Finding(
                        .daemon, "the daemon of stub53 may not be asked",
                        why: "this user may not open \(refusal); \(unknown)",
                        mend: "run this as root, or as a member of the group that the socket has")
                ]
            }
            return [
                Finding(
                    .daemon, "no daemon of stub53 runs here",
                    why: "none has a control socket at \(Configuration.controlPaths.joined(separator: " or ")); "
                        + unknown,
                    mend: "start one with 'stub53 serve', or name its socket with --control")
            ]
        }
        return daemon.statistics.addresses.filter(\.waits).map {
            Finding(
                .daemon, "\($0.address) is not served yet", why: "this machine does not have the address",
                mend: "give it to an interface, or take it out of 'listen'")
        }
    }

    private func problemFindings(_ daemon: Daemon) async throws -> [Finding] {
        let problems = try await daemon.client.ask(.get, "/v1/problems", as: [ProblemReport].self)
            .filter { $0.severity == "error" }
        let shown = problems.prefix(5).map { problem in
            Finding(
                .daemon, "\(problem.rule) is not served as written", why: problem.message,
                mend: "correct the line; the daemon reads the file again by itself")
        }
        guard problems.count > shown.count else { return shown }
        return shown + [
            Finding(
                .daemon, "\(problems.count - shown.count) more lines are not served as written",
                why: "the files have more problems than are shown here", mend: "see 'stub53 check', and correct them")
        ]
    }
}

extension Explanation {
    /// The addresses that it ends with.
    var addresses: Set<String> { answer.records.addresses }
}

extension Explanation.Answer {
    /// The files say so, or a special-use name's registry.
    var isLocal: Bool { ["hosts", "zone", "special"].contains(source) && !needsUpstream }
}

extension [String] {
    /// The addresses among records in zone file format.
    var addresses: Set<String> {
        Set(
            compactMap { record in
                let words = record.split(separator: " ")
                guard words.count >= 5, ["A", "AAAA"].contains(words[3]) else { return nil }
                return SocketAddress(ip: String(words[4]), port: 0)?.ip
            })
    }
}

extension SocketAddress {
    /// `192.0.2.1:53` or `[2001:db8::1]:53`, as reports have it.
    init?(text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        self.init(ip: String(text[..<colon].filter { $0 != "[" && $0 != "]" }), port: port)
    }
}

extension Name {
    /// As people write it: without the last dot.
    var shown: String { isRoot ? "." : String("\(self)".dropLast()) }
}
