/// The unencrypted part of a server's first message: its chosen version and cipher suite.
///
/// Parsed from the bytes, because the TLS library reports the version but not the suite.
/// - RFC: 8446 4.1.3 and 5.1; 5246 7.4.1.3.
package struct ServerHello: Hashable, Sendable, CustomStringConvertible {
    package var version: UInt16
    package var cipherSuite: UInt16

    package init(version: UInt16, cipherSuite: UInt16) {
        self.version = version
        self.cipherSuite = cipherSuite
    }

    package var description: String { "\(versionText) \(cipherText)" }

    package var versionText: String {
        switch version {
        case 0x0304: "TLS 1.3"
        case 0x0303: "TLS 1.2"
        case 0x0302: "TLS 1.1"
        case 0x0301: "TLS 1.0"
        default: "TLS version 0x" + String(version, radix: 16)
        }
    }

    /// Without the prefix TLS_, which all have.
    package var cipherText: String {
        Self.ciphers[cipherSuite] ?? "cipher suite 0x" + String(cipherSuite, radix: 16)
    }

    /// The suites that we offer (IANA "TLS Cipher Suites").
    private static let ciphers: [UInt16: String] = [
        0x1301: "AES_128_GCM_SHA256", 0x1302: "AES_256_GCM_SHA384", 0x1303: "CHACHA20_POLY1305_SHA256",
        0xC02B: "ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xC02C: "ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        0xC02F: "ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xC030: "ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        0xCCA8: "ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xCCA9: "ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        0xC009: "ECDHE_ECDSA_WITH_AES_128_CBC_SHA", 0xC00A: "ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        0xC013: "ECDHE_RSA_WITH_AES_128_CBC_SHA", 0xC014: "ECDHE_RSA_WITH_AES_256_CBC_SHA",
        0x009C: "RSA_WITH_AES_128_GCM_SHA256", 0x009D: "RSA_WITH_AES_256_GCM_SHA384",
        0x002F: "RSA_WITH_AES_128_CBC_SHA", 0x0035: "RSA_WITH_AES_256_CBC_SHA",
    ]

    /// The result of parsing the bytes received so far.
    enum Reading: Hashable, Sendable {
        case needsMore
        case hello(ServerHello)
        /// An unencrypted alert: its description.
        case alert(UInt8)
        case noTLS
    }

    static func read(_ bytes: [UInt8]) -> Reading {
        // The message may span several records.
        var message: [UInt8] = []
        var cursor = 0
        while cursor < bytes.count {
            guard (20...23).contains(bytes[cursor]), cursor + 1 >= bytes.count || bytes[cursor + 1] == 3 else {
                return message.isEmpty ? .noTLS : .needsMore
            }
            guard cursor + 5 <= bytes.count else { return .needsMore }
            let length = Int(bytes[cursor + 3]) << 8 | Int(bytes[cursor + 4])
            let end = cursor + 5 + length
            if bytes[cursor] == 21 { return end <= bytes.count && length == 2 ? .alert(bytes[cursor + 6]) : .needsMore }
            guard bytes[cursor] == 22 else { return .noTLS }
            message += bytes[(cursor + 5)..<min(end, bytes.count)]
            if let hello = read(message: message) { return hello }
            cursor = end
        }
        return .needsMore
    }

    /// Nil: more bytes are needed.
    private static func read(message: [UInt8]) -> Reading? {
        guard message.count >= 4 else { return nil }
        guard message[0] == 2 else { return .noTLS }
        let length = Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3])
        guard message.count >= 4 + length else { return nil }
        let body = Array(message[4..<(4 + length)])
        // Version, 32 random bytes, session ID with its length, suite, compression, extensions.
        guard body.count >= 35 else { return .noTLS }
        var cursor = 35 + Int(body[34])
        guard cursor + 3 <= body.count else { return .noTLS }
        var hello = ServerHello(version: word(body, 0), cipherSuite: word(body, cursor))
        cursor += 5
        while cursor + 4 <= body.count {
            let size = Int(word(body, cursor + 2))
            // Since TLS 1.3, the version is in supported_versions.
            if word(body, cursor) == 43, size == 2, cursor + 6 <= body.count { hello.version = word(body, cursor + 4) }
            cursor += 4 + size
        }
        return .hello(hello)
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> UInt16 {
        UInt16(bytes[offset]) << 8 | UInt16(bytes[offset + 1])
    }

    /// The name of an alert description.
    ///
    /// - RFC: 8446 6.
    static func alertText(_ description: UInt8) -> String {
        switch description {
        case 0: "close_notify"
        case 10: "unexpected_message"
        case 20: "bad_record_mac"
        case 40: "handshake_failure"
        case 42: "bad_certificate"
        case 46: "certificate_unknown"
        case 47: "illegal_parameter"
        case 50: "decode_error"
        case 51: "decrypt_error"
        case 70: "protocol_version"
        case 71: "insufficient_security"
        case 80: "internal_error"
        case 86: "inappropriate_fallback"
        case 109: "missing_extension"
        case 112: "unrecognized_name"
        case 116: "certificate_required"
        case 120: "no_application_protocol"
        default: "\(description)"
        }
    }
}
