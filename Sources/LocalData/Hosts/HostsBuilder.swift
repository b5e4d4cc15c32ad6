import DNSWire
import Glibc
import Platform

/// Compiles overrides, in the order in which they are added, into a `HostsTable`.
struct HostsBuilder: ~Copyable {
    private let settings: HostsSettings
    private var arena: UnsafeMutableRawPointer
    private var arenaLength = 0
    private var arenaCapacity: Int
    private var index: HashIndex
    private var entries = 0
    private var names = 0
    private var wildcards = 0
    private var addresses = AddressTable()
    /// The number of the address added last.
    private var lastAddress: UInt32 = 0
    private var multi: [[HostsTable.AddressUse]] = []
    /// Canonical names form a linked list per address: the index of the last one here, by address.
    private var lastReverse: [Int32] = []
    private var reverse: [(address: UInt32, entry: UInt32, previous: Int32)] = []
    private var files: [UInt32] = []
    private var repetitions: [HostsTable.Repetition] = []
    private var scratch = LookupName()
    private var built = false

    /// The most addresses of one name, and canonical names of one address. More are a mistake or an attack, and the
    /// search for duplicates is linear.
    static let maximumAddresses = 256
    private static let maximumReverseNames = 64

    /// `expectedBytes`: initial room for names; it grows as needed.
    init(settings: HostsSettings, expectedBytes: Int = 4096) {
        self.settings = settings
        arenaCapacity = max(4096, expectedBytes)
        arena = malloc(arenaCapacity)
        index = HashIndex(slots: 1024)
    }

    deinit {
        if !built {
            free(arena)
            index.deallocate()
        }
    }

    /// The number to pass to `add` for a file; nil if there are too many files.
    mutating func addFile(_ place: Place) -> UInt16? {
        guard files.count < Int(UInt16.max) else { return nil }
        files.append(place.file)
        return UInt16(files.count - 1)
    }

    /// Gives a name (uncompressed wire form) an address. `isCanonical`: it is the first name of its line, which PTR
    /// returns.
    ///
    /// - Returns: false when the name has too many addresses.
    mutating func add(
        name: UnsafeRawBufferPointer, address: HostAddress, file: UInt16, line: UInt32, isCanonical: Bool
    ) -> Bool {
        guard scratch.assign(uncompressed: name) > 0 else { return true }
        let number = intern(address)
        let offset: UInt32
        if let existing = probe(label: 0) {
            offset = existing
            let use = HostsTable.AddressUse(address: number, line: line, file: file, more: false)
            switch addUse(use, to: existing) {
            case .added: break
            case .full: return false
            case .repeats(let other):
                guard other != file else { break }
                repetitions.append(
                    HostsTable.Repetition(
                        entry: existing, address: number, line: line, file: file, isCanonical: isCanonical))
            }
        } else {
            names += 1
            if scratch.labelCount > 1, scratch.labelLength(at: 0) == 1, scratch.bytes[1] == UInt8(ascii: "*") {
                wildcards += 1
            }
            offset = append(
                HostsTable.Entry(
                    value: number, line: line, file: file, nameLength: UInt8(scratch.length), kind: .single), label: 0)
        }
        if isCanonical, !address.isUnspecified { addReverse(number, offset) }
        return true
    }

    private mutating func addReverse(_ address: UInt32, _ entry: UInt32) {
        var index = lastReverse[Int(address)]
        var count = 0
        while index >= 0 {
            count += 1
            if reverse[Int(index)].entry == entry || count == Self.maximumReverseNames { return }
            index = reverse[Int(index)].previous
        }
        reverse.append((address, entry, lastReverse[Int(address)]))
        lastReverse[Int(address)] = Int32(reverse.count - 1)
    }

    private mutating func intern(_ address: HostAddress) -> UInt32 {
        // Block lists repeat one address for every name.
        if addresses.count > 0, addresses[lastAddress] == address { return lastAddress }
        let (number, isNew) = addresses.intern(address)
        if isNew { lastReverse.append(-1) }
        lastAddress = number
        return number
    }

    private enum AddedUse {
        case added
        /// The name has too many addresses.
        case full
        /// A line of this file has given the name the address.
        case repeats(UInt16)
    }

    private mutating func addUse(_ use: HostsTable.AddressUse, to offset: UInt32) -> AddedUse {
        var entry = arena.loadUnaligned(fromByteOffset: Int(offset), as: HostsTable.Entry.self)
        if entry.kind == .single {
            guard entry.value != use.address else { return .repeats(entry.file) }
            multi.append([
                HostsTable.AddressUse(address: entry.value, line: entry.line, file: entry.file, more: true), use,
            ])
            entry.kind = .multi
            entry.value = UInt32(multi.count - 1)
            arena.storeBytes(of: entry, toByteOffset: Int(offset), as: HostsTable.Entry.self)
        } else {
            let list = Int(entry.value)
            if let same = multi[list].first(where: { $0.address == use.address }) { return .repeats(same.file) }
            guard multi[list].count < Self.maximumAddresses else { return .full }
            multi[list][multi[list].count - 1].more = true
            multi[list].append(use)
        }
        return .added
    }

