internal import COpenSSL
import Glibc
import Platform

/// An X.509 certificate, with its key if it is ours.
///
/// - RFC: 5280.
package struct Certificate: ~Copyable {
    let x509: OpaquePointer
    let key: OpaquePointer?

    init(_ x509: OpaquePointer, key: OpaquePointer?) {
        self.x509 = x509
        self.key = key
    }

    deinit {
        X509_free(x509)
        EVP_PKEY_free(key)
    }

    /// The largest file of certificates or keys that is read, in bytes.
    package static let largestFile = 1 << 20

    /// Reads the PEM of a certificate and of its unencrypted key.
    package init(pem: [UInt8], keyPEM: [UInt8]? = nil) throws(CertificateError) {
        guard let x509 = Self.read(pem, { PEM_read_bio_X509($0, nil, nil, nil) }) else {
            throw CertificateError("holds no certificate (PEM, 'BEGIN CERTIFICATE')")
        }
        var key: OpaquePointer?
        if let keyPEM {
            key = Self.read(keyPEM, { PEM_read_bio_PrivateKey($0, nil, { _, _, _, _ in 0 }, nil) })
            guard key != nil else {
                X509_free(x509)
                throw CertificateError("holds no private key (PEM, 'BEGIN PRIVATE KEY', without a passphrase)")
            }
            guard X509_check_private_key(x509, key) == 1 else {
                X509_free(x509)
                EVP_PKEY_free(key)
                ERR_clear_error()
                throw CertificateError("does not belong to the certificate")
            }
        }
        self.init(x509, key: key)
    }

    /// Reads the DER of a certificate.
    package init(der: [UInt8]) throws(CertificateError) {
        let x509 = der.withUnsafeBufferPointer { bytes in
            var cursor = bytes.baseAddress
            return d2i_X509(nil, &cursor, bytes.count)
        }
        guard let x509 else {
            ERR_clear_error()
            throw CertificateError("holds no certificate (DER)")
        }
        self.init(x509, key: nil)
    }

    private static func read(_ pem: [UInt8], _ body: (OpaquePointer) -> OpaquePointer?) -> OpaquePointer? {
        pem.withUnsafeBytes { bytes in
            guard let bio = BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else { return nil }
            defer {
                BIO_free(bio)
                ERR_clear_error()
            }
            return body(bio)
        }
    }

    /// The certificate as PEM.
    package var pem: [UInt8] { Self.write { PEM_write_bio_X509($0, x509) } }

    /// The key as PEM (PKCS #8); empty if there is none.
    package var keyPEM: [UInt8] {
        guard let key else { return [] }
        return Self.write { PEM_write_bio_PrivateKey($0, key, nil, nil, 0, nil, nil) }
    }

    private static func write(_ body: (OpaquePointer) -> Int32) -> [UInt8] {
        guard let bio = BIO_new(BIO_s_mem()) else { return [] }
        defer { BIO_free(bio) }
        guard body(bio) == 1 else { return [] }
        var pem: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 4096)
        while case let count = BIO_read(bio, &piece, Int32(piece.count)), count > 0 { pem += piece[..<Int(count)] }
        return pem
    }

    /// When it expires, in seconds since 1970.
    package var end: Int {
        var time = tm()
        guard ASN1_TIME_to_tm(X509_get0_notAfter(x509), &time) == 1 else { return 0 }
        return timegm(&time)
    }

    /// Its SHA-256 fingerprint as browsers show it: pairs of hexadecimal digits with colons between.
    package var fingerprint: String {
        var digest = [UInt8](repeating: 0, count: 32)
        var length: UInt32 = 32
        guard X509_digest(x509, EVP_sha256(), &digest, &length) == 1 else { return "" }
        let digits = Array("0123456789ABCDEF")
        return digest.map { "\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined(separator: ":")
    }

    /// The IP networks that this authority may vouch for, as bytes: each an address followed by its mask. Nil: all.
    ///
    /// - RFC: 5280 4.2.1.10.
    private var permittedNetworks: [[UInt8]]? {
        guard let found = X509_get_ext_d2i(x509, NID_name_constraints, nil, nil) else { return nil }
        let constraints = found.assumingMemoryBound(to: NAME_CONSTRAINTS.self)
        defer { NAME_CONSTRAINTS_free(constraints) }
        let subtrees = constraints.pointee.permittedSubtrees
        var networks: [[UInt8]] = []
        for index in 0..<max(0, OPENSSL_sk_num(subtrees)) {
            guard
                let name = OPENSSL_sk_value(subtrees, index)?.assumingMemoryBound(to: GENERAL_SUBTREE.self).pointee
                    .base,
                name.pointee.type == GEN_IPADD, let bytes = name.pointee.d.iPAddress
            else { continue }
            let length = Int(ASN1_STRING_length(bytes))
            networks.append(Array(UnsafeBufferPointer(start: ASN1_STRING_get0_data(bytes), count: length)))
        }
        return networks.isEmpty ? nil : networks
    }

    /// Whether this authority may vouch only for single addresses and for loopback addresses.
    package var vouchesForHostsOnly: Bool {
        permittedNetworks?.allSatisfy { network in
            let mask = network.suffix(network.count / 2)
            return mask.allSatisfy { $0 == 0xFF } || network == [127, 0, 0, 0, 255, 0, 0, 0]
        } ?? false
    }

    /// Whether this authority may vouch for an IP address (in text form).
    package func mayVouch(for address: String) -> Bool {
        guard let networks = permittedNetworks else { return true }
        guard let text = a2i_IPADDRESS(address) else { return false }
        defer { ASN1_OCTET_STRING_free(text) }
        let bytes = UnsafeBufferPointer(start: ASN1_STRING_get0_data(text), count: Int(ASN1_STRING_length(text)))
        return networks.contains { network in
            guard network.count == 2 * bytes.count else { return false }
            return bytes.indices.allSatisfy { bytes[$0] & network[bytes.count + $0] == network[$0] }
        }
    }

    /// What this authority may vouch for, as text: `127.0.0.0/8, ::1, 192.0.2.7`.
    package var scope: String {
        guard let networks = permittedNetworks else { return "all addresses" }
        return networks.map { network in
            let length = network.count / 2
            let (high, low) = network.prefix(length).reduce((UInt64(0), UInt64(0))) {
                ($0.0 << 8 | $0.1 >> 56, $0.1 << 8 | UInt64($1))
            }
            let address = SocketAddress(high: high, low: low, port: 0, isIPv6: length == 16)
            let bits = network.suffix(length).reduce(0) { $0 + $1.nonzeroBitCount }
            return address.ip + (bits == 8 * length ? "" : "/\(bits)")
        }.joined(separator: ", ")
    }

    /// Whether it is valid for connections to this host, by a name among its alternative names.
    ///
    /// - RFC: 9525 6.3: wildcards stand for a whole label; the subject's common name does not count.
    package func covers(host: String) -> Bool {
        let flags = UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)
        return X509_check_host(x509, host, host.utf8.count, flags, nil) == 1
    }

    /// Whether it is valid for connections to this IP address (in text form).
    package func covers(address: String) -> Bool { X509_check_ip_asc(x509, address, 0) == 1 }
}

/// What is wrong with a certificate or key: completes a sentence that begins with the file.
package struct CertificateError: Error, CustomStringConvertible, Sendable {
    package let description: String

    init(_ description: String) { self.description = description }
}
