package import DNSWire
import LDNS
import Lookup
import LookupLog
import Platform

/// Writes what a tape has in the languages of other programs.
package enum CassetteExport {
    package enum Form: String, Sendable, CaseIterable {
        /// A zone file.
        case zone
        case hosts
        /// The scenario language of Unbound and Deckard.
        case rpl
        /// Packets.
        case pcapng
    }

    /// A record, in presentation form but for its owner and type.
    private struct Line: Hashable {
        var owner: Name
        var type: RecordType
        var ttl: UInt32
        var rdata: [UInt8]

        var text: String { Presentation.text(owner: owner, ttl: ttl, type: type, rdata: rdata) }
    }

    private static func records(_ message: [UInt8]) -> (answers: [Line], authority: [Line]) {
        message.withUnsafeBytes { message in
            guard let summary = MessageReader.walk(message) else { return ([], []) }
            var lines: [Line] = []
            var cursor = summary.records
            var answers = 0
            for index in 0..<(summary.answers + summary.authority) {
                guard let record = MessageReader.record(message, at: cursor) else { break }
                cursor = record.end
                var owner: [UInt8] = []
                var rdata: [UInt8] = []
                guard record.recordClass == .in, MessageReader.expandName(message, at: record.start, into: &owner),
                    MessageReader.expandRDATA(message, record, into: &rdata)
                else { continue }
                lines.append(Line(owner: Name(uncheckedWire: owner), type: record.type, ttl: record.ttl, rdata: rdata))
                if index < summary.answers { answers += 1 }
            }
            return (Array(lines[..<answers]), Array(lines[answers...]))
        }
    }

    // MARK: Zone

    /// The records at and below `apex` of the last reply to each question, as a zone that can be served.
    ///
    /// Signatures and proofs are left out: they would not cover what is missing.
    package static func zone(_ tape: CassetteTape, apex: Name) -> String {
        var sets: [Name: [RecordType: Set<Line>]] = [:]
        var soa: Line?
        for key in tape.sortedKeys {
            guard let message = tape.replies[key]?.last?.message else { continue }
            let records = records(message)
            for line in records.answers where line.owner.isAtOrBelow(apex) && !unserved.contains(line.type) {
                let folded = Name(uncheckedWire: line.owner.canonicalWire)
                var line = line
                line.owner = folded
                // A later reply may have another TTL.
                if let known = sets[folded]?[line.type]?.first?.ttl { line.ttl = known }
                sets[folded, default: [:]][line.type, default: []].insert(line)
            }
            soa = (records.answers + records.authority).first { $0.type == .soa && $0.owner == apex } ?? soa
        }
        var lines = ["$ORIGIN \(apex)"]
        lines.append(
            soa?.text ?? "\(apex) 3600 IN SOA localhost. nobody.invalid. 1 3600 600 86400 60")
        sets[apex]?[.soa] = nil
        sets[apex]?[.cname] = nil
        if sets[apex]?[.ns] == nil { lines.append("\(apex) 3600 IN NS localhost.") }
        for name in sets.keys.sorted() {
            var types = sets[name] ?? [:]
            // A name with an alias has nothing else (RFC 1034 3.6.2).
            if let alias = types[.cname]?.min(by: { $0.text < $1.text }) { types = [.cname: [alias]] }
            for type in types.keys.sorted(by: { $0.rawValue < $1.rawValue }) {
                lines += (types[type] ?? []).map(\.text).sorted()
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static let unserved: [RecordType] = [.rrsig, .nsec, .nsec3, .dnskey, .ds]

    // MARK: Hosts

    /// The addresses of each name that was asked for, also by way of aliases.
    package static func hosts(_ tape: CassetteTape) -> String {
        var lines: [String] = []
        for key in tape.sortedKeys where key.type == .a || key.type == .aaaa {
            guard let message = tape.replies[key]?.last?.message else { continue }
            let name = Name(uncheckedWire: key.name)
            // A hosts file has no escapes, and no other bytes in names.
            guard !"\(name)".contains("\\"), !name.isRoot, !name.isWildcard else { continue }
            for line in records(message).answers where line.type == key.type {
                let address = Presentation.text(rdata: line.rdata, type: line.type)
                lines.append("\(address) \("\(name)".dropLast())")
            }
        }
        var seen: Set<String> = []
        return lines.filter { seen.insert($0).inserted }.map { $0 + "\n" }.joined()
    }

    // MARK: Scenario

    /// A scenario in which a forwarder is asked each question, gets the reply, and gives it on.
    package static func scenario(_ tape: CassetteTape, name: String) -> String {
        var ranges = ""
        var steps = ""
        var step = 1
        for key in tape.sortedKeys {
            for reply in tape.replies[key] ?? [] {
                let question = "SECTION QUESTION\n\(Name(uncheckedWire: key.name)) IN \(key.type)\n"
                let flags = "RD\(key.checkingDisabled ? " CD" : "")\(key.dnssecOK ? " DO" : "")"
                steps += "STEP \(step) QUERY\nENTRY_BEGIN\nREPLY \(flags)\n\(question)ENTRY_END\n"
                if !reply.isSilence {
                    let (code, lines) = CassetteText.readable(reply.message)
                    let words = lines.first { $0.hasPrefix("flags ") }?.dropFirst(6).uppercased() ?? ""
                    let records = records(reply.message)
                    var body = "REPLY QR \(words.isEmpty ? "" : words + " ")\(code)\n\(question)SECTION ANSWER\n"
                    body += records.answers.map { $0.text + "\n" }.joined()
                    if !records.authority.isEmpty {
                        body += "SECTION AUTHORITY\n" + records.authority.map { $0.text + "\n" }.joined()
                    }
                    ranges += "RANGE_BEGIN \(step) \(step + 1)\n\tADDRESS 192.0.2.53\nENTRY_BEGIN\n"
                    ranges += "MATCH opcode qtype qname\nADJUST copy_id\n\(body)ENTRY_END\nRANGE_END\n\n"
                    steps += "STEP \(step + 1) CHECK_ANSWER\nENTRY_BEGIN\nMATCH qname rcode answer\n\(body)ENTRY_END\n"
                }
                steps += "\n"
                step += 2
            }
        }
        return """
            server:
            \ttarget-fetch-policy: "0 0 0 0 0"
            \tqname-minimisation: no
            \tmodule-config: "iterator"

            forward-zone:
            \tname: "."
            \tforward-addr: 192.0.2.53
            CONFIG_END

            SCENARIO_BEGIN \(name)

            \(ranges)\(steps)SCENARIO_END

            """
    }

    // MARK: Packets

    /// A query and a response packet for each reply; none where nothing came.
    package static func packets(_ tape: CassetteTape) -> [UInt8] {
        let client = SocketAddress(high: 0, low: 0x7F00_0001, port: 53_000, isIPv6: false)
        let server = SocketAddress(high: 0, low: 0x7F00_0035, port: 53, isIPv6: false)
        var bytes = PacketCapture().header()
        // The cassette has no times of day.
        var time: UInt64 = 0
        var id: UInt16 = 0
        for key in tape.sortedKeys {
            for reply in tape.replies[key] ?? [] where !reply.isSilence {
                for _ in 0..<min(reply.times, mostCopies) {
                    id &+= 1
                    var query = RecordedMessage.query(key)
                    var response = reply.message
                    for index in 0...1 {
                        query[index] = UInt8(truncatingIfNeeded: id >> (8 - 8 * UInt16(index)))
                        response[index] = query[index]
                    }
                    PacketCapture.appendPacket(query, from: client, to: server, at: time, "", to: &bytes)
                    PacketCapture.appendPacket(
                        response, from: server, to: client, at: time + UInt64(reply.microseconds),
                        reply.transport == .udp ? "" : "over \(reply.transport)", to: &bytes)
                    time += UInt64(reply.microseconds) + 1000
                }
            }
        }
        return bytes
    }

    /// Of one reply.
    private static let mostCopies = 1000
}
