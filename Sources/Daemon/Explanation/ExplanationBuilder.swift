package import DNSWire
import LDNS
import LocalData
import Lookup
import Pipeline
import Platform
import Upstream

/// Explains an answer by asking the daemon's own sources: all together, then one by one.
struct ExplanationBuilder {
    let configured: ConfiguredSources
    let name: Name
    let type: RecordType
    private let answer: SourceTrial.Answer

    private var mayForward: Bool { configured.mayForward }
    private var winner: SourceKind { answer.firstSource }

    init(_ configured: ConfiguredSources, _ name: Name, _ type: RecordType) {
        self.configured = configured
        self.name = name
        self.type = type
        answer = configured.resolve(name, type)
    }

    /// The name that upstream is or would be asked about.
    var lastName: Name { answer.lastName }
    /// Upstream must be asked.
    var needsUpstream: Bool { answer.outcome == .needs }
    /// The last answer of the chain is cached.
    var isRemembered: Bool { answer.decision.source == .cache || answer.decision.source == .stale }

    func build() -> Explanation {
        let (family, browser) = consequences()
        return Explanation(
            name: "\(name)", type: "\(type)", isLive: configured.knownAnswers != nil,
            answer: Explanation.Answer(
                summary: answer.summary(type), source: "\(answer.decision.source)", rule: Self.rule(answer.place),
                responseCode: "\(answer.decision.responseCode)",
                records: answer.records.map {
                    Presentation.text(owner: $0.owner, ttl: $0.ttl, type: $0.type, rdata: $0.rdata)
                },
                needsUpstream: needsUpstream, lastName: "\(answer.lastName)", note: privateNote()),
            chain: answer.hops.map {
                Explanation.Hop(
                    name: "\($0.name)", source: "\($0.source)", rule: $0.place.isNowhere ? nil : "\($0.place)")
            },
            rows: rows(), family: family, browser: browser)
    }

    /// What happens to a private address for a public name, and how to allow it.
    private func privateNote() -> String? {
        guard let word = answer.decision.privateAnswer.word else { return nil }
        let found = answer.records.lazy.compactMap { record in
            record.rdata.withUnsafeBytes { PrivateAddress.first(in: $0, record.type) }
        }.first
        let address = (found ?? answer.decision.refusedAddress)?.ip ?? "the address"
        let action = configured.pipeline.privateAddresses.action.rawValue
        return "\(address) is private and \(answer.lastName) is a public name: \(word) (upstream.private: \(action)); "
            + "if this is meant, add its domain to upstream.private-domains"
    }

    private static func rule(_ place: String) -> String? { place.isEmpty ? nil : place }

    // MARK: The sources

    private func row(
        _ source: SourceKind, _ place: String = "", _ text: String = "", _ comment: String
    ) -> Explanation.Row {
        Explanation.Row(
            source: "\(source)", rule: Self.rule(place), text: text, comment: comment, decides: source == winner)
    }

    /// One row for each source, in the pipeline's order.
    private func rows() -> [Explanation.Row] {
        var visitor = RowVisitor(builder: self)
        configured.pipeline.sources.visit(&visitor)
        return visitor.rows
    }

    private struct RowVisitor: StageVisitor {
        let builder: ExplanationBuilder
        var rows: [Explanation.Row] = []

        mutating func visit(_ stage: some Stage) {
            guard let kind = Swift.type(of: stage).kind else { return }
            if let row = builder.row(kind, of: stage) { rows.append(row) }
        }
    }

    private func row(_ kind: SourceKind, of stage: some Stage) -> Explanation.Row? {
        switch kind {
        case .cache: return cacheRow()
        case .upstream: return upstreamRow()
        default: break
        }
        let own = configured.ask(stage, name, type)
        switch kind {
        case .rule: return rulesRow(own)
        case .hosts: return hostsRow(own)
        case .zone: return zonesRow(own)
        default: return localRow(kind, own)
        }
    }

    /// The number of a local source's row. Where there are no rules, they have no row.
    private func number(of source: SourceKind) -> Int {
        let order: [SourceKind] = configured.pipeline.rules.isEmpty ? [.hosts, .zone] : [.rule, .hosts, .zone]
        return (order.firstIndex(of: source) ?? 0) + 1
    }

