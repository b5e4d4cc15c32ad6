public import DNSWire
import Glibc
public import Platform

/// For `why`: reads the files again for lines that the table does not keep.
extension HostsReader {
    /// The lines of `files` about `name`: those that have the name, and wildcards above it; `limit` at most.
    ///
    /// Files that came through a pipe can't be read again and are left out.
    public static func lines(about name: Name, in files: [String], limit: Int = 100) -> [HostsTable.Line] {
        var wanted = [name.canonicalWire]
        var ancestor = Name(uncheckedWire: name.canonicalWire).parent
        while let above = ancestor, !above.isRoot {
            wanted.append([1, UInt8(ascii: "*")] + above.wire)
            ancestor = above.parent
        }
        // The text is as long as the wire form without the first length byte and the root, plus an optional final dot.
        let lengths = Set(wanted.flatMap { [$0.count - 2, $0.count - 1] })
        var lines: [HostsTable.Line] = []
        for path in files where lines.count < limit && isRegular(path) {
            guard let text = try? FileText(path: path) else { continue }
            let place = Place(path: path)
            _ = decode(text.bytes) { bytes in
                withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { wire in
                    forEachLine(bytes) { line, number in
                        guard lines.count < limit else { return }
                        scan(line, place.line(number), wanted, lengths, wire, &lines)
                    }
                }
            }
        }
        return lines
    }

    private static func scan(
        _ line: UnsafeRawBufferPointer, _ place: Place, _ wanted: [[UInt8]], _ lengths: Set<Int>,
        _ wire: UnsafeMutableRawBufferPointer, _ lines: inout [HostsTable.Line]
    ) {
        var cursor = 0
        guard let first = token(line, &cursor) else { return }
        while let text = token(line, &cursor) {
            guard lengths.contains(text.count) || text.contains(where: { $0 >= 0x80 }),
                case .length(let length) = parseName(text, into: wire)
            else { continue }
            let found = wanted.first { candidate in
                candidate.elementsEqual(UnsafeRawBufferPointer(rebasing: wire[..<length]))
            }
            guard let found, case .address(let address) = parseAddress(first) else { continue }
            lines.append(
                HostsTable.Line(
                    address: address.text, isIPv6: address.isIPv6, place: place, name: Name(uncheckedWire: found)))
        }
    }

    private static func isRegular(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
    }
}

/// For overrides that come from no file.
extension HostsReader {
    /// The most addresses that one name may have.
    public static let maximumAddresses = HostsBuilder.maximumAddresses

    /// The table of these numbered lines; `path` is shown as their file.
    public static func table(
        _ lines: [(text: [UInt8], number: Int)], path: String, settings: HostsSettings
    ) -> (table: HostsTable, names: [Name], diagnostics: Diagnostics) {
        var builder = HostsBuilder(settings: settings)
        var diagnostics = Diagnostics()
        var names: [Name] = []
        let place = Place(path: path)
        guard let file = builder.addFile(place) else { return (builder.build(), [], diagnostics) }
        withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { wire in
            for line in lines {
                line.text.withUnsafeBytes { text in
                    parseLine(text, place.line(line.number), file, wire, &builder, &diagnostics)
                    var cursor = 0
                    guard token(text, &cursor) != nil, let word = token(text, &cursor),
                        case .length(let length) = parseName(word, into: wire)
                    else { return }
                    let name = Name(uncheckedWire: Array(wire[..<length]))
                    if names.last != name { names.append(name) }
                }
            }
        }
        return (builder.build(), names, diagnostics)
    }

    /// The name that a word of a line stands for; nil if it is not a name.
    public static func name(_ word: String) -> Name? {
        withUnsafeTemporaryAllocation(byteCount: 256, alignment: 8) { wire in
            Array(word.utf8).withUnsafeBytes { text in
                guard !text.isEmpty, case .length(let length) = parseName(text, into: wire) else { return nil }
                return Name(uncheckedWire: Array(wire[..<length]))
            }
        }
    }
}
