/// The twelve bytes at the start of every message.
///
/// - RFC: 1035 4.1.1; 4035 3.2 for AD and CD.
public enum Header {
    /// Bytes.
    public static let length = 12

    /// The second 16-bit word: QR, Opcode, AA, TC, RD, RA, Z, AD, CD, RCODE.
    public struct Flags: OptionSet, Sendable, Hashable, BitwiseCopyable {
        public let rawValue: UInt16

        @inlinable
        public init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        public static let response = Flags(rawValue: 0x8000)
        public static let authoritative = Flags(rawValue: 0x0400)
        public static let truncated = Flags(rawValue: 0x0200)
        public static let recursionDesired = Flags(rawValue: 0x0100)
        public static let recursionAvailable = Flags(rawValue: 0x0080)
        public static let authenticData = Flags(rawValue: 0x0020)
        public static let checkingDisabled = Flags(rawValue: 0x0010)

        @inlinable
        public var opcode: Opcode { Opcode(rawValue: UInt8(rawValue >> 11 & 0xF)) }

        /// Only the four bits of the header.
        @inlinable
        public var responseCode: ResponseCode { ResponseCode(rawValue: rawValue & 0xF) }
    }

    static let questionCount = 4
    static let answerCount = 6
    public static let authorityCount = 8
    public static let additionalCount = 10
}