    private func rulesRow(_ own: SourceTrial.Answer) -> Explanation.Row? {
        let rules = configured.pipeline.rules
        guard !rules.isEmpty else { return nil }
        let fitting = configured.rules(for: name, type)
        guard !fitting.isEmpty else { return row(.rule, "", "", "no rule for the name and type") }
        let faults = own.faults
        let words = Faults.Actions.words.filter { faults.actions.contains($0.action) }.map { "\($0.word)" }
        var row: Explanation.Row
        if own.outcome != .pass {
            let text = faults.hidesAnswer(over: .tcp) ? "dropped" : own.summary(type)
            row = self.row(.rule, own.place, text, own.comment)
        } else if words.isEmpty {
            row = self.row(.rule, "", "", "none takes effect for the next lookup")
        } else {
            row = self.row(.rule, "\(faults.entry(0).place)", "", "")
        }
        if !words.isEmpty {
            row.comment += (row.comment.isEmpty ? "" : "; ") + "does to the answer: " + words.joined(separator: ", ")
        }
        row.records = fitting.map {
            Explanation.Entry(name: "\($0.name)", type: "\(type)", data: $0.text, rule: "\($0.place)")
        }
        return row
    }

    private func hostsRow(_ own: SourceTrial.Answer) -> Explanation.Row {
        let entries = OverrideEntries(configured, name, type)
        var row: Explanation.Row
        if own.reach != .everything {
            row = self.row(
                .hosts, own.place, winner == .hosts ? "NODATA" : "overridden",
                winner == .hosts
                    ? "answers: the name is overridden, and no zone has \(type)"
                    : "says nothing about \(type): \(own.reach == .zonesOnly ? "local zones only" : "asks on")")
        } else if own.outcome == .answered {
            row = self.row(
                .hosts, own.place, own.summary(type),
                own.decision.masked ? "answers: an override hides \(type) (hosts.https = mask)" : own.comment)
        } else {
            row = self.row(.hosts, "", "", "no override for the name")
        }
        row.records = entries.used
        row.shadowed = entries.shadowed
        row.lease = configured.leases.first { $0.rule == row.rule }
        if let lease = row.lease {
            row.comment += "; leased " + (lease.until.map { "until \($0)" } ?? "until the daemon ends")
        }
        return row
    }

    private func zonesRow(_ own: SourceTrial.Answer) -> Explanation.Row {
        let entries = ZoneEntries(configured, name, type, own)
        var row: Explanation.Row
        if own.outcome != .pass {
            row = self.row(
                .zone, own.place, own.summary(type), winner == .zone ? own.comment : "shadowed by \(number(of: winner))"
            )
        } else {
            row = self.row(.zone, "", "", own.isBelowCut ? "the name is beyond a zone cut" : "no zone above the name")
        }
        row.records = entries.used
        row.shadowed = entries.shadowed
        return row
    }

    /// The row of a source that offers no details besides its answer.
    private func localRow(_ kind: SourceKind, _ own: SourceTrial.Answer) -> Explanation.Row {
        guard own.outcome != .pass else { return row(kind, "", "", "not a special-use name") }
        let comment: String
        switch winner {
        case kind: comment = own.comment
        case .rule, .hosts, .zone: comment = "shadowed by \(number(of: winner))"
        default: comment = "not asked: the name is beyond a zone cut"
        }
        return row(kind, own.place, own.summary(type), comment)
    }

    private func cacheRow() -> Explanation.Row {
        guard configured.forwards(answer.lastName) else {
            return row(.cache, "", "", "not asked: nothing is forwarded")
        }
        switch winner {
        case .rule: return row(.cache, "", "", "not asked: nothing caches in front of rules")
        case .hosts: return row(.cache, "", "", "not asked: nothing caches in front of overrides")
        case .zone: return row(.cache, "", "", "not asked: nothing caches in front of zones")
        case .special: return row(.cache, "", "", "not asked")
        default: break
        }
        guard let knownAnswers = configured.knownAnswers else {
            return row(.cache, "", "", "a running daemon may hold the answer")
        }
        var row = row(.cache, "", "", "holds no answer")
        row.decides = winner == .cache || winner == .stale
        let key = FetchKey(name, Question(type: type))
        guard let held = knownAnswers.cache.peek(key, now: knownAnswers.now) else { return row }
        row.text = row.decides ? answer.summary(type) : "\(held.entry.responseCode)"
        let age = "\(held.entry.age) s old"
        if held.entry.isStale {
            row.comment =
                "\(held.entry.isUsable ? "answers: stale" : "stale: used if upstream does not answer"), \(age)"
        } else {
            row.comment = "answers, \(age), \(held.entry.remaining) s left"
        }
        return row
    }

