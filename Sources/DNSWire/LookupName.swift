/// The name of a lookup, prepared once: folded to lower case, with offset and hash of every suffix.
///
/// A worker owns one and reuses it for each query, so nothing is allocated per query.
/// - RFC: 1035 3.1; 4343 3 for folding.
public struct LookupName: ~Copyable {
    public let key: NameHash
    /// The folded wire form; valid until the next `assign`. Eight bytes after its end are readable.
    public var bytes: UnsafePointer<UInt8> { UnsafePointer(storage) }
    /// Of the wire form, 1 to 255 bytes.
    public private(set) var length = 1
    /// Without the root's label, 0 to 127.
    public private(set) var labelCount = 0

    private let storage: UnsafeMutablePointer<UInt8>
    private let offsets: UnsafeMutablePointer<UInt8>
    @usableFromInline let hashes: UnsafeMutablePointer<UInt64>

    private static let maximumLabels = 127

    public init(key: NameHash = .process) {
        self.key = key
        storage = .allocate(capacity: Name.maximumLength + 9)
        storage.initialize(repeating: 0, count: Name.maximumLength + 9)
        offsets = .allocate(capacity: Self.maximumLabels + 1)
        offsets.initialize(repeating: 0, count: Self.maximumLabels + 1)
        hashes = .allocate(capacity: Self.maximumLabels + 1)
        hashes.initialize(repeating: key.root, count: Self.maximumLabels + 1)
    }

    deinit {
        storage.deallocate()
        offsets.deallocate()
        hashes.deallocate()
    }

    /// The hash of the whole name.
    @inlinable
    public var hash: UInt64 { hash(at: 0) }

    /// The hash of the suffix from label `index` on; at `labelCount`, of the root.
    @inlinable
    public func hash(at index: Int) -> UInt64 {
        assert(index >= 0 && index <= labelCount)
        return hashes[index]
    }

    /// Where label `index` starts in `bytes`; at `labelCount`, the root's zero.
    public func offset(at index: Int) -> Int {
        assert(index >= 0 && index <= labelCount)
        return Int(offsets[index])
    }

    /// The wire form of the suffix from label `index` on.
    public func suffix(at index: Int) -> UnsafeRawBufferPointer {
        let start = offset(at: index)
        return UnsafeRawBufferPointer(start: storage + start, count: length - start)
    }

    /// The hash of `*.` plus the suffix from label `index` on.
    public func wildcardHash(at index: Int) -> UInt64 { key.wildcard(below: hash(at: index)) }

    public func labelLength(at index: Int) -> Int { Int(storage[offset(at: index)]) }

    /// The bytes of label `index`, without its length.
    public func label(at index: Int) -> UnsafeRawBufferPointer {
        let start = offset(at: index)
        return UnsafeRawBufferPointer(start: storage + start + 1, count: Int(storage[start]))
    }

    /// An owned copy, in lower case.
    public var name: Name { Name(uncheckedWire: Array(UnsafeBufferPointer(start: storage, count: length))) }

    /// Whether the suffix from label `index` on equals the folded name at `other`.
    public func suffixEquals(_ index: Int, _ other: UnsafeRawPointer, length otherLength: Int) -> Bool {
        let start = offset(at: index)
        guard length - start == otherLength else { return false }
        let mine = UnsafeRawPointer(storage + start)
        var index = 0
        while index + 8 <= otherLength {
            guard
                mine.loadUnaligned(fromByteOffset: index, as: UInt64.self)
                    == other.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            else { return false }
            index += 8
        }
        while index < otherLength {
            guard mine.readByte(index) == other.readByte(index) else { return false }
            index += 1
        }
        return true
    }

    /// Takes an owned name.
    public mutating func assign(_ name: borrowing Name) {
        name.wire.withUnsafeBytes { bytes in
            _ = assign(uncompressed: bytes)
        }
    }

    /// Takes the uncompressed name at the start of `bytes`.
    ///
    /// Returns its length in bytes; 0 if it is invalid, has a pointer, or does not end within `bytes`.
    public mutating func assign(uncompressed bytes: UnsafeRawBufferPointer) -> Int {
        var index = 0
        var labels = 0
        let limit = min(bytes.count, Name.maximumLength)
        while true {
            guard index < limit else { return 0 }
            let length = bytes[index]
            if length == 0 { break }
            guard length <= Name.maximumLabelLength else { return 0 }
            offsets[labels] = UInt8(truncatingIfNeeded: index)
            labels += 1
            index += Int(length) + 1
        }
        offsets[labels] = UInt8(truncatingIfNeeded: index)
        length = index + 1
        labelCount = labels
        fold(bytes.baseAddress.unsafelyUnwrapped, count: length)
        hashSuffixes()
        return length
    }

    /// Takes the name at `offset` of `message`, following compression pointers (backwards only).
    ///
    /// Returns the number of bytes it occupies at `offset`; 0 if it is invalid.
    /// - RFC: 1035 4.1.4.
    public mutating func assign(message: UnsafeRawBufferPointer, at offset: Int) -> Int {
        var cursor = offset
        var lowest = offset
        var consumed = 0
        var written = 0
        var labels = 0
        while true {
            guard cursor < message.count else { return 0 }
            let length = Int(message[cursor])
            if length >= 0xC0 {
                guard cursor + 1 < message.count else { return 0 }
                let target = (length & 0x3F) << 8 | Int(message[cursor + 1])
                if consumed == 0 { consumed = cursor + 2 - offset }
                // Strictly backwards: every jump lowers the bound, so no loop is possible.
                guard target < lowest else { return 0 }
                lowest = target
                cursor = target
                continue
            }
            guard length <= Name.maximumLabelLength, cursor + length < message.count,
                written + length + 1 <= Name.maximumLength
            else { return 0 }
            offsets[labels] = UInt8(truncatingIfNeeded: written)
            storage[written] = UInt8(truncatingIfNeeded: length)
            for i in 0..<length { storage[written + 1 + i] = ASCII.lowercased(message[cursor + 1 + i]) }
            written += length + 1
            cursor += length + 1
            if length == 0 {
                if consumed == 0 { consumed = cursor - offset }
                break
            }
            labels += 1
        }
        self.length = written
        labelCount = labels
        hashSuffixes()
        return consumed
    }

    /// Copies and folds eight bytes at a time: length bytes are below 0x40, so they pass unchanged.
    private mutating func fold(_ source: UnsafeRawPointer, count: Int) {
        var index = 0
        let target = UnsafeMutableRawPointer(storage)
        while index + 8 <= count {
            let word = source.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            target.storeBytes(of: Self.lowercased(word), toByteOffset: index, as: UInt64.self)
            index += 8
        }
        while index < count {
            storage[index] = ASCII.lowercased(source.load(fromByteOffset: index, as: UInt8.self))
            index += 1
        }
    }

    /// Folds eight bytes in one register: the high bit of each lane is set where the byte is `A` to `Z`.
    private static func lowercased(_ word: UInt64) -> UInt64 {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let low = word & (ones &* 0x7F)
        let atLeastA = low &+ (ones &* (0x80 - 0x41))
        let aboveZ = low &+ (ones &* (0x80 - 0x5B))
        let isUpper = (atLeastA ^ aboveZ) & ~word & (ones &* 0x80)
        return word | (isUpper >> 2)
    }

    private mutating func hashSuffixes() {
        var hash = key.root
        var index = labelCount
        hashes[index] = hash
        while index > 0 {
            index -= 1
            let start = Int(offsets[index])
            hash = key.extend(hash, label: storage + start + 1, length: Int(storage[start]))
            hashes[index] = hash
        }
    }
}
