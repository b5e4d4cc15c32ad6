import DNSWire
import Glibc
import LDNS
import Lookup
import Platform

/// The parts of a record as text, shared by all forms: always printable ASCII, so that no name or data from the network
/// can end or forge a line, or send control sequences to a terminal.
///
/// JSON doubles each backslash of the presentation form and escapes quotes: `\032` becomes `"\\032"`.
extension LineBuffer {
    enum Quoting: Sendable { case plain, json }

    /// One literal byte of text, escaped if the line requires it.
    @inline(__always)
    mutating func append(text byte: UInt8, _ quoting: Quoting) {
        switch byte {
        case UInt8(ascii: "\\"), UInt8(ascii: "\""):
            if quoting == .json { append(UInt8(ascii: "\\")) }
            append(byte)
        case 0x20...0x7E: append(byte)
        default: appendNumber(byte, quoting)
        }
    }

    /// `\DDD`.
    private mutating func appendNumber(_ byte: UInt8, _ quoting: Quoting) {
        append(text: UInt8(ascii: "\\"), quoting)
        append(decimal: UInt32(byte), digits: 3)
    }

    mutating func append(text: UnsafeRawBufferPointer, _ quoting: Quoting) {
        for byte in text { append(text: byte, quoting) }
    }

    mutating func append(text: String, _ quoting: Quoting) {
        for byte in text.utf8 { append(text: byte, quoting) }
    }

    /// Keeps letters of all languages; invisible and bidirectional control characters become `\u{202e}`.
    mutating func append(path: String, _ quoting: Quoting) {
        for scalar in path.unicodeScalars {
            if scalar.isASCII {
                append(text: UInt8(truncatingIfNeeded: scalar.value), quoting)
                continue
            }
            switch scalar.properties.generalCategory {
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
                append(text: "\\u{\(String(scalar.value, radix: 16))}", quoting)
            default:
                for byte in UTF8.encode(scalar).unsafelyUnwrapped { append(byte) }
            }
        }
    }

    /// The name at `offset` in presentation form; nothing if it is invalid.
    mutating func append(nameIn message: UnsafeRawBufferPointer, at offset: Int, _ quoting: Quoting) {
        guard MessageReader.endOfName(message, at: offset) != nil else { return }
        // `endOfName` has checked it: labels are inside the message, and pointers go backwards.
        var cursor = offset
        if message[cursor] == 0 { return append(UInt8(ascii: ".")) }
        while true {
            let length = Int(message[cursor])
            if length >= 0xC0 {
                cursor = (length & 0x3F) << 8 | Int(message[cursor + 1])
                if message[cursor] == 0 { return }
                continue
            }
            if length == 0 { return }
            for index in (cursor + 1)...(cursor + length) {
                let byte = message[index]
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"):
                    append(byte)
                case UInt8(ascii: "."), UInt8(ascii: "\\"), UInt8(ascii: "\""), UInt8(ascii: ";"),
                    UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "@"), UInt8(ascii: "$"):
                    append(text: UInt8(ascii: "\\"), quoting)
                    append(text: byte, quoting)
                case 0x21...0x7E: append(byte)
                default: appendNumber(byte, quoting)
                }
            }
            append(UInt8(ascii: "."))
            cursor += length + 1
        }
    }

    /// `OWNER TTL CLASS TYPE RDATA`.
    mutating func append(
        _ record: MessageReader.Record, in message: UnsafeRawBufferPointer, _ quoting: Quoting
    ) {
        append(nameIn: message, at: record.start, quoting)
        append(UInt8(ascii: " "))
        append(decimal: record.ttl)
        append(UInt8(ascii: " "))
        append(record.recordClass)
        append(UInt8(ascii: " "))
        append(record.type)
        append(UInt8(ascii: " "))
        append(dataOf: record, in: message, quoting)
    }

    /// RDATA in presentation form.
    mutating func append(
        dataOf record: MessageReader.Record, in message: UnsafeRawBufferPointer, _ quoting: Quoting
    ) {
        let base = message.baseAddress.unsafelyUnwrapped
        switch record.type {
        case .a where record.rdataLength == 4 && record.recordClass == .in:
            return append(ipv4: base.readUInt32(record.rdata))
        case .aaaa where record.rdataLength == 16:
            let groups = (base + record.rdata)
            return append(
                ipv6High: UInt64(groups.readUInt32(0)) << 32 | UInt64(groups.readUInt32(4)),
                low: UInt64(groups.readUInt32(8)) << 32 | UInt64(groups.readUInt32(12)))
        case .cname, .ptr, .ns, .dname:
            if MessageReader.endOfName(message, at: record.rdata) == record.end {
                return append(nameIn: message, at: record.rdata, quoting)
            }
        default: break
        }
        var rdata: [UInt8] = []
        // Malformed RDATA is shown as raw bytes.
        let isWhole = MessageReader.expandRDATA(message, record, into: &rdata)
        if !isWhole { rdata = Array(message[record.rdata..<record.end]) }
        append(
            text: isWhole
                ? Presentation.text(rdata: rdata, type: record.type)
                : Presentation.text(rdata: rdata, type: Self.unknownType), quoting)
    }

    /// A type without its own text form: `\# LENGTH HEX`.
    private static let unknownType = RecordType(rawValue: 65_280)

    /// `ADDRESS:PORT`, an IPv6 address in brackets.
    mutating func append(_ address: SocketAddress) {
        if address.isIPv6 {
            append(UInt8(ascii: "["))
            append(ipv6High: address.high, low: address.low)
            if address.scope != 0 {
                append(UInt8(ascii: "%"))
                append(decimal: address.scope)
            }
            append(UInt8(ascii: "]"))
        } else {
            append(ipv4: UInt32(truncatingIfNeeded: address.low))
        }
        append(UInt8(ascii: ":"))
        append(decimal: address.port)
    }

    mutating func append(_ type: RecordType) {
        switch type {
        case .a: append("A")
        case .aaaa: append("AAAA")
        case .https: append("HTTPS")
        case .cname: append("CNAME")
        case .ptr: append("PTR")
        case .txt: append("TXT")
        case .mx: append("MX")
        case .ns: append("NS")
        case .soa: append("SOA")
        case .srv: append("SRV")
        default: append(text: type.description, .plain)
        }
    }

    mutating func append(_ recordClass: RecordClass) {
        if recordClass == .in { append("IN") } else { append(text: recordClass.description, .plain) }
    }

    mutating func append(_ code: ResponseCode) {
        switch code {
        case .noError: append("NOERROR")
        case .nxDomain: append("NXDOMAIN")
        case .serverFailure: append("SERVFAIL")
        default: append(text: code.description, .plain)
        }
    }
}

