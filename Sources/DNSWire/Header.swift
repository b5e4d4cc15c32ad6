/// The twelve bytes that open every message.
///
/// - RFC: 1035 4.1.1; 4035 3.2 for AD and CD.
package enum Header {
    /// Bytes.
    package static let length = 12

    /// The second 16-bit word: QR, Opcode, AA, TC, RD, RA, Z, AD, CD, RCODE.
    package struct Flags: OptionSet, Sendable, Hashable, BitwiseCopyable {
        package let rawValue: UInt16

        @inlinable
        package init(rawValue: UInt16) {
            self.rawValue = rawValue
        }

        package static let response = Flags(rawValue: 0x8000)
        package static let authoritative = Flags(rawValue: 0x0400)
        package static let truncated = Flags(rawValue: 0x0200)
        package static let recursionDesired = Flags(rawValue: 0x0100)
        package static let recursionAvailable = Flags(rawValue: 0x0080)
        package static let authenticData = Flags(rawValue: 0x0020)
        package static let checkingDisabled = Flags(rawValue: 0x0010)

        @inlinable
        package var opcode: Opcode { Opcode(rawValue: UInt8(rawValue >> 11 & 0xF)) }

        /// The four header bits only.
        @inlinable
        package var responseCode: ResponseCode { ResponseCode(rawValue: rawValue & 0xF) }
    }

    static let questionCount = 4
    static let answerCount = 6
    static let authorityCount = 8
    static let additionalCount = 10
}
