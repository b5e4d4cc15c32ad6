import CLinux
public import DNSWire
import Glibc
import Lookup
import Platform

/// All overrides, compiled: immutable, with one arena, one hash index and no object per name.
///
/// A name costs 12 bytes plus its own length, and 11 in the index: block lists of a million lines are common.
/// `HostsBuilder` builds it, `HostsSource.swift` answers from it.
public final class HostsTable: Sendable {
    /// One line that gives a name an address.
    struct AddressUse: Sendable, BitwiseCopyable {
        var address: UInt32
        var line: UInt32
        var file: UInt16
        /// More uses of the same name follow.
        var more: Bool
    }

    /// A line that adds nothing to that of another file. It is kept for when the other file loses its line while this
    /// one can't be read.
    struct Repetition: Sendable, BitwiseCopyable {
        var entry: UInt32
        var address: UInt32
        var line: UInt32
        var file: UInt16
        var isCanonical: Bool
    }

    /// A name's entry in the arena, followed by its folded wire form.
    struct Entry: BitwiseCopyable {
        /// The only address, or, if `kind` is `.multi`, where its uses start.
        var value: UInt32
        var line: UInt32
        var file: UInt16
        var nameLength: UInt8
        var kind: Kind

        enum Kind: UInt8, BitwiseCopyable {
            case single, multi
            /// Not an override itself. Names below it exist, so a wildcard above does not apply (RFC 4592 2.2.2).
            case emptyNonTerminal
        }

        static let size = 12
        var place: (file: UInt16, line: UInt32) { (file, line) }
    }

    public let settings: HostsSettings
    /// Names that were given an address, wildcards included.
    public let nameCount: Int
    public let wildcardCount: Int
    public var addressCount: Int { addresses.count }

    // The builder writes it before the table is shared; nothing writes it afterwards.
    nonisolated(unsafe) let arena: UnsafeMutableRawPointer
    let arenaLength: Int
    /// Offsets of entries in the arena, by their names.
    private let index: HashIndex
    let addresses: AddressTable
    let uses: [AddressUse]
    /// Canonical names (entry offsets) by address: those of address `a` are `reverse[reverseStart[a]..<reverseStart[a + 1]]`.
    let reverse: [UInt32]
    let reverseStart: [UInt32]
    /// `Place.file` of each of the table's files.
    let files: [UInt32]
    let repetitions: [Repetition]
    /// RDATA of the SOA in negative answers.
    let negativeSOA: [UInt8]

    init(
        settings: HostsSettings, arena: UnsafeMutableRawPointer, arenaLength: Int, index: HashIndex,
        names: Int, wildcards: Int, addresses: AddressTable, uses: [AddressUse],
        reverse: [UInt32], reverseStart: [UInt32], files: [UInt32], repetitions: [Repetition]
    ) {
        self.settings = settings
        self.arena = arena
        self.arenaLength = arenaLength
        self.index = index
        nameCount = names
        wildcardCount = wildcards
        self.addresses = addresses
        self.uses = uses
        self.reverse = reverse
        self.reverseStart = reverseStart
        self.files = files
        self.repetitions = repetitions
        negativeSOA = NegativeSOA.rdata(minimum: settings.ttl)
    }

    deinit {
        free(arena)
        index.deallocate()
    }

    /// A table without overrides.
    public static func empty(settings: HostsSettings = HostsSettings()) -> HostsTable {
        HostsBuilder(settings: settings).build()
    }

    func entry(_ offset: UInt32) -> Entry { arena.loadUnaligned(fromByteOffset: Int(offset), as: Entry.self) }

    func entryName(_ offset: UInt32) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(
            start: arena + Int(offset) + Entry.size, count: Int(entry(offset).nameLength))
    }

    func place(_ file: UInt16, _ line: UInt32) -> Place { Place(file: files[Int(file)], line: line) }

    /// Prefetches the memory that `probe` of the whole name will read, one dependent access per `step`, from 0 on.
    public func prefetch(_ name: borrowing LookupName, step: Int) {
        let tag = UInt32(truncatingIfNeeded: name.hash >> 32)
        let slot = index.start(tag)
        if step == 0 { return clinux_prefetch(slot) }
        if step == 1, let offset = HashIndex.number(in: slot.pointee, tag) { clinux_prefetch(arena + Int(offset)) }
    }

    /// The entry whose name is the suffix of `name` that starts at label `label`, with `*.` in front if `wildcard`.
    func probe(_ name: borrowing LookupName, at label: Int, wildcard: Bool = false) -> UInt32? {
        let hash = wildcard ? name.wildcardHash(at: label) : name.hash(at: label)
        return index.find(UInt32(truncatingIfNeeded: hash >> 32)) { offset in
            let entry = entry(offset)
            let bytes = arena + Int(offset) + Entry.size
            guard wildcard else { return name.suffixEquals(label, bytes, length: Int(entry.nameLength)) }
            return entry.nameLength > 2 && bytes.load(as: UInt8.self) == 1
                && bytes.load(fromByteOffset: 1, as: UInt8.self) == UInt8(ascii: "*")
                && name.suffixEquals(label, bytes + 2, length: Int(entry.nameLength) - 2)
        }
    }

    /// The override that governs the suffix of `name` from label `start` on: exact, else by wildcard.
    ///
    /// - RFC: 4592 3.3.1: the wildcard of the closest encloser, and no other.
    func find(_ name: borrowing LookupName, from start: Int = 0) -> UInt32? {
        if let exact = probe(name, at: start) {
            return entry(exact).kind == .emptyNonTerminal ? nil : exact
        }
        guard wildcardCount > 0, start < name.labelCount else { return nil }
        for label in (start + 1)...name.labelCount {
            if let wildcard = probe(name, at: label, wildcard: true) { return wildcard }
            if probe(name, at: label) != nil { return nil }
        }
        return nil
    }
}
