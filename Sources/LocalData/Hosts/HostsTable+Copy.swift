import DNSWire
import Platform

/// For a file that can't be read any more: its lines, from the table that was made when it could.
extension HostsTable {
    /// The files of `folder` that the table has lines of, in order.
    func files(in folder: String) -> [String] {
        let prefix = folder.hasSuffix("/") ? folder : folder + "/"
        return files.map { Place(file: $0, line: 0).path }.filter {
            $0.hasPrefix(prefix) && !$0.dropFirst(prefix.count).contains("/")
        }
    }

    /// Adds the lines of the file at `place` to `builder`, where it has the number `number`; false if the table does not
    /// know the file. Scans every name.
    func copyLines(of place: Place, to builder: inout HostsBuilder, _ number: UInt16) -> Bool {
        guard files.contains(place.file) else { return false }
        var lines: [Repetition] = repetitions.filter { files[Int($0.file)] == place.file }
        forEachName { offset, entry in
            forEachUse(entry) { use in
                guard files[Int(use.file)] == place.file else { return }
                let names = reverse[Int(reverseStart[Int(use.address)])..<Int(reverseStart[Int(use.address) + 1])]
                lines.append(
                    Repetition(
                        entry: offset, address: use.address, line: use.line, file: use.file,
                        isCanonical: names.contains(offset)))
            }
            return true
        }
        // As in the file: a line's canonical name is its first.
        lines.sort { ($0.line, $0.isCanonical ? 0 : 1, $0.entry) < ($1.line, $1.isCanonical ? 0 : 1, $1.entry) }
        for line in lines {
            _ = builder.add(
                name: entryName(line.entry), address: addresses[line.address], file: number, line: line.line,
                isCanonical: line.isCanonical)
        }
        return true
    }
}
