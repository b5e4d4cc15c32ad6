import DNSWire
import LDNS

@testable import LocalData
@testable import Lookup
@testable import Platform

/// Overrides read from the given text, and what a client gets from them.
struct HostsExchange {
    let table: HostsTable
    let diagnostics: Diagnostics

    init(_ text: String, _ settings: HostsSettings = HostsSettings()) {
        self.init(bytes: Array(text.utf8), settings)
    }

    init(bytes: [UInt8], _ settings: HostsSettings = HostsSettings()) {
        let folder = TemporaryFolder()
        let result = HostsReader.load(paths: [folder.write(bytes, to: "hosts")], settings: settings)
        table = result.table
        diagnostics = result.diagnostics
    }

    init(_ table: HostsTable) {
        self.table = table
        diagnostics = Diagnostics()
    }

    /// `LINE: message` of each problem.
    var problems: [String] { diagnostics.list.map { "\($0.place.line): \($0.message)" } }

    func ask(_ name: String, _ type: RecordType) -> LocalAnswer {
        LocalAnswer(name, type) { lookup in
            switch table.answer(&lookup) {
            case .pass: "pass"
            case .answered: "answered"
            case .exists(zonesOnly: true): "exists in zones"
            case .exists(zonesOnly: false): "exists beyond"
            }
        }
    }

    /// The RDATA of the answer, as text.
    func data(_ name: String, _ type: RecordType) -> [String] { ask(name, type).data }
}

/// The answer of one local source, parsed by libldns.
struct LocalAnswer {
    var outcome = ""
    var decision = Decision()
    var truncated = false
    /// `OWNER TTL TYPE RDATA`.
    var answers: [String] = []
    var authority: [String] = []
    /// RDATA of the answers alone.
    var data: [String] = []

    /// A short form, in one word or a list, for most cases.
    var summary: String {
        if outcome != "answered" { return outcome }
        if decision.responseCode != .noError { return "\(decision.responseCode)" }
        return data.isEmpty ? "NODATA" : data.joined(separator: " ")
    }

    init(
        _ text: String, _ type: RecordType, limit: Int = 4096,
        _ source: (inout Lookup) -> String
    ) {
        let response = Lookup.asking(text, type, limit: limit) { lookup in
            outcome = source(&lookup)
            decision = lookup.decision
            truncated = lookup.builder.truncated
            lookup.builder.finish(flags: .response, questions: 1)
            let message = lookup.builder.message
            return MessageReader.walk(message)?.isSound != true ? [] : Array(message)
        }
        guard let message = try? Message(wire: response) else {
            outcome = "unreadable"
            return
        }
        for record in message.records(.answer) {
            data.append(Presentation.text(rdata: record.rdata, type: record.type))
            answers.append("\(record.owner) \(record.ttl) \(record.type) \(data[data.count - 1])")
        }
        for record in message.records(.authority) {
            let rdata = Presentation.text(rdata: record.rdata, type: record.type)
            authority.append("\(record.owner) \(record.ttl) \(record.type) \(rdata)")
        }
    }
}