    private func upstreamRow() -> Explanation.Row {
        guard mayForward else { return row(.upstream, "", "", "none is configured") }
        if answer.decision.source == .upstream, answer.decision.upstreamTransport == .replay {
            return row(.upstream, answer.place, answer.summary(type), "replayed, see there")
        }
        guard !configured.upstream.isEmpty else {
            let isReplaying = configured.knownAnswers?.cassette != nil
            return row(.upstream, "", "", isReplaying ? "the cassette has no reply" : "no server is known")
        }
        let servers = configured.servers(for: answer.lastName)
        guard let first = servers.first else { return row(.upstream, "", "", "no server for this name") }
        let more = servers.count > 1 ? " and \(servers.count - 1) more" : ""
        let about = answer.hops.isEmpty ? "" : " for \(answer.lastName)"
        if answer.decision.source == .upstream, answer.outcome == .answered {
            return row(.upstream, "\(first)\(more)", answer.summary(type), "has just been asked\(about)")
        }
        return row(.upstream, "\(first)\(more)", "", needsUpstream ? "is asked\(about)" : "not asked")
    }

    // MARK: Browsers

    private func consequences() -> (family: [Explanation.Member], browser: Explanation.Browser?) {
        // Browsers don't connect to names such as _8443._https.NAME: these only describe NAME.
        let isService = name.labels.first?.first == UInt8(ascii: "_")
        guard [.a, .aaaa, .https].contains(type), !isService, winner != .upstream, winner != .none else {
            return ([], nil)
        }
        var answers: [RecordType: SourceTrial.Answer] = [type: answer]
        for other in [RecordType.a, .aaaa, .https] where other != type {
            answers[other] = configured.resolve(name, other)
        }
        guard let a = answers[.a], let aaaa = answers[.aaaa], let https = answers[.https] else { return ([], nil) }
        var family: [Explanation.Member] = []
        for (other, its) in [(RecordType.a, a), (.aaaa, aaaa), (.https, https)] where other != type {
            family.append(member(other, its))
        }
        let mail = configured.resolve(name, .mx)
        if mail.has(.mx) { family.append(member(.mx, mail)) }
        return (family, browser(a, aaaa, https))
    }

    private func member(_ type: RecordType, _ answer: SourceTrial.Answer) -> Explanation.Member {
        var member = Explanation.Member(
            type: "\(type)", state: .none, text: answer.summary(type), rule: Self.rule(answer.place))
        if answer.outcome == .needs {
            member.state = .upstream
            member.text = ""
        } else if answer.decision.masked {
            member.state = .masked
            let zone = configured.askZones(name, type)
            if zone.has(type) { member.hidden = zone.place }
        } else if answer.has(type) {
            member.state = .data
        } else if answer.decision.responseCode == .noError {
            member.state = .nodata
        }
        return member
    }

    private func browser(
        _ a: SourceTrial.Answer, _ aaaa: SourceTrial.Answer, _ https: SourceTrial.Answer
    ) -> Explanation.Browser {
        let addresses = aaaa.data(.aaaa) + a.data(.a)
        guard let first = addresses.first else {
            let isOpen = a.outcome == .needs || aaaa.outcome == .needs
            return Explanation.Browser(
                addresses: [], upgrade: .unknown, canBeDowngraded: false,
                sentence: isOpen
                    ? "connects to the addresses that upstream has" : "does not connect: the name has no address")
        }
        let target = addresses.count == 1 ? first : "\(first) or \(addresses.count - 1) more"
        var browser = Explanation.Browser(
            addresses: addresses, upgrade: .none, canBeDowngraded: true,
            sentence: "connects to \(target), plain http first: no HTTPS record, so a downgrade is possible")
        if https.outcome == .needs {
            browser.upgrade = .unknown
            browser.sentence =
                "connects to \(target); upstream's HTTPS record, if there is one, says whether https comes first"
        } else if https.has(.https) {
            browser.upgrade = .record
            browser.canBeDowngraded = false
            browser.sentence = "connects to \(target) by https at once: there is an HTTPS record"
        }
        return browser
    }
}

extension ConfiguredSources {
    /// Why `name` is answered as it is.
    package func explain(_ name: Name, _ type: RecordType) -> Explanation {
        ExplanationBuilder(self, name, type).build()
    }
}
