internal import Glibc
import Lookup

/// Text that grows at the end and is consumed at the front: what a sink has formatted but not yet written.
///
/// `@unchecked`: it owns its memory and can't be copied.
struct LineBuffer: ~Copyable, @unchecked Sendable {
    private var memory: UnsafeMutablePointer<UInt8>
    private var capacity: Int
    /// The first unconsumed byte.
    private var start = 0
    /// One past the last byte. Invariant: start <= end <= capacity; every append checks for room.
    private var end = 0

    init(capacity: Int = 96 * 1024) {
        self.capacity = capacity
        memory = .allocate(capacity: capacity)
    }

    deinit { memory.deallocate() }

    var count: Int { end - start }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: memory + start, count: count) }

    mutating func removeFirst(_ count: Int) {
        start += min(count, self.count)
        if start == end {
            start = 0
            end = 0
        }
    }

    /// Truncates the text to its first `count` bytes.
    mutating func cut(to count: Int) { end = min(end, start + max(count, 0)) }

    private mutating func makeRoom(_ more: Int) {
        if start > 0, start + capacity - end >= more, start >= capacity / 2 {
            memory.update(from: memory + start, count: end - start)
        } else {
            while capacity - count < more { capacity *= 2 }
            let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
            larger.update(from: memory + start, count: end - start)
            memory.deallocate()
            memory = larger
        }
        end -= start
        start = 0
    }

    // MARK: Appending

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        if end == capacity { makeRoom(1) }
        memory[end] = byte
        end += 1
    }

    @inline(__always)
    mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        if capacity - end < bytes.count { makeRoom(bytes.count) }
        UnsafeMutableRawPointer(memory + end).copyMemory(from: source, byteCount: bytes.count)
        end += bytes.count
    }

    mutating func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    mutating func append(blanks count: Int) {
        for _ in 0..<max(count, 0) { append(UInt8(ascii: " ")) }
    }

    @inline(__always)
    mutating func append(decimal value: some FixedWidthInteger & UnsignedInteger) {
        var rest = UInt64(truncatingIfNeeded: value)
        if rest < 10 { return append(48 + UInt8(truncatingIfNeeded: rest)) }
        if capacity - end < 20 { makeRoom(20) }
        var digits = 1
        var bound: UInt64 = 10
        while rest >= bound {
            digits += 1
            let (next, overflow) = bound.multipliedReportingOverflow(by: 10)
            if overflow { break }
            bound = next
        }
        var position = end + digits
        end = position
        while position > end - digits {
            position -= 1
            memory[position] = 48 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
    }

    /// The last `digits` digits of `value`, with leading zeros.
    mutating func append(decimal value: UInt32, digits: Int) {
        if capacity - end < digits { makeRoom(digits) }
        var rest = value
        var position = end + digits
        while position > end {
            position -= 1
            memory[position] = 48 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        end += digits
    }

    @inline(__always)
    mutating func append(hex value: UInt16) {
        var shift: UInt16 = 12
        while shift > 0, value >> shift == 0 { shift -= 4 }
        while true {
            let digit = UInt8(truncatingIfNeeded: value >> shift & 0xF)
            append(digit < 10 ? 48 + digit : 87 + digit)
            if shift == 0 { return }
            shift -= 4
        }
    }

    // MARK: Addresses

    mutating func append(ipv4 value: UInt32) {
        append(decimal: value >> 24)
        append(UInt8(ascii: "."))
        append(decimal: value >> 16 & 0xFF)
        append(UInt8(ascii: "."))
        append(decimal: value >> 8 & 0xFF)
        append(UInt8(ascii: "."))
        append(decimal: value & 0xFF)
    }

    /// - RFC: 5952 4, and 5 for IPv4-mapped addresses.
    mutating func append(ipv6High high: UInt64, low: UInt64) {
        if high == 0, low >> 32 == 0xFFFF {
            append("::ffff:")
            return append(ipv4: UInt32(truncatingIfNeeded: low))
        }
        // The first of the longest runs of at least two zero groups is omitted.
        var best = (start: 8, length: 1)
        var run = 0
        for index in 0..<8 {
            run = Self.group(high, low, index) == 0 ? run + 1 : 0
            if run > best.length { best = (index - run + 1, run) }
        }
        var index = 0
        while index < 8 {
            if index == best.start {
                append("::")
                index += best.length
                continue
            }
            if index > 0, index != best.start + best.length { append(UInt8(ascii: ":")) }
            append(hex: Self.group(high, low, index))
            index += 1
        }
    }

    private static func group(_ high: UInt64, _ low: UInt64, _ index: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: (index < 4 ? high : low) >> UInt64(48 - (index & 3) * 16))
    }
}

extension LineBuffer {
    /// What rules did to the answer, and where they say so: `delay slow.rules:3, ttl keep slow.rules:9`.
    mutating func append(faultsOf record: LookupRecord, _ places: inout PlaceTexts) {
        for index in 0..<record.faultCount {
            let fault = record.fault(index)
            if index > 0 { append(", ") }
            for (action, word) in Faults.Actions.words where fault.actions.contains(action) {
                append(word)
                append(UInt8(ascii: " "))
            }
            places.append(fault.place, to: &self)
        }
    }
}
