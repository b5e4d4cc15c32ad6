import DNSWire
import LDNS
import Resolution
import Server

/// Tells why a name is answered as it is, by asking the very sources that the daemon asks: together, then one by one.
struct Explanation {
    let sources: ConfigurationSources
    private let configured: ConfiguredSources
    private var mayForward: Bool { configured.mayForward }
    private var trial: SourceTrial { configured.trial }

    init(sources: ConfigurationSources, configuration: Configuration) {
        self.sources = sources
        configured = ConfiguredSources(sources: sources, configuration: configuration)
    }

    /// One source's line of the table.
    private struct Row {
        var source: Source
        var place = "-"
        var text = ""
        var comment = ""
    }

    func text(_ name: Name, _ type: RecordType) -> String {
        let answer = configured.resolve(name, type)
        var lines = headline(name, type, answer)
        lines.append("")
        lines += table(rows(name, type, answer), winner: answer.firstSource)
        let more = browserLines(name, type, answer)
        if !more.isEmpty { lines += [""] + more }
        return lines.joined(separator: "\n")
    }

    // MARK: The answer

    private func headline(_ name: Name, _ type: RecordType, _ answer: SourceTrial.Answer) -> [String] {
        var lines: [String] = []
        switch answer.outcome {
        case .needsUpstream:
            let through = answer.hops.isEmpty ? "" : " leads to \(answer.lastName), which"
            lines.append(Terminal.colored("\(name) \(type)\(through) is asked upstream", .bold))
        default:
            let reason = "\(answer.decision.source)" + (answer.place.isEmpty ? "" : ", \(answer.place)")
            let result = Terminal.colored("\(name) \(type) = \(answer.summary(type))", .bold)
            lines.append("\(result)    (\(Terminal.colored(reason, .init(answer.decision.source))))")
        }
        // The end of a chain is in the first line already.
        for hop in answer.outcome == .needsUpstream ? answer.hops[...] : answer.hops.dropLast() {
            lines.append("  by way of  \(hop.name)  (\(hop.source)\(hop.place.isNowhere ? "" : ", \(hop.place)"))")
        }
        return lines
    }

    // MARK: The sources

    private func rows(_ name: Name, _ type: RecordType, _ answer: SourceTrial.Answer) -> [Row] {
        let winner = answer.firstSource
        return [
            hostsRow(name, type, winner), zonesRow(name, type, winner), specialRow(name, type, winner),
            Row(source: .cache, comment: mayForward ? Self.cacheComment(winner) : "not asked: nothing is forwarded"),
            upstreamRow(answer),
        ]
    }

    private func hostsRow(_ name: Name, _ type: RecordType, _ winner: Source) -> Row {
        var exists: Bool?
        let own = trial.ask(name, type, mayForward: mayForward) { lookup, question, builder, decision, _ in
            switch sources.hosts.answer(
                lookup, nameOffset: Header.length, question: question, builder: &builder, decision: &decision)
            {
            case .pass: return .passed
            case .answered: return .answered
            case .exists(let zonesOnly):
                exists = zonesOnly
                return .answered
            }
        }
        guard own.outcome == .answered else { return Row(source: .hosts, comment: "no override for the name") }
        if let exists {
            let comment =
                winner == .hosts
                ? "answers: the name is overridden, and no zone has \(type)"
                : "says nothing about \(type): \(exists ? "local zones only" : "asks on")"
            return Row(
                source: .hosts, place: own.place, text: winner == .hosts ? "NODATA" : "overridden", comment: comment)
        }
        let comment = own.decision.masked ? "answers: an override hides \(type) (hosts.https = mask)" : own.comment
        return Row(source: .hosts, place: own.place, text: own.summary(type), comment: comment)
    }

    private func zonesRow(_ name: Name, _ type: RecordType, _ winner: Source) -> Row {
        let own = configured.askZones(name, type)
        switch own.outcome {
        case .passed: return Row(source: .zone, comment: "no zone above the name")
        case .needsUpstream:
            return Row(source: .zone, comment: "the name is beyond a zone cut")
        default:
            return Row(
                source: .zone, place: own.place, text: own.summary(type),
                comment: winner == .zone ? own.comment : "shadowed by 1")
        }
    }

    private func specialRow(_ name: Name, _ type: RecordType, _ winner: Source) -> Row {
        let own = trial.ask(name, type, mayForward: mayForward) { lookup, question, builder, decision, _ in
            let outcome = sources.special.answer(
                lookup, nameOffset: Header.length, question: question, builder: &builder, decision: &decision)
            return outcome == .pass ? .passed : .answered
        }
        guard own.outcome == .answered else { return Row(source: .special, comment: "not a special-use name") }
        let comment: String
        switch winner {
        case .special: comment = own.comment
        case .hosts: comment = "shadowed by 1"
        case .zone: comment = "shadowed by 2"
        default: comment = "not asked: the name is beyond a zone cut"
        }
        return Row(source: .special, place: own.place, text: own.summary(type), comment: comment)
    }

