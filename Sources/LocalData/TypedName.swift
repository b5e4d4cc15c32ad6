public import DNSWire
import Platform

/// Why what somebody typed is no domain name.
public struct TypedNameError: Error, Hashable, CustomStringConvertible {
    /// One sentence without its full stop; quoted text is escaped.
    public let description: String
}

extension Name {
    /// A name as people type it, in A-labels or in its own script, with or without the last dot.
    public init(typed text: some StringProtocol) throws(TypedNameError) {
        var ascii = String(text)
        if !text.utf8.allSatisfy({ $0 < 0x80 }) {
            // Longer text is no name, in whatever script; it bounds the work.
            guard text.utf8.count <= 4 * Name.maximumLength, let converted = InternationalName.toASCII(ascii) else {
                throw TypedNameError(
                    description: "\(quoted(text.utf8)) can't be written as a domain name (RFC 5891)")
            }
            ascii = converted
        }
        do { self = try Name(parsing: ascii.utf8) } catch {
            throw TypedNameError(description: "\(quoted(text.utf8)) is no domain name: \(error)")
        }
    }
}
