/// One column of a few thousand consecutive lookups, packed: the distinct values, then each lookup's index into them.
///
/// Little-endian: the number of values (4 bytes), the values in ascending order (4 bytes each), then the indexes: one
/// byte per lookup for up to 256 values, two for more, none for a single value.
enum ColumnBlock {
    /// The most lookups in a block.
    static let capacity = 4096

    static func pack(_ column: [UInt32]) -> [UInt8] {
        let values = Array(Set(column)).sorted()
        let width = width(values.count)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(4 + 4 * values.count + width * column.count)
        for word in [UInt32(values.count)] + values {
            for shift in [0, 8, 16, 24] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        guard width > 0 else { return bytes }
        let places = Dictionary(uniqueKeysWithValues: values.enumerated().map { ($1, $0) })
        for value in column {
            let place = places[value] ?? 0
            bytes.append(UInt8(truncatingIfNeeded: place))
            if width == 2 { bytes.append(UInt8(truncatingIfNeeded: place >> 8)) }
        }
        return bytes
    }

    private static func width(_ values: Int) -> Int { values <= 1 ? 0 : values <= 256 ? 1 : 2 }

    /// A view of a packed column; nil if the bytes are malformed.
    struct View {
        private let bytes: UnsafeRawBufferPointer
        let values: Int
        private let width: Int
        private let places: Int

        init?(_ bytes: UnsafeRawBufferPointer, count: Int) {
            guard bytes.count >= 4 else { return nil }
            let values = Int(UInt32(littleEndian: bytes.loadUnaligned(as: UInt32.self)))
            guard values <= ColumnBlock.capacity, values > 0 || count == 0 else { return nil }
            let width = ColumnBlock.width(values)
            places = 4 + 4 * values
            guard bytes.count == places + width * count else { return nil }
            self.bytes = bytes
            self.values = values
            self.width = width
        }

        @inline(__always)
        func value(_ place: Int) -> UInt32 {
            UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 + 4 * place, as: UInt32.self))
        }

        /// Clears the rows whose value is not in `wanted`; false if certainly none is left.
        ///
        /// `rows` has one byte per lookup, 1 while it is wanted.
        func narrow(_ rows: UnsafeMutableBufferPointer<UInt8>, to wanted: IdentifierSet) -> Bool {
            withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(values, 1)) { isWanted in
                var some = 0
                for place in 0..<values {
                    let hit: UInt8 = wanted.contains(value(place)) ? 1 : 0
                    isWanted[place] = hit
                    some += Int(hit)
                }
                if some == 0 { return false }
                if some == values { return true }
                let base = bytes.baseAddress.unsafelyUnwrapped + places
                for row in 0..<rows.count {
                    let place =
                        width == 1
                        ? Int(base.load(fromByteOffset: row, as: UInt8.self))
                        : Int(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2 * row, as: UInt16.self)))
                    // Packing never writes this, but a damaged file may have it.
                    rows[row] &= place < values ? isWanted[place] : 0
                }
                return true
            }
        }

        /// Calls `body` with each distinct value.
        func forEachValue(_ body: (UInt32) -> Void) { for place in 0..<values { body(value(place)) } }
    }
}
