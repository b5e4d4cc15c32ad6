import DNSWire
import Glibc
import Lookup
import Platform

/// Writes the reason of an answer as the text of an extended error: `zone zones/acme.org.zone:9`, `cache`; for a chain,
/// that of each name: `www: zone acme.org.zone:8; over: hosts hosts:1`.
///
/// Printable ASCII and no longer than `mostBytes`. Allocates nothing.
/// - RFC: 8914 4.1: "Other" is for errors that need a text.
struct ReasonText {
    static let mostBytes = 200

    private let target: UnsafeMutableRawPointer
    private let limit: Int
    private(set) var count = 0
    /// The text did not fit.
    private(set) var isCut = false

    /// Writes to `target`, `limit` bytes at most.
    init(to target: UnsafeMutableRawPointer, limit: Int) {
        self.target = target
        self.limit = min(limit, Self.mostBytes)
    }

    /// Writes the reason of `decision`; nothing if no source answered.
    mutating func write(
        _ decision: borrowing Decision, _ faults: borrowing Faults, _ response: UnsafeRawBufferPointer, hasNames: Bool,
        _ paths: PathTexts,
        upstream: borrowing [[UInt8]]
    ) {
        defer {
            if decision.masked { append(", masked") }
            if decision.privateAnswer == .passed { append(", private address") }
            if !faults.isEmpty { appendFaults(faults, paths) }
        }
        if decision.hopCount == 0 || !hasNames {
            appendSource(decision.source, decision.place, paths)
            if decision.source == .upstream { appendServer(decision, upstream) }
            return
        }
        var last = decision.hopCount
        while last > 0, decision.hop(last - 1).source != .upstream { last -= 1 }
        for index in 0..<decision.hopCount {
            let hop = decision.hop(index)
            if index > 0 { append("; ") }
            appendLabel(response, at: Int(hop.nameOffset))
            append(": ")
            appendSource(hop.source, hop.place, paths)
            // Of several servers only the last is known.
            if index == last - 1 { appendServer(decision, upstream) }
        }
    }

    /// `, delay slow.rules:3`
    @inline(never)
    private mutating func appendFaults(_ faults: borrowing Faults, _ paths: PathTexts) {
        for index in 0..<faults.count {
            let entry = faults.entry(index)
            append(",")
            for (action, word) in Faults.Actions.words where entry.actions.contains(action) {
                append(" ")
                append(word)
            }
            appendPlace(entry.place, paths)
        }
    }

    /// The source, and the place of its line.
    private mutating func appendSource(_ source: SourceKind, _ place: Place, _ paths: PathTexts) {
        if source != .none { append(source.word) }
        appendPlace(place, paths)
    }

    private mutating func appendPlace(_ place: Place, _ paths: PathTexts) {
        guard let path = paths[place.file] else { return }
        append(UInt8(ascii: " "))
        append(path)
        guard place.line > 0 else { return }
        append(UInt8(ascii: ":"))
        append(decimal: place.line)
    }

    /// ` 10.0.0.53:53 11.2 ms`
    private mutating func appendServer(_ decision: borrowing Decision, _ upstream: borrowing [[UInt8]]) {
        let number = Int(decision.upstream)
        guard number >= 0, number < upstream.count else { return }
        append(" ")
        append(decision.upstreamTransport.scheme)
        upstream[number].withUnsafeBytes { append($0) }
        append(UInt8(ascii: " "))
        let tenths = decision.upstreamMicroseconds / 100
        append(decimal: tenths / 10)
        append(UInt8(ascii: "."))
        append(decimal: tenths % 10)
        append(" ms")
    }

    /// The first label of the name at `offset`, which suffices to tell a chain's names apart.
    private mutating func appendLabel(_ response: UnsafeRawBufferPointer, at offset: Int) {
        guard offset < response.count else { return }
        let length = Int(response[offset])
        guard length < 0xC0, offset + length < response.count else { return }
        if length == 0 { append(UInt8(ascii: ".")) }
        for index in (offset + 1)..<(offset + 1 + length) {
            append((0x21...0x7E).contains(response[index]) ? response[index] : UInt8(ascii: "?"))
        }
    }

    // MARK: Bytes

    mutating func append(_ byte: UInt8) {
        guard count < limit else {
            isCut = true
            return
        }
        target.storeBytes(of: byte, toByteOffset: count, as: UInt8.self)
        count += 1
    }

    mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { append(byte) }
    }

    private mutating func append(decimal value: UInt32) {
        var divisor: UInt32 = 1
        while value / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
            append(UInt8(ascii: "0") + UInt8(value / divisor % 10))
            divisor /= 10
        }
    }

    /// Ends a shortened text with dots.
    mutating func markCut() {
        guard isCut, count >= 3 else { return }
        count -= 3
        isCut = false
        append("...")
    }
}

/// The paths of all places, by `Place.file`, as printable ASCII, which serving threads copy without a lock.
///
/// `@unchecked`: written once, before it is shared; freed by the snapshot that owns it.
struct PathTexts: @unchecked Sendable, BitwiseCopyable {
    private let bytes: UnsafeMutableRawPointer
    /// Where each path starts, plus the end of the last.
    private let starts: UnsafeMutablePointer<UInt32>
    private let count: Int

    /// Longer paths lose their start: the end is more useful.
    private static let longest = 120

    init(_ paths: [String] = Place.paths) {
        var all: [UInt8] = []
        count = paths.count
        starts = .allocate(capacity: count + 1)
        for (number, path) in paths.enumerated() {
            starts[number] = UInt32(all.count)
            var text: [UInt8] = []
            for byte in path.utf8 {
                if (0x20...0x7E).contains(byte) { text.append(byte) } else { ASCII.appendEscaped(byte, to: &text) }
            }
            all += text.count <= Self.longest ? text : "...".utf8 + text.suffix(Self.longest - 3)
        }
        starts[count] = UInt32(all.count)
        bytes = .allocate(byteCount: max(all.count, 1), alignment: 1)
        all.withUnsafeBytes { if let base = $0.baseAddress { bytes.copyMemory(from: base, byteCount: $0.count) } }
    }

    func deallocate() {
        bytes.deallocate()
        starts.deallocate()
    }

    /// Nil for nowhere, and for files named after this snapshot was made.
    subscript(file: UInt32) -> UnsafeRawBufferPointer? {
        guard file > 0, file < count else { return nil }
        let start = Int(starts[Int(file)])
        return UnsafeRawBufferPointer(start: bytes + start, count: Int(starts[Int(file) + 1]) - start)
    }
}