    private static func cacheComment(_ winner: Source) -> String {
        switch winner {
        case .hosts: "not asked: nothing caches in front of overrides"
        case .zone: "not asked: nothing caches in front of zones"
        case .special: "not asked"
        default: "a running daemon may hold the answer"
        }
    }

    private func upstreamRow(_ answer: SourceTrial.Answer) -> Row {
        guard mayForward else { return Row(source: .upstream, comment: "none is configured") }
        guard !sources.upstream.isEmpty else { return Row(source: .upstream, comment: "no server is known") }
        let servers = configured.servers(for: answer.lastName)
        guard let first = servers.first else { return Row(source: .upstream, comment: "no server for this name") }
        let more = servers.count > 1 ? " and \(servers.count - 1) more" : ""
        let asked = answer.outcome == .needsUpstream
        let about = asked && !answer.hops.isEmpty ? " for \(answer.lastName)" : ""
        return Row(source: .upstream, place: "\(first)\(more)", comment: asked ? "is asked\(about)" : "not asked")
    }

    private func table(_ rows: [Row], winner: Source) -> [String] {
        let placeWidth = max(rows.map(\.place.count).max() ?? 0, 22)
        let textWidth = max(rows.map { Self.cut($0.text).count }.max() ?? 0, 12)
        return rows.enumerated().map { index, row in
            let name = row.source == .zone ? "zones" : "\(row.source)"
            let isWinner = row.source == winner
            let source = Terminal.colored(Terminal.padded(name, 8), isWinner ? .init(row.source) : nil)
            let rest =
                Terminal.padded(row.place, placeWidth) + "  " + Terminal.padded(Self.cut(row.text), textWidth) + "  "
                + row.comment
            return "  \(index + 1)  \(source)  \(isWinner ? rest : Terminal.colored(rest, .grey))"
        }
    }

    private static func cut(_ text: String) -> String { text.count <= 48 ? text : text.prefix(45) + "..." }

    // MARK: What a browser makes of it

    private func browserLines(_ name: Name, _ type: RecordType, _ answer: SourceTrial.Answer) -> [String] {
        // Names as _8443._https.NAME are not connected to: they tell about another.
        let isService = name.labels.first?.first == UInt8(ascii: "_")
        guard [.a, .aaaa, .https].contains(type), !isService, answer.firstSource != .upstream,
            answer.firstSource != .none
        else {
            return []
        }
        var answers: [RecordType: SourceTrial.Answer] = [type: answer]
        for other in [RecordType.a, .aaaa, .https] where other != type {
            answers[other] = configured.resolve(name, other)
        }
        guard let a = answers[.a], let aaaa = answers[.aaaa], let https = answers[.https] else { return [] }
        var family: [String] = []
        for (other, its) in [(RecordType.a, a), (.aaaa, aaaa), (.https, https)] where other != type {
            family.append(memberText(name, other, its))
        }
        let mail = configured.resolve(name, .mx)
        if mail.has(.mx) { family.append("MX from \(mail.place)") }
        return ["  family   " + family.joined(separator: " · "), "  browser  " + browser(a, aaaa, https)]
    }

    private func memberText(_ name: Name, _ type: RecordType, _ answer: SourceTrial.Answer) -> String {
        if answer.outcome == .needsUpstream { return "\(type) from upstream" }
        guard answer.decision.masked else { return "\(type) \(Self.cut(answer.summary(type)))" }
        let zone = configured.askZones(name, type)
        return "\(type) masked" + (zone.has(type) ? " (\(zone.place) has one)" : "")
    }

    private func browser(_ a: SourceTrial.Answer, _ aaaa: SourceTrial.Answer, _ https: SourceTrial.Answer) -> String {
        let addresses = aaaa.data(.aaaa) + a.data(.a)
        guard !addresses.isEmpty else {
            if a.outcome == .needsUpstream || aaaa.outcome == .needsUpstream {
                return "connects to the addresses that upstream has"
            }
            return "does not connect: the name has no address"
        }
        let target = addresses.count == 1 ? addresses[0] : "\(addresses[0]) or \(addresses.count - 1) more"
        if https.outcome == .needsUpstream {
            return "connects to \(target); upstream's HTTPS record, if there is one, says whether https comes first"
        }
        if https.has(.https) { return "connects to \(target) by https at once: there is an HTTPS record" }
        return "connects to \(target), plain http first: no HTTPS record, so a downgrade is possible"
    }
}
