import DNSWire
import Platform

extension HostsTable {
    /// The files of `folder` that the table has lines of, in order.
    func files(in folder: String) -> [String] {
        let prefix = folder.hasSuffix("/") ? folder : folder + "/"
        return files.map { Place(file: $0, line: 0).path }.filter {
            $0.hasPrefix(prefix) && !$0.dropFirst(prefix.count).contains("/")
        }
    }

    /// All lines by file, each file's as it has them. Scans every name.
    fileprivate func linesByFile() -> [UInt16: [Repetition]] {
        var lines = Dictionary(grouping: repetitions, by: \.file)
        forEachName { offset, entry in
            forEachUse(entry) { use in
                let names = reverse[Int(reverseStart[Int(use.address)])..<Int(reverseStart[Int(use.address) + 1])]
                lines[use.file, default: []].append(
                    Repetition(
                        entry: offset, address: use.address, line: use.line, file: use.file,
                        isCanonical: names.contains(offset)))
            }
            return true
        }
        // As in the file: a line's canonical name is its first.
        return lines.mapValues { lines in
            lines.sorted { ($0.line, $0.isCanonical ? 0 : 1, $0.entry) < ($1.line, $1.isCanonical ? 0 : 1, $1.entry) }
        }
    }
}

/// For files that can't be read any more: their lines, from the table that was made when they could.
final class EarlierLines {
    private let table: HostsTable
    private lazy var lines = table.linesByFile()

    init(_ table: HostsTable) { self.table = table }

    /// Adds the lines of the file at `place` to `builder`, where it has the number `number`; false if the table does not
    /// know the file.
    func copy(of place: Place, to builder: inout HostsBuilder, _ number: UInt16) -> Bool {
        guard let earlier = table.files.firstIndex(of: place.file) else { return false }
        for line in lines[UInt16(earlier)] ?? [] {
            _ = builder.add(
                name: table.entryName(line.entry), address: table.addresses[line.address], file: number,
                line: line.line, isCanonical: line.isCanonical)
        }
        return true
    }
}