    private func probe(label: Int) -> UInt32? {
        index.find(UInt32(truncatingIfNeeded: scratch.hash(at: label) >> 32)) { offset in
            let entry = arena.loadUnaligned(fromByteOffset: Int(offset), as: HostsTable.Entry.self)
            return scratch.suffixEquals(
                label, arena + Int(offset) + HostsTable.Entry.size, length: Int(entry.nameLength))
        }
    }

    private mutating func append(_ entry: HostsTable.Entry, label: Int) -> UInt32 {
        let suffix = scratch.suffix(at: label)
        let size = HostsTable.Entry.size + suffix.count
        if arenaLength + size > arenaCapacity {
            // The kernel moves large blocks page by page and copies nothing.
            arenaCapacity = max(arenaCapacity * 3 / 2, arenaLength + size)
            arena = realloc(arena, arenaCapacity)
        }
        let offset = UInt32(arenaLength)
        arena.storeBytes(of: entry, toByteOffset: arenaLength, as: HostsTable.Entry.self)
        (arena + arenaLength + HostsTable.Entry.size).copyMemory(
            from: suffix.baseAddress.unsafelyUnwrapped, byteCount: suffix.count)
        arenaLength += size
        entries += 1
        if entries * 4 > index.capacity * 3 { index = index.resized(slots: index.capacity * 2) }
        index.insert(UInt32(truncatingIfNeeded: scratch.hash(at: label) >> 32), offset)
        return offset
    }

    /// Adds the empty non-terminals between an override and a wildcard above it: they block the wildcard.
    private mutating func addEmptyNonTerminals() {
        guard wildcards > 0 else { return }
        let end = arenaLength
        var offset = 0
        while offset < end {
            let entry = arena.loadUnaligned(fromByteOffset: offset, as: HostsTable.Entry.self)
            let name = UnsafeRawBufferPointer(
                start: arena + offset + HostsTable.Entry.size, count: Int(entry.nameLength))
            offset += HostsTable.Entry.size + Int(entry.nameLength)
            _ = scratch.assign(uncompressed: name)
            var reach = 0
            if scratch.labelCount > 1 {
                for label in 1...scratch.labelCount where wildcardExists(below: label) { reach = label }
            }
            guard reach > 1 else { continue }
            for label in 1..<reach where probe(label: label) == nil {
                _ = append(
                    HostsTable.Entry(
                        value: 0, line: entry.line, file: entry.file,
                        nameLength: UInt8(scratch.length - scratch.offset(at: label)), kind: .emptyNonTerminal),
                    label: label)
            }
        }
    }

    private func wildcardExists(below label: Int) -> Bool {
        index.find(UInt32(truncatingIfNeeded: scratch.wildcardHash(at: label) >> 32)) { offset in
            let entry = arena.loadUnaligned(fromByteOffset: Int(offset), as: HostsTable.Entry.self)
            let bytes = arena + Int(offset) + HostsTable.Entry.size
            return entry.nameLength > 2 && bytes.load(fromByteOffset: 1, as: UInt8.self) == UInt8(ascii: "*")
                && scratch.suffixEquals(label, bytes + 2, length: Int(entry.nameLength) - 2)
        } != nil
    }

    /// Makes the table and consumes the builder.
    consuming func build() -> HostsTable {
        addEmptyNonTerminals()
        // All lists of uses, concatenated.
        var uses: [HostsTable.AddressUse] = []
        var starts: [UInt32] = []
        for list in multi {
            starts.append(UInt32(uses.count))
            uses += list
        }
        if !multi.isEmpty {
            var offset = 0
            while offset < arenaLength {
                var entry = arena.loadUnaligned(fromByteOffset: offset, as: HostsTable.Entry.self)
                if entry.kind == .multi {
                    entry.value = starts[Int(entry.value)]
                    arena.storeBytes(of: entry, toByteOffset: offset, as: HostsTable.Entry.self)
                }
                offset += HostsTable.Entry.size + Int(entry.nameLength)
            }
        }
        var reverseStart = [UInt32](repeating: 0, count: addresses.count + 1)
        var reverseNames: [UInt32] = []
        if !reverse.isEmpty {
            for pair in reverse { reverseStart[Int(pair.address) + 1] += 1 }
            for index in 0..<addresses.count { reverseStart[index + 1] += reverseStart[index] }
            var next = reverseStart
            reverseNames = [UInt32](repeating: 0, count: reverse.count)
            for pair in reverse {
                reverseNames[Int(next[Int(pair.address)])] = pair.entry
                next[Int(pair.address)] += 1
            }
        }
        built = true
        let arena = realloc(arena, max(arenaLength, 1)) ?? arena
        return HostsTable(
            settings: settings, arena: arena, arenaLength: arenaLength,
            // Four slots for three entries.
            index: index.resized(slots: max(entries * 4 / 3, 15)), names: names, wildcards: wildcards,
            addresses: addresses, uses: uses, reverse: reverseNames,
            reverseStart: reverseStart, files: files, repetitions: repetitions)
    }
}
