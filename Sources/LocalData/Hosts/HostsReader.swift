import DNSWire
import Glibc
public import Platform

/// Reads hosts files as found in the wild, from /etc/hosts to block lists written on Windows.
///
/// A bad line, or a bad name on it, is reported and skipped; the rest loads.
public struct HostsReader {
    public struct Result: Sendable {
        public let table: HostsTable
        public let diagnostics: Diagnostics
        /// Files read and folders listed: what to watch.
        public let watched: [String]
        /// Files read, with the number of lines used.
        public let files: [String]
        /// Those that can't be read, whose lines of an earlier table were used instead.
        public let kept: [String]
    }

    /// Reads files, and the files of folders in order of name. What can't be read keeps its lines in `last`.
    public static func load(paths: [String], settings: HostsSettings, last: HostsTable? = nil) -> Result {
        var diagnostics = Diagnostics()
        var watched: [String] = []
        var files: [String] = []
        for path in paths {
            watched.append(path)
            if let names = Folder.list(path) {
                for name in names {
                    files.append(path.hasSuffix("/") ? path + name : path + "/" + name)
                    watched.append(files[files.count - 1])
                }
            } else if !isFile(path), let known = last?.files(in: path), !known.isEmpty {
                diagnostics.error(Place(path: path), "is no folder that can be read; the last good lines stay")
                files += known
                watched += known
            } else {
                files.append(path)
            }
        }
        var size = 0
        for file in files {
            var status = stat()
            if stat(file, &status) == 0 { size += min(Int(status.st_size), FileText.maximumSize) }
        }
        var builder = HostsBuilder(settings: settings, expectedBytes: min(size, 1 << 28))
        let earlier = last.map { EarlierLines($0) }
        let kept = files.filter { !read($0, into: &builder, &diagnostics, earlier) }
        return Result(table: builder.build(), diagnostics: diagnostics, watched: watched, files: files, kept: kept)
    }

    private static func isFile(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }

    /// False if the lines are `earlier` ones.
    private static func read(
        _ path: String, into builder: inout HostsBuilder, _ diagnostics: inout Diagnostics, _ earlier: EarlierLines?
    ) -> Bool {
        let place = Place(path: path)
        guard let file = builder.addFile(place) else {
            diagnostics.error(place, "is not read: there are more than 65534 hosts files; join some of them")
            return true
        }
        let text: FileText
        do {
            text = try FileText(path: path)
        } catch {
            let isKept = earlier?.copy(of: place, to: &builder, file) == true
            diagnostics.error(
                place, "\(error); check the path and its permissions\(isKept ? "; its last good lines stay" : "")")
            return !isKept
        }
        if decode(text.bytes, { parse($0, place, file, into: &builder, &diagnostics) }) {
            diagnostics.warning(place.line(1), "is UTF-16; it was read, but other programs want UTF-8")
        }
        return true
    }

    /// Calls `body` with the text as UTF-8 without a byte order mark; returns whether it was UTF-16.
    static func decode(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Void) -> Bool {
        if bytes.starts(with: [0xFF, 0xFE] as [UInt8]) || bytes.starts(with: [0xFE, 0xFF] as [UInt8]) {
            let isLittle = bytes[0] == 0xFF
            var units: [UInt16] = []
            for index in 1..<(bytes.count / 2) {
                let first = UInt16(bytes[2 * index])
                let second = UInt16(bytes[2 * index + 1])
                units.append(isLittle ? first | second << 8 : first << 8 | second)
            }
            Array(String(decoding: units, as: UTF16.self).utf8).withUnsafeBytes { body($0) }
            return true
        }
        let hasMark = bytes.count >= 3 && bytes[0] == 0xEF && bytes[1] == 0xBB && bytes[2] == 0xBF
        body(hasMark ? UnsafeRawBufferPointer(rebasing: bytes[3...]) : bytes)
        return false
    }

    private static func parse(
        _ bytes: UnsafeRawBufferPointer, _ place: Place, _ file: UInt16, into builder: inout HostsBuilder,
        _ diagnostics: inout Diagnostics
    ) {
        withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { wire in
            forEachLine(bytes) { parseLine($0, place.line($1), file, wire, &builder, &diagnostics) }
        }
    }

