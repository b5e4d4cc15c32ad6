import DNSWire
import HTTPTypes
import LocalData
import Platform

/// Why a request fails: the status, and one sentence.
struct APIFailure: Error {
    var status: HTTPResponse.Status
    var reason: String

    init(_ status: HTTPResponse.Status = .badRequest, _ reason: String) {
        self.status = status
        self.reason = reason
    }
}

/// The parameters of a request's query, parsed once.
struct APIParameters {
    private let values: [String: String]
    /// Keys whose values are not percent-encoded UTF-8.
    private let broken: Set<String>

    /// From a query or a form's body: `key=value&...`, with plus for a space.
    init(_ text: String) {
        var values: [String: String] = [:]
        var broken: Set<String> = []
        for pair in text.split(separator: "&").prefix(64) {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = parts.count == 2 ? parts[1].replacing("+", with: " ") : ""
            if let decoded = String(value).percentDecoded() {
                values[String(parts[0])] = decoded
            } else {
                broken.insert(String(parts[0]))
            }
        }
        self.values = values
        self.broken = broken
    }

    subscript(_ key: String) -> String? { values[key].flatMap { $0.isEmpty ? nil : $0 } }

    func flag(_ key: String) -> Bool { ["1", "yes", "true"].contains(values[key] ?? "") }

    func check(_ keys: Set<String>) throws(APIFailure) {
        if let key = broken.sorted().first { throw APIFailure(.badRequest, "\(quoted(key.utf8)) is no UTF-8") }
        guard let key = values.keys.sorted().first(where: { !keys.contains($0) }) else { return }
        throw APIFailure(
            .badRequest, "\(quoted(key.utf8)) means nothing here; there are \(keys.sorted().joined(separator: ", "))")
    }

    func number(_ key: String, in range: ClosedRange<Int>, _ initial: Int) throws(APIFailure) -> Int {
        guard let text = self[key] else { return initial }
        guard let number = Int(text), range.contains(number) else {
            throw APIFailure(.badRequest, "\(key) is no number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// The domain name in `key`, in any language; nil if the key is missing.
    func name(_ key: String = "name") throws(APIFailure) -> Name? {
        guard let text = values[key] else { return nil }
        guard !text.isEmpty else { throw APIFailure(.badRequest, "\(key) is empty; give one, or leave it out") }
        return try Self.name(text)
    }

    static func name(_ text: String) throws(APIFailure) -> Name {
        do { return try Name(typed: text) } catch { throw APIFailure(.badRequest, "\(error)") }
    }

    func type(_ key: String = "type") throws(APIFailure) -> RecordType {
        guard let text = self[key] else { return .a }
        guard let type = RecordType(mnemonic: text.uppercased()), !type.isMeta || type == .any else {
            throw APIFailure(.badRequest, "\(quoted(text.utf8)) is no record type; give one as A, HTTPS or TYPE65")
        }
        return type
    }
}

extension String {
    /// Encoded for a URL's path or a query value.
    package var percentEncoded: String {
        var text = ""
        for byte in utf8 {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"):
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default: text += "%" + String(UInt16(byte) + 0x100, radix: 16, uppercase: true).dropFirst()
            }
        }
        return text
    }

    /// Nil if it is not percent-encoded UTF-8.
    func percentDecoded() -> String? {
        guard utf8.contains(UInt8(ascii: "%")) else { return self }
        var bytes: [UInt8] = []
        var rest = Array(utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            // `UInt8(_:radix:)` accepts a sign, an escape does not.
            guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit), let value = UInt8(digits, radix: 16) else {
                return nil
            }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
