import Glibc
package import Platform

/// Whether and how a cassette is used.
package struct CassetteSettings: Sendable, Hashable {
    /// The file to record.
    package var record: String?
    /// The file to replay.
    package var replay: String?
    package var unknown = Cassette.Unknown.fail
    package var timing = Cassette.Timing.none

    package init() {}

    package var isUsed: Bool { record != nil || replay != nil }
    /// Nothing is asked of any server.
    package var isOffline: Bool { replay != nil && unknown == .fail }

    /// Problems with the file to replay, or to record to.
    package func check() -> Diagnostics {
        var diagnostics = Diagnostics()
        if let replay { diagnostics.append(contentsOf: CassetteReader.read(path: replay).diagnostics) }
        checkTarget(&diagnostics)
        return diagnostics
    }

    /// Opens the cassette; nil with an error in `diagnostics` if it can't be used, or if none is to be.
    ///
    /// - Parameter changed: see `Cassette.save`.
    package func open(_ diagnostics: inout Diagnostics, changed: @escaping @Sendable () -> Void) -> Cassette? {
        checkTarget(&diagnostics)
        if let replay {
            let read = CassetteReader.read(path: replay)
            diagnostics.append(contentsOf: read.diagnostics)
            guard let tape = read.tape, !diagnostics.hasErrors else { return nil }
            return Cassette(playing: tape, of: replay, unknown: unknown, timing: timing, changed: changed)
        }
        guard let record, !diagnostics.hasErrors else { return nil }
        return Cassette(recording: record, changed: changed)
    }

    /// What is recorded must not take the place of something else, nor be lost at the end.
    private func checkTarget(_ diagnostics: inout Diagnostics) {
        guard let path = record ?? (unknown == .record ? replay : nil) else { return }
        let place = Place(path: path)
        if access(path, F_OK) == 0 {
            do throws(FileText.Failure) {
                guard record != nil else { return checkFolder(path, &diagnostics) }
                let file = try FileText(path: path, limit: CassetteTape.largestFile, acceptsPipes: false)
                guard file.bytes.isEmpty || file.bytes.starts(with: CassetteText.mark.utf8) else {
                    return diagnostics.error(
                        place,
                        "this is another file than a cassette, and is not overwritten; name another, or remove it")
                }
            } catch {
                return diagnostics.error(place, "\(error); name another file for the cassette")
            }
        }
        checkFolder(path, &diagnostics)
    }

    private func checkFolder(_ path: String, _ diagnostics: inout Diagnostics) {
        let folder = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        // As the user who will write, who need not be the one who started this.
        guard faccessat(AT_FDCWD, folder, W_OK | X_OK, AT_EACCESS) != 0 else { return }
        let reason = String(cString: strerror(errno))
        diagnostics.error(
            Place(path: path),
            "the cassette can't be written in \(quoted(folder.utf8)): \(reason); name a file in a folder of this user's"
        )
    }
}
