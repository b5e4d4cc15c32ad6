public import DNSWire
public import Platform

/// For display: the overrides as the lines of their files.
extension HostsTable {
    /// One line that gives a name an address.
    public struct Line: Sendable, Hashable {
        public let address: String
        public let isIPv6: Bool
        public let place: Place
        /// The name as written on the line, including `*`.
        public let name: Name
    }

    /// All lines that govern `name`, in file order.
    public func lines(for name: Name) -> [Line] {
        var lookup = LookupName()
        lookup.assign(name)
        guard let override = find(lookup) else { return [] }
        var lines: [Line] = []
        appendLines(at: override, to: &lines)
        return lines
    }

    /// The lines whose names match `pattern`, in file order, `limit` at most; and whether there are more. Scans every
    /// name: not for serving threads.
    public func lines(matching pattern: NameSearch, limit: Int) -> (lines: [Line], hasMore: Bool) {
        var lines: [Line] = []
        forEachName { offset, _ in
            if pattern.matches(entryName(offset)) { appendLines(at: offset, to: &lines) }
            return lines.count <= limit
        }
        return (Array(lines.prefix(limit)), lines.count > limit)
    }

    /// By `Place.file`: how many names get their first address from that file. Scans every name.
    public func namesByFile() -> [UInt32: Int] {
        var counts = [Int](repeating: 0, count: files.count)
        forEachName { _, entry in
            counts[Int(entry.file)] += 1
            return true
        }
        // A file named twice in the configuration is read twice.
        return Dictionary(zip(files, counts), uniquingKeysWith: +)
    }

    /// Calls `body` in order of first appearance, until it returns false.
    func forEachName(_ body: (UInt32, Entry) -> Bool) {
        var offset = 0
        while offset < arenaLength {
            let entry = entry(UInt32(offset))
            if entry.kind != .emptyNonTerminal, !body(UInt32(offset), entry) { return }
            offset += Entry.size + Int(entry.nameLength)
        }
    }

    private func appendLines(at offset: UInt32, to lines: inout [Line]) {
        let name = Name(uncheckedWire: Array(entryName(offset)))
        forEachUse(entry(offset)) { use in
            let address = addresses[use.address]
            lines.append(
                Line(address: address.text, isIPv6: address.isIPv6, place: place(use.file, use.line), name: name))
        }
    }
}
