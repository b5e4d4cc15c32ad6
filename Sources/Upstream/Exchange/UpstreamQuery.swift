import DNSWire
import Glibc
import Lookup

/// The bytes of a query to upstream: header, question, OPT.
///
/// - RFC: 1035 4.1; 6891 6.1; 7873 4.1.
enum UpstreamQuery {
    /// The most `write` needs, in bytes.
    static let maximumLength = Header.length + 255 + 4 + EDNS.optLength + 4 + 40

    /// Writes the query to `base`, which has `maximumLength` bytes; returns its length.
    ///
    /// `caseMask` marks the letters to send as capitals. Without `cookie` or `edns`, that part is left out.
    static func write(
        _ key: FetchKey, id: UInt16, caseMask: UInt64, edns: Bool, cookie: CookieJar?,
        to base: UnsafeMutableRawPointer
    ) -> Int {
        base.write(id, at: 0)
        // AD=1 says that we understand AD in the response, even if the client wants no signatures (RFC 6840 5.7).
        var flags = Header.Flags.recursionDesired.rawValue | Header.Flags.authenticData.rawValue
        if key.checkingDisabled { flags |= Header.Flags.checkingDisabled.rawValue }
        base.write(flags, at: 2)
        base.write(UInt32(0x0001_0000), at: 4)
        base.write(UInt32(edns ? 1 : 0), at: 8)
        let count = key.name.count
        key.name.withUnsafeBytes {
            (base + Header.length).copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: count)
        }
        if caseMask != 0 {
            for index in 0..<count where isLetter(key.name[index]) && caseMask >> UInt64(index & 63) & 1 == 1 {
                base.write(key.name[index] ^ 0x20, at: Header.length + index)
            }
        }
        var cursor = Header.length + count
        base.write(key.type.rawValue, at: cursor)
        base.write(RecordClass.in.rawValue, at: cursor + 2)
        cursor += 4
        guard edns else { return cursor }
        base.write(UInt8(0), at: cursor)
        base.write(RecordType.opt.rawValue, at: cursor + 1)
        base.write(UInt16(EDNS.payloadSize), at: cursor + 3)
        base.write(UInt32(key.dnssecOK ? EDNS.dnssecOK : 0), at: cursor + 5)
        guard let cookie else {
            base.write(UInt16(0), at: cursor + 9)
            return cursor + EDNS.optLength
        }
        let length = 8 + cookie.server.count
        base.write(UInt16(4 + length), at: cursor + 9)
        cursor += EDNS.optLength
        base.write(EDNS.Option.cookie, at: cursor)
        base.write(UInt16(length), at: cursor + 2)
        base.storeBytes(of: cookie.client, toByteOffset: cursor + 4, as: UInt64.self)
        cookie.server.withUnsafeBytes { bytes in
            guard let source = bytes.baseAddress else { return }
            (base + cursor + 12).copyMemory(from: source, byteCount: bytes.count)
        }
        return cursor + 4 + length
    }

    /// A label's length byte is below 0x40, so it never counts as a letter.
    private static func isLetter(_ byte: UInt8) -> Bool { byte &- 0x61 < 26 }

    /// Whether the question of `message` equals the one sent, byte for byte.
    static func echoes(_ message: UnsafeRawBufferPointer, _ key: FetchKey, caseMask: UInt64) -> Bool {
        let count = key.name.count
        guard message.count >= Header.length + count + 4, let base = message.baseAddress,
            base.readUInt16(4) == 1, base.readUInt16(Header.length + count) == key.type.rawValue,
            base.readUInt16(Header.length + count + 2) == RecordClass.in.rawValue
        else { return false }
        if caseMask == 0 {
            return key.name.withUnsafeBytes {
                memcmp($0.baseAddress.unsafelyUnwrapped, base + Header.length, count) == 0
            }
        }
        for index in 0..<count {
            var byte = key.name[index]
            if isLetter(byte), caseMask >> UInt64(index & 63) & 1 == 1 { byte ^= 0x20 }
            guard base.readByte(Header.length + index) == byte else { return false }
        }
        return true
    }

    /// The data of the first option `code` in an OPT record's RDATA; nil if it is missing or the options are malformed.
    static func option(_ code: UInt16, _ opt: MessageReader.Record, _ message: UnsafeRawBufferPointer)
        -> UnsafeRawBufferPointer?
    {
        let base = message.baseAddress.unsafelyUnwrapped
        var cursor = opt.rdata
        while cursor + 4 <= opt.end {
            let start = cursor + 4
            let end = start + Int(base.readUInt16(cursor + 2))
            guard end <= opt.end else { return nil }
            if base.readUInt16(cursor) == code { return UnsafeRawBufferPointer(rebasing: message[start..<end]) }
            cursor = end
        }
        return nil
    }
}

/// Unpredictable random numbers, fetched from the kernel in blocks.
struct RandomPool {
    private var words = [UInt64](repeating: 0, count: 32)
    private var used = 32

    mutating func next() -> UInt64 {
        if used == words.count {
            words.withUnsafeMutableBytes { bytes in
                // Fails only if the kernel has no random numbers at all; Swift's own source is used then.
                guard getentropy(bytes.baseAddress.unsafelyUnwrapped, bytes.count) != 0 else { return }
                var system = SystemRandomNumberGenerator()
                for offset in stride(from: 0, to: bytes.count, by: 8) {
                    bytes.storeBytes(of: system.next(), toByteOffset: offset, as: UInt64.self)
                }
            }
            used = 0
        }
        defer { used += 1 }
        // Each number is used once and then erased.
        let word = words[used]
        words[used] = 0
        return word
    }
}
