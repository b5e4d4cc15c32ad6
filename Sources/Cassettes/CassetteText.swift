import DNSWire
import LDNS
import Lookup
import Platform

/// The text of cassettes: what reviewers read, and what `CassetteReader` reads back.
///
/// ```
/// stub53 cassette 1
///
/// question acme.org. A
///   reply 1 NOERROR 11.2ms udp
///     flags rd ra
///     answer acme.org. 300 IN A 192.0.2.7
///     wire AACBgAAB...
///     digest 5d1c0a9b33e0f712
///
/// end
/// ```
///
/// The digest is that of the message's lines: if it does not fit, they were edited, and count.
package enum CassetteText {
    static let version = 1
    static let mark = "stub53 cassette "
    static let end = "end"
    static let silence = "silence"

    private static let head = """
        \(mark)\(version)
        # What upstream said to each question, in order. The lines of a reply may be edited: they count, and not the wire
        # form below them.

        """

    /// The whole file. Notes the line of each reply, and keeps the text of those that have none yet.
    package static func write(_ tape: inout CassetteTape) -> [UInt8] {
        var bytes = Array(head.utf8)
        var line = head.utf8.count { $0 == newline } + 1
        for key in tape.sortedKeys {
            bytes += "\nquestion \(Name(uncheckedWire: key.name)) \(key.type)".utf8
            bytes += "\(key.dnssecOK ? " do" : "")\(key.checkingDisabled ? " cd" : "")\n".utf8
            line += 2
            var replies: [CassetteReply] = []
            // Taken out, so that it is not copied.
            swap(&replies, &tape.replies[key]!)
            for index in replies.indices {
                let text = replies[index].text ?? Message(replies[index].message)
                replies[index].text = text
                replies[index].line = line
                bytes += "  reply \(index + 1) \(replies[index].summary(text))\n".utf8
                bytes += text.lines
                line += 1 + text.lineCount
            }
            swap(&replies, &tape.replies[key]!)
        }
        bytes += "\n\(end)\n".utf8
        return bytes
    }

    /// A message as text.
    struct Message: Sendable {
        /// Its RCODE, which stands in the `reply` line; empty for a silence.
        let code: String
        /// The lines below that.
        let lines: [UInt8]
        let lineCount: Int

        init(_ message: [UInt8]) {
            guard !message.isEmpty else {
                (code, lines, lineCount) = ("", [], 0)
                return
            }
            let readable = readable(message)
            var bytes: [UInt8] = []
            for line in readable.lines { bytes += "    \(line)\n".utf8 }
            bytes += "    wire ".utf8
            bytes += Base64.text(message)
            bytes += "\n    digest \(digest(readable.code, readable.lines))\n".utf8
            (code, lines, lineCount) = (readable.code, bytes, readable.lines.count + 2)
        }
    }

    /// A message in presentation form: its RCODE, then a line for the flags, each record, and the extended error.
    package static func readable(_ message: [UInt8]) -> (code: String, lines: [String]) {
        message.withUnsafeBytes { message in
            guard let base = message.baseAddress, let summary = MessageReader.walk(message) else { return ("", []) }
            let flags = Header.Flags(rawValue: base.readUInt16(2))
            var lines: [String] = []
            let words = flagWords.filter { flags.contains($0.flag) }.map(\.word)
            if !words.isEmpty { lines.append("flags \(words.joined(separator: " "))") }
            var cursor = summary.records
            for index in 0..<(summary.answers + summary.authority) {
                guard let record = MessageReader.record(message, at: cursor) else { break }
                lines.append((index < summary.answers ? "answer " : "authority ") + text(record, message))
                cursor = record.end
            }
            var code = flags.responseCode
            if let opt = summary.opt {
                code = ResponseCode(rawValue: UInt16(opt.ttl >> 24) << 4 | code.rawValue)
                if let error = MessageReader.option(EDNS.Option.extendedError, opt, message), error.count >= 2 {
                    lines.append("ede \(errorText(Array(error)))")
                }
            }
            return (code.description, lines)
        }
    }

    static let flagWords: [(word: String, flag: Header.Flags)] = [
        ("aa", .authoritative), ("tc", .truncated), ("rd", .recursionDesired), ("ra", .recursionAvailable),
        ("ad", .authenticData), ("cd", .checkingDisabled),
    ]

    /// `OWNER TTL CLASS TYPE RDATA`.
    private static func text(_ record: MessageReader.Record, _ message: UnsafeRawBufferPointer) -> String {
        var owner: [UInt8] = []
        var rdata: [UInt8] = []
        _ = MessageReader.expandName(message, at: record.start, into: &owner)
        if !MessageReader.expandRDATA(message, record, into: &rdata) {
            rdata = Array(message[record.rdata..<record.end])
        }
        return Presentation.text(
            owner: Name(uncheckedWire: owner), ttl: record.ttl, recordClass: record.recordClass, type: record.type,
            rdata: rdata)
    }

    /// `CODE TEXT`; what is not printable is escaped.
    private static func errorText(_ error: [UInt8]) -> String {
        var text: [UInt8] = []
        for byte in error.dropFirst(2) {
            if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "\\") {
                text.append(byte)
            } else {
                text += "\\\(byte / 100)\(byte / 10 % 10)\(byte % 10)".utf8
            }
        }
        let code = UInt16(error[0]) << 8 | UInt16(error[1])
        // Blanks at an end would not survive an editor.
        while text.last == UInt8(ascii: " ") { text.removeLast() }
        return text.isEmpty ? "\(code)" : "\(code) \(String(decoding: text, as: UTF8.self))"
    }

    /// FNV-1a of 64 bits: it tells edits, and keeps nobody off.
    static func digest(_ code: String, _ lines: [String]) -> String {
        let hash = ([code] + lines).reduce(StableHash.start) {
            StableHash.of([newline], after: StableHash.of($1.utf8, after: $0))
        }
        return Base16.text((0..<8).map { UInt8(truncatingIfNeeded: hash >> UInt64(56 - 8 * $0)) })
    }

    static let newline = UInt8(ascii: "\n")
}

extension CassetteReply {
    /// What stands behind its number: `NOERROR 11.2ms udp`, `silence 4000.0ms`.
    fileprivate func summary(_ text: CassetteText.Message) -> String {
        let tenths = (UInt64(microseconds) + 50) / 100
        let time = "\(tenths / 10).\(tenths % 10)ms"
        let more = times > 1 ? " times \(times)" : ""
        if isSilence { return "\(CassetteText.silence) \(time)\(more)" }
        return "\(text.code) \(time) \(transport)\(more)"
    }
}