    /// Calls `body` with each line, up to LF, CRLF or CR, and its number.
    @inline(__always)
    static func forEachLine(_ bytes: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer, Int) -> Void) {
        var cursor = 0
        var line = 1
        while cursor < bytes.count {
            var end = cursor
            while end < bytes.count, bytes[end] != 0x0A, bytes[end] != 0x0D { end += 1 }
            body(UnsafeRawBufferPointer(rebasing: bytes[cursor..<end]), line)
            if end + 1 < bytes.count, bytes[end] == 0x0D, bytes[end + 1] == 0x0A { end += 1 }
            cursor = end + 1
            line += 1
        }
    }

    static func parseLine(
        _ line: UnsafeRawBufferPointer, _ place: Place, _ file: UInt16, _ wire: UnsafeMutableRawBufferPointer,
        _ builder: inout HostsBuilder, _ diagnostics: inout Diagnostics
    ) {
        var cursor = 0
        guard let first = token(line, &cursor) else { return }
        let address: HostAddress
        switch parseAddress(first) {
        case .address(let parsed): address = parsed
        case .wrong(let why):
            diagnostics.error(place, why)
            return
        }
        var isCanonical = true
        var any = false
        while let text = token(line, &cursor) {
            any = true
            switch parseName(text, into: wire) {
            case .length(let length):
                // A wildcard can't be a canonical name.
                let isFirst = isCanonical && !(wire[0] == 1 && wire[1] == UInt8(ascii: "*"))
                if isFirst { isCanonical = false }
                let isKept = builder.add(
                    name: UnsafeRawBufferPointer(rebasing: wire[..<length]), address: address, file: file,
                    line: place.line, isCanonical: isFirst)
                if !isKept {
                    diagnostics.error(
                        place, "\(quoted(text)) has \(HostsBuilder.maximumAddresses) addresses already; remove some")
                }
            case .ignore: break
            case .wrong(let why): diagnostics.error(place, why)
            }
        }
        if !any { diagnostics.error(place, "has an address but no name; a line is ADDRESS NAME [NAME...]") }
    }

    static func token(_ line: UnsafeRawBufferPointer, _ cursor: inout Int) -> UnsafeRawBufferPointer? {
        while cursor < line.count, isBlank(line[cursor]) { cursor += 1 }
        guard cursor < line.count, line[cursor] != UInt8(ascii: "#") else { return nil }
        let start = cursor
        while cursor < line.count, !isBlank(line[cursor]), line[cursor] != UInt8(ascii: "#") { cursor += 1 }
        return UnsafeRawBufferPointer(rebasing: line[start..<cursor])
    }

    private static func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0C).contains(byte) }

    // MARK: Addresses

    enum ParsedAddress {
        case address(HostAddress)
        case wrong(String)
    }

    static func parseAddress(_ text: UnsafeRawBufferPointer) -> ParsedAddress {
        if let value = parseIPv4(text) {
            return .address(HostAddress(ipv4: value))
        }
        if text.contains(UInt8(ascii: "%")) {
            return .wrong(
                "\(quoted(text)) names an interface after %, which DNS can't carry; write the address alone")
        }
        if text.contains(UInt8(ascii: ":")), text.count <= 45 {
            var six = in6_addr()
            let parsed = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
                for (index, byte) in text.enumerated() { buffer[index] = CChar(bitPattern: byte) }
                buffer[text.count] = 0
                guard !text.contains(0), let base = buffer.baseAddress else { return false }
                return inet_pton(AF_INET6, base, &six) == 1
            }
            if parsed {
                let (high, low) = withUnsafeBytes(of: &six) {
                    (
                        UInt64(bigEndian: $0.loadUnaligned(as: UInt64.self)),
                        UInt64(bigEndian: $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                    )
                }
                return .address(HostAddress(ipv6: high, low))
            }
        }
        if text.contains(where: { $0 != UInt8(ascii: ".") && !ASCII.isDigit($0) }) == false {
            return .wrong(
                "\(quoted(text)) is not an IPv4 address: four decimal numbers up to 255, without leading zeros")
        }
        return .wrong("\(quoted(text)) is not an IP address; a line is ADDRESS NAME [NAME...]")
    }

    private static func parseIPv4(_ text: UnsafeRawBufferPointer) -> UInt32? {
        guard text.count >= 7, text.count <= 15 else { return nil }
        var value: UInt32 = 0
        var octet: UInt32 = 0
        var digits = 0
        var dots = 0
        for byte in text {
            if byte == UInt8(ascii: ".") {
                guard digits > 0, dots < 3 else { return nil }
                value = value << 8 | octet
                octet = 0
                digits = 0
                dots += 1
            } else {
                // Some parsers read a leading zero as octal, others as decimal.
                guard ASCII.isDigit(byte), !(digits > 0 && octet == 0) else { return nil }
                octet = octet * 10 + UInt32(byte - 48)
                digits += 1
                guard octet <= 255 else { return nil }
            }
        }
        return dots == 3 && digits > 0 ? value << 8 | octet : nil
    }

    // MARK: Names

    enum ParsedName {
        case length(Int)
        /// Has no meaning, as the name in `0.0.0.0 0.0.0.0` of block lists.
        case ignore
        case wrong(String)
    }

    /// Writes the folded wire form of a host name to `wire` (256 bytes).
    static func parseName(
        _ text: UnsafeRawBufferPointer, into wire: UnsafeMutableRawBufferPointer
    ) -> ParsedName {
        var length = 1
        var labelStart = 0
        var allDigits = true
        for (index, byte) in text.enumerated() {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"):
                allDigits = false
            case UInt8(ascii: "0")...UInt8(ascii: "9"): break
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): allDigits = false
            case UInt8(ascii: "*"):
                allDigits = false
                guard index == 0, text.count > 2, text[1] == UInt8(ascii: ".") else {
                    return .wrong("\(quoted(text)) has a * that is not its whole first label; write *.example.test")
                }
            case UInt8(ascii: "."):
                guard length - labelStart > 1 else {
                    return .wrong("\(quoted(text)) has an empty label; remove the extra dot")
                }
                wire[labelStart] = UInt8(length - labelStart - 1)
                labelStart = length
                guard length < Name.maximumLength else { return .wrong("\(quoted(text)) is longer than 255 bytes") }
                length += 1
                continue
            case 0x80...0xFF: return parseInternational(text, into: wire)
            case UInt8(ascii: ":"):
                guard case .address(let address) = parseAddress(text) else { return .wrong(notAHostName(text)) }
                return address.isUnspecified ? .ignore : .wrong(addressAsName(text))
            default:
                return .wrong(notAHostName(text))
            }
            guard length - labelStart <= Name.maximumLabelLength else {
                return .wrong("\(quoted(text)) has a label longer than 63 bytes")
            }
            guard length < Name.maximumLength else { return .wrong("\(quoted(text)) is longer than 255 bytes") }
            wire[length] = ASCII.lowercased(byte)
            length += 1
        }
        let isRooted = length - labelStart == 1
        if allDigits, let address = parseIPv4(UnsafeRawBufferPointer(rebasing: text.dropLast(isRooted ? 1 : 0))) {
            return address == 0 ? .ignore : .wrong(addressAsName(text))
        }
        if isRooted {
            // After a trailing dot the last label is empty: the root.
            wire[labelStart] = 0
            return .length(length)
        }
        wire[labelStart] = UInt8(length - labelStart - 1)
        guard length < Name.maximumLength else { return .wrong("\(quoted(text)) is longer than 255 bytes") }
        wire[length] = 0
        return .length(length + 1)
    }

    private static func notAHostName(_ text: UnsafeRawBufferPointer) -> String {
        "\(quoted(text)) is not a host name: letters, digits, '-', '_' and dots, or '*.' in front"
    }

    private static func addressAsName(_ text: UnsafeRawBufferPointer) -> String {
        "\(quoted(text)) is an address where a name should be; one address per line"
    }

    /// A name with non-ASCII letters, as A-labels.
    private static func parseInternational(
        _ text: UnsafeRawBufferPointer, into wire: UnsafeMutableRawBufferPointer
    ) -> ParsedName {
        guard text.count <= 4 * Name.maximumLength else { return .wrong("\(quoted(text)) is longer than 255 bytes") }
        guard let string = String(validating: text, as: UTF8.self) else {
            return .wrong("\(quoted(text)) is neither ASCII nor UTF-8; save the file as UTF-8")
        }
        guard let ascii = InternationalName.toASCII(string) else {
            return .wrong("\(quoted(text)) can't be written as an internationalized domain name (RFC 5891)")
        }
        return Array(ascii.utf8).withUnsafeBytes { parseName($0, into: wire) }
    }
}

/// The files of a folder that programs share: `hosts.d` and the like.
public enum Folder {
    /// Names in order, without hidden files and editors' backups; nil if `path` is not a folder.
    public static func list(_ path: String) -> [String]? {
        guard let folder = opendir(path) else { return nil }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            let skipped = [".bak", ".swp", ".tmp", ".orig", ".dpkg-old", ".dpkg-dist", ".dpkg-new", "~"]
            if name.hasPrefix(".") || skipped.contains(where: { name.hasSuffix($0) }) { continue }
            var status = stat()
            guard stat(path + "/" + name, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { continue }
            names.append(name)
        }
        return names.sorted()
    }
}
