import DNSWire
import Glibc
import LDNS
import Platform

/// Formats a response in the form known from dig.
struct ResponsePrinter {
    let result: DNSExchange.Result
    let server: Platform.SocketAddress

    /// The answers' data, one line each.
    func short() throws(LibraryError) -> String {
        try LDNS.Message(wire: result.message).records(.answer)
            .map { Presentation.text(rdata: $0.rdata, type: $0.type) + "\n" }.joined()
    }

    /// The whole response, with dig's statistics.
    func full() throws(LibraryError) -> String {
        var lines: [String] = []
        if result.wasTruncated { lines += [";; Truncated over UDP, fetched over TCP.", ""] }
        let message = try LDNS.Message(wire: result.message)
        let bytes = result.message
        func word(_ offset: Int) -> Int { Int(bytes[offset]) << 8 | Int(bytes[offset + 1]) }
        let flags = Header.Flags(rawValue: UInt16(word(2)))
        let names: [(Header.Flags, String)] = [
            (.response, "qr"), (.authoritative, "aa"), (.truncated, "tc"), (.recursionDesired, "rd"),
            (.recursionAvailable, "ra"), (.authenticData, "ad"), (.checkingDisabled, "cd"),
        ]
        let set = names.filter { flags.contains($0.0) }.map(\.1).joined(separator: " ")
        lines.append(";; ->>HEADER<<- opcode: \(flags.opcode), status: \(message.responseCode), id: \(message.id)")
        lines.append(
            ";; flags: \(set); QUERY: \(word(4)), ANSWER: \(word(6)), AUTHORITY: \(word(8)), ADDITIONAL: \(word(10))")
        lines.append("")
        let opt = optLines
        if !opt.isEmpty { lines += [";; OPT PSEUDOSECTION:"] + opt }
        if let question = questionLine { lines += [";; QUESTION SECTION:", question, ""] }
        for (section, title) in [
            (LDNS.Message.Section.answer, "ANSWER"), (.authority, "AUTHORITY"), (.additional, "ADDITIONAL"),
        ] {
            let records = message.records(section)
            guard !records.isEmpty else { continue }
            lines.append(";; \(title) SECTION:")
            lines += records.map(Self.line) + [""]
        }
        let microseconds = result.duration / .microseconds(1)
        let time = microseconds < 1000 ? "\(Int(microseconds)) usec" : "\(Int(microseconds / 1000)) msec"
        lines.append(";; Query time: \(time)")
        lines.append(";; SERVER: \(server.ip)#\(server.port) (\("\(result.transport)".uppercased()))")
        lines.append(";; WHEN: \(Self.now)")
        lines.append(";; MSG SIZE  rcvd: \(bytes.count)")
        return lines.joined(separator: "\n") + "\n"
    }

    private var questionLine: String? {
        result.message.withUnsafeBytes { bytes in
            var wire: [UInt8] = []
            guard let summary = MessageReader.walk(bytes), summary.questionEnd > Header.length,
                MessageReader.expandName(bytes, at: Header.length, into: &wire), let name = Name(wire: wire)
            else { return nil }
            let end = summary.questionEnd
            let type = RecordType(rawValue: UInt16(bytes[end - 4]) << 8 | UInt16(bytes[end - 3]))
            let recordClass = RecordClass(rawValue: UInt16(bytes[end - 2]) << 8 | UInt16(bytes[end - 1]))
            return Self.columns([(";\(name)", 32), ("\(recordClass)", 40)], last: "\(type)")
        }
    }

    private static func line(_ record: LDNS.Message.Record) -> String {
        columns(
            [
                ("\(record.owner)", 24), ("\(record.ttl)", 32), ("\(record.recordClass)", 40), ("\(record.type)", 48),
            ], last: Presentation.text(rdata: record.rdata, type: record.type))
    }

    /// Pads with tabs to the column of the next field; at least one tab.
    private static func columns(_ fields: [(text: String, next: Int)], last: String) -> String {
        var line = ""
        var column = 0
        for field in fields {
            line += field.text
            column += field.text.utf8.count
            repeat {
                line += "\t"
                column = (column / 8 + 1) * 8
            } while column < field.next
        }
        return line + last
    }

    private static var now: String {
        var seconds = time(nil)
        var parts = tm()
        localtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let length = strftime(&text, text.count, "%a %b %d %H:%M:%S %Z %Y", &parts)
        return String(decoding: text[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: EDNS

    private var optLines: [String] {
        result.message.withUnsafeBytes { bytes in
            guard let opt = MessageReader.walk(bytes)?.opt else { return [] }
            let flags = opt.ttl & UInt32(EDNS.dnssecOK) != 0 ? " do" : ""
            var lines = ["; EDNS: version: \(opt.ttl >> 16 & 0xFF), flags:\(flags); udp: \(opt.recordClass.rawValue)"]
            var cursor = opt.rdata
            while cursor + 4 <= opt.end {
                let code = UInt16(bytes[cursor]) << 8 | UInt16(bytes[cursor + 1])
                let length = Int(bytes[cursor + 2]) << 8 | Int(bytes[cursor + 3])
                cursor += 4
                guard cursor + length <= opt.end else {
                    lines.append("; (an option is cut short)")
                    break
                }
                lines.append("; " + Self.option(code, Array(bytes[cursor..<(cursor + length)])))
                cursor += length
            }
            return lines
        }
    }

    private static func option(_ code: UInt16, _ data: [UInt8]) -> String {
        let hex = Base16.text(data)
        switch code {
        case EDNS.Option.extendedError where data.count >= 2:
            let error = ExtendedError(rawValue: UInt16(data[0]) << 8 | UInt16(data[1]))
            let text = data.dropFirst(2)
            return "EDE: \(error.rawValue) (\(error))" + (text.isEmpty ? "" : ": (\(printable(text)))")
        case EDNS.Option.cookie: return "COOKIE: \(hex)"
        case EDNS.Option.nsid: return "NSID: \(hex) (\"\(printable(data[...]))\")"
        case EDNS.Option.keepalive where data.count == 2:
            return "TCP KEEPALIVE: \((Int(data[0]) << 8 | Int(data[1])) / 10) secs"
        case EDNS.Option.padding: return "PADDING: (\(data.count) bytes)"
        default: return "OPT=\(code): \(hex)"
        }
    }

    /// Escapes bytes from the network: control and non-ASCII characters.
    private static func printable(_ bytes: ArraySlice<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            if (0x20...0x7E).contains(byte), byte != UInt8(ascii: "\\") {
                text.append(byte)
            } else {
                ASCII.appendEscaped(byte, to: &text)
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
