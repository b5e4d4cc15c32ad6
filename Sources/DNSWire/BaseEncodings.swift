/// Hexadecimal digits.
/// - RFC: 4648 8.
public enum Base16 {
    /// The value of a digit in either case; nil for other bytes.
    @inlinable
    public static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x41 + 10
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }

    /// The two digits of a byte.
    public static func digits(_ byte: UInt8, uppercase: Bool = false) -> (high: UInt8, low: UInt8) {
        (digit(byte >> 4, uppercase), digit(byte & 15, uppercase))
    }

    /// Two digits for each byte.
    public static func text(_ bytes: some Sequence<UInt8>, uppercase: Bool = false) -> String {
        var text: [UInt8] = []
        text.reserveCapacity(2 * bytes.underestimatedCount)
        for byte in bytes {
            text.append(digit(byte >> 4, uppercase))
            text.append(digit(byte & 15, uppercase))
        }
        return String(decoding: text, as: UTF8.self)
    }

    private static func digit(_ value: UInt8, _ uppercase: Bool) -> UInt8 {
        value < 10 ? 0x30 + value : (uppercase ? 0x41 : 0x61) + value - 10
    }
}

/// Base 32 with the extended hexadecimal alphabet, unpadded, as NSEC3 has it.
/// - RFC: 4648 7; 5155 3.3.
public enum Base32Hex {
    /// The value of a digit in either case; nil for other bytes.
    @inlinable
    public static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x56: digit - 0x41 + 10
        case 0x61...0x76: digit - 0x61 + 10
        default: nil
        }
    }

    /// Takes digits one by one.
    public struct Decoder {
        private var bits = DigitBits(width: 5)

        public init() {}

        /// Takes one digit; nil if it is none, else the byte that it completes, if any.
        public mutating func add(_ digit: UInt8) -> UInt8?? {
            guard let value = Base32Hex.value(digit) else { return nil }
            return .some(bits.add(value))
        }

        /// Whether the digits end with a byte, and unused bits are zero.
        public var isComplete: Bool { bits.isComplete }
    }
}

/// Base 64.
/// - RFC: 4648 4, 5.
public enum Base64 {
    /// The two characters behind letters and digits.
    public enum Alphabet: Sendable {
        /// `+` and `/`.
        case standard
        /// `-` and `_`.
        case url
    }

    /// The value of a character; nil for other bytes and for padding.
    public static func value(_ character: UInt8, _ alphabet: Alphabet = .standard) -> UInt8? {
        switch character {
        case 0x41...0x5A: character - 0x41
        case 0x61...0x7A: character - 0x61 + 26
        case 0x30...0x39: character - 0x30 + 52
        case UInt8(ascii: alphabet == .url ? "-" : "+"): 62
        case UInt8(ascii: alphabet == .url ? "_" : "/"): 63
        default: nil
        }
    }

    /// The text of `bytes`, with padding.
    public static func text(_ bytes: [UInt8]) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: (bytes.count + 2) / 3 * 4) { text, count in
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let known = min(3, bytes.count - start)
                var group: UInt32 = 0
                for index in 0..<3 { group = group << 8 | (index < known ? UInt32(bytes[start + index]) : 0) }
                for index in 0..<4 {
                    let digit = digits[Int(group >> UInt32(18 - 6 * index)) & 63]
                    text.initializeElement(at: count + index, to: index <= known ? digit : UInt8(ascii: "="))
                }
                count += 4
            }
        }
    }

    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    /// The bytes of `text`; nil if it is not strict base64.
    public static func bytes(of text: some Collection<UInt8>) -> [UInt8]? {
        var decoder = Decoder()
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3)
        for character in text {
            guard let byte = decoder.add(character) else { return nil }
            if let byte { bytes.append(byte) }
        }
        return decoder.isComplete ? bytes : nil
    }

    /// Takes characters one by one; strict: padding fills the last group of four, and unused bits are zero.
    public struct Decoder {
        private var bits = DigitBits(width: 6)
        private var digits = 0
        private var padding = 0

        public init() {}

        /// Takes one character; nil if it is wrong, else the byte that it completes, if any.
        public mutating func add(_ character: UInt8) -> UInt8?? {
            if character == UInt8(ascii: "=") {
                guard digits % 4 >= 2, digits % 4 + padding < 4, bits.isComplete else { return nil }
                padding += 1
                return .some(nil)
            }
            guard padding == 0, let value = Base64.value(character) else { return nil }
            digits += 1
            return .some(bits.add(value))
        }

        /// Whether the last group is whole.
        public var isComplete: Bool { digits % 4 == 0 ? padding == 0 : digits % 4 + padding == 4 }
    }

    /// The bytes of base64url text; nil if it is none.
    ///
    /// It should have no padding (RFC 8484 6), but some clients pad, so padding at the end is skipped.
    public static func decodeURL(_ text: some Collection<UInt8>) -> [UInt8]? {
        var bits = DigitBits(width: 6)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 4 * 3 + 2)
        var isPadded = false
        for character in text {
            if character == UInt8(ascii: "=") {
                isPadded = true
                continue
            }
            guard !isPadded, let value = value(character, .url) else { return nil }
            if let byte = bits.add(value) { bytes.append(byte) }
        }
        // A single leftover character encodes nothing.
        return bits.count == 6 ? nil : bytes
    }
}

/// Bits of digits that have not made a byte yet.
private struct DigitBits {
    private let width: Int
    private var bits: UInt32 = 0
    /// Bits that wait for more: fewer than eight.
    private(set) var count = 0

    init(width: Int) { self.width = width }

    mutating func add(_ value: UInt8) -> UInt8? {
        bits = bits << UInt32(width) | UInt32(value)
        count += width
        guard count >= 8 else { return nil }
        count -= 8
        let byte = UInt8(truncatingIfNeeded: bits >> UInt32(count))
        bits &= 1 << UInt32(count) - 1
        return byte
    }

    /// No digit is left over whole, and the bits behind the last byte are zero.
    var isComplete: Bool { count < width && bits == 0 }
}
