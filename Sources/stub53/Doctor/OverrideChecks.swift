import DNSWire
import Daemon
import LDNS
import LocalData
import Platform
import Upstream

/// The name's override against other lines, against the machine's hosts file, and against upstream.
extension Examination {
    /// Seconds after which a line that differs from upstream is worth a look.
    private static let old = 30 * 86_400

    func overrideFindings(_ name: Name, _ answers: Answers, _ daemon: Daemon) async throws -> [Finding] {
        var findings = shadowedFindings(answers) + hostsFileFindings(name, answers)
        let answer = answers.a.answer
        guard answer.isLocal else {
            if let near = try await nearFinding(name, daemon) { findings.append(near) }
            return findings
        }
        guard answer.source == "hosts", let rule = answer.rule else { return findings }
        for (type, explanation) in zip([RecordType.a, .aaaa], answers.both) {
            let own = explanation.addresses
            guard !own.isEmpty, let theirs = upstreamAddresses(name, type, daemon), !theirs.isEmpty else { continue }
            let text = theirs.sorted().joined(separator: ", ")
            if theirs == own {
                findings.append(
                    Finding(
                        .override, "the override of \(name.shown) changes nothing",
                        why: "\(rule) says what upstream says: \(text)",
                        mend: "take the line out, so that it does not stay when upstream changes"))
            } else if own.allSatisfy({ SocketAddress(ip: $0, port: 0).map(PrivateAddress.contains) == false }),
                let age = age(of: rule, daemon), age > Self.old
            {
                findings.append(
                    Finding(
                        .override, "the override of \(name.shown) may be out of date",
                        why: "\(rule) has not changed for \(age / 86_400) days; upstream says \(text)",
                        mend: "correct the line, or take it out"))
            }
        }
        return findings
    }

    private func shadowedFindings(_ answers: Answers) -> [Finding] {
        var findings: [Finding] = []
        for entry in answers.both.flatMap(\.rows).filter({ $0.source == "hosts" }).flatMap(\.shadowed) {
            let finding = Finding(
                .override, "\(entry.rule ?? "a line"): \(entry.data) for \(entry.name) is not used", why: entry.reason,
                mend: "take out the line that is not meant")
            if !findings.contains(finding), findings.count < 5 { findings.append(finding) }
        }
        return findings
    }

    /// The machine's own hosts file, which the C library reads before it asks the DNS.
    private func hostsFileFindings(_ name: Name, _ answers: Answers) -> [Finding] {
        let file = "/etc/hosts"
        let wanted = "\(name)".dropLast().lowercased()
        let lines = machine.words(file).filter { line in
            line.words.dropFirst().contains { $0.lowercased() == wanted }
        }
        let told = answers.addresses
        let other = lines.first { line in
            SocketAddress(ip: String(line.words[0]), port: 0).map { !told.contains($0.ip) } ?? false
        }
        guard let other else { return [] }
        return [
            Finding(
                .override, "programs take \(name.shown) from \(file)",
                why: "\(other.place) says \(other.words[0]), and the C library reads it before it asks; stub53 says "
                    + (told.isEmpty ? "something else" : told.sorted().joined(separator: ", ")),
                mend: "take the line out, or have stub53 read that file (--hosts \(file))")
        ]
    }

    /// Seconds since the file of a rule was changed; nil if that can't be known.
    private func age(of rule: String, _ daemon: Daemon) -> Int? {
        guard let colon = rule.lastIndex(of: ":") else { return nil }
        let path = rule[..<colon]
        // As the daemon was told the path.
        let file = path.hasPrefix("/") ? String(path) : "/proc/\(daemon.statistics.process)/cwd/\(path)"
        return Machine().changed(file).map { machine.now - $0 }
    }

    /// What upstream says about a name that the daemon does not ask for; nil if there is no answer.
    private func upstreamAddresses(_ name: Name, _ type: RecordType, _ daemon: Daemon) -> Set<String>? {
        let servers = daemon.upstreams.compactMap { report in
            Name(report.domain).map { (report: report, domain: $0) }
        }.filter { name.isAtOrBelow($0.domain) }
        let depth = servers.map(\.domain.labelCount).max()
        guard let server = servers.first(where: { $0.domain.labelCount == depth && $0.report.state != "down" }),
            let target = server.report.target
        else { return nil }
        var options = DNSExchange.Options()
        options.timeout = .seconds(2)
        guard let result = try? DNSExchange(target, options).ask(name, type, .in),
            let message = try? LDNS.Message(wire: result.message)
        else { return nil }
        return Set(
            message.records(.answer).filter { $0.type == type }.map { Presentation.text(rdata: $0.rdata, type: type) })
    }

    // MARK: HTTPS records

    /// HTTPS records that lead past the name's addresses: browsers take their hints for addresses.
    func serviceRecordFindings(_ name: Name, _ answers: Answers, _ daemon: Daemon) async throws -> [Finding] {
        let a = answers.a.answer
        guard a.isLocal else { return [] }
        let https = try await daemon.why(name, .https, asks: true)
        guard let record = https.answer.records.first(where: { $0.contains(" HTTPS ") }) else { return [] }
        let told = answers.addresses
        let words = record.split(separator: " ")
        let hints = words.filter { $0.hasPrefix("ipv4hint=") || $0.hasPrefix("ipv6hint=") }
            .flatMap { $0.drop { $0 != "=" }.split { "=,\"".contains($0) } }
        let stranger = hints.first { hint in
            SocketAddress(ip: String(hint), port: 0).map { !told.contains($0.ip) } ?? false
        }
        let isElsewhere = https.answer.source != a.source
        guard stranger != nil || isElsewhere else { return [] }
        let why = stranger.map { "its hint \($0) is none of the name's addresses" } ?? "it is not from where A is from"
        return [
            Finding(
                .override, "an HTTPS record of \(name.shown) leads around its addresses",
                why: "\(https.answer.rule ?? https.answer.source): \(why) (\(told.sorted().joined(separator: ", "))); "
                    + "browsers use it",
                mend: a.source == "hosts"
                    ? "set hosts.https to mask (the default) or synthesize" : "correct the hints in the zone")
        ]
    }
}

extension UpstreamReport {
    /// The server as it can be asked; nil if its address is not known.
    var target: UpstreamServer? {
        let route = domain == "." ? "" : "\(domain)="
        guard
            let server = try? UpstreamServer(
                parsing: String(server.dropFirst(server.hasPrefix(route) ? route.count : 0)))
        else { return nil }
        return server.unresolvedHost == nil ? server : nil
    }
}