extension LookupRecord {
    /// The query's flags: first those a query may set, then the others.
    @inline(__always)
    func forEachFlag(_ body: (StaticString) -> Void) {
        let flags = flags
        if flags.contains(.recursionDesired) { body("rd") }
        if flags.contains(.authenticData) { body("ad") }
        if flags.contains(.checkingDisabled) { body("cd") }
        if dnssecOK { body("do") }
        if flags.contains(.authoritative) { body("aa") }
        if flags.contains(.truncated) { body("tc") }
        if flags.contains(.recursionAvailable) { body("ra") }
    }
}

/// Caches the paths of places, which are needed again and again, by number.
struct PlaceTexts: Sendable {
    private var paths: [[UInt8]?] = []
    private let quoting: LineBuffer.Quoting

    init(_ quoting: LineBuffer.Quoting) { self.quoting = quoting }

    /// Appends `FILE:LINE`, or `FILE` for a whole file.
    mutating func append(_ place: Place, to line: inout LineBuffer) {
        let file = Int(place.file)
        if file >= paths.count { paths += Array(repeating: nil, count: file + 1 - paths.count) }
        if let path = paths[file] {
            line.append(path)
        } else {
            var text = LineBuffer(capacity: 256)
            text.append(path: place.path, quoting)
            let path = Array(text.bytes)
            paths[file] = path
            line.append(path)
        }
        guard place.line > 0 else { return }
        line.append(UInt8(ascii: ":"))
        line.append(decimal: place.line)
    }
}

/// The upstream servers, by the index in records.
struct UpstreamTexts: Sendable {
    private let names: [[UInt8]]
    private let end: StaticString

    init(_ names: [String] = [], _ quoting: LineBuffer.Quoting) {
        let quote: StaticString = quoting == .json ? "\"" : ""
        self.names = names.map { name in
            var text = LineBuffer(capacity: 64)
            text.append(quote)
            text.append(path: name, quoting)
            return Array(text.bytes)
        }
        end = quote
    }

    /// Appends `ADDR:PORT/TRANSPORT`, as a string in JSON; false if the answer came from no server in the list.
    func append(_ record: LookupRecord, to line: inout LineBuffer) -> Bool {
        guard let index = record.upstream, names.indices.contains(index) else { return false }
        line.append(names[index])
        line.append(UInt8(ascii: "/"))
        line.append(record.upstreamTransport.word)
        line.append(end)
        return true
    }
}

/// Caches the texts of processes: a few ask again and again.
struct ProcessTexts {
    private struct Known {
        var number: UInt32 = 0
        var text: [UInt8] = []
    }

    /// By the low bits of the process's number.
    private var known = [Known](repeating: Known(), count: 64)
    private let quoting: LineBuffer.Quoting

    init(_ quoting: LineBuffer.Quoting) { self.quoting = quoting }

    /// Appends the command in plain form, the member `process` in JSON; nothing if the process is unknown.
    mutating func append(_ record: LookupRecord, before mark: StaticString = "", to line: inout LineBuffer) {
        let number = record.processNumber
        guard number > 0 else { return }
        let index = Int(number) & (known.count - 1)
        if known[index].number != number { known[index] = Known(number: number, text: text(of: record)) }
        guard !known[index].text.isEmpty else { return }
        line.append(mark)
        line.append(known[index].text)
    }

    private func text(of record: LookupRecord) -> [UInt8] {
        guard let process = record.process else { return [] }
        var text = LineBuffer(capacity: 128)
        switch quoting {
        case .plain: text.append(path: process.command, .plain)
        case .json:
            text.append(",\"process\":{\"pid\":")
            text.append(decimal: UInt32(clamping: process.pid))
            text.append(",\"command\":\"")
            text.append(path: process.command, .json)
            text.append("\"}")
        }
        return Array(text.bytes)
    }
}

/// Formats times of lookups, many of which share a second: `2026-11-23T17:00:00.123456Z`.
struct ClockText {
    private var second: UInt64 = .max
    /// `2026-11-23T17:00:00` of `second`.
    private var text: [UInt8] = []

    /// - Parameter time: microseconds since 1970.
    mutating func append(_ time: UInt64, to line: inout LineBuffer) {
        let second = time / 1_000_000
        if second != self.second {
            self.second = second
            let time = CalendarTime(seconds: Int(second))
            text = Array("\(time.date)T\(time.time)".utf8)
        }
        line.append(text)
        line.append(UInt8(ascii: "."))
        line.append(decimal: UInt32(truncatingIfNeeded: time % 1_000_000), digits: 6)
        line.append(UInt8(ascii: "Z"))
    }
}
