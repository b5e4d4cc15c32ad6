internal import COpenSSL
import Glibc

extension Certificate {
    /// The lifetime of the local authority, in days.
    static let authorityDays = 3650
    /// The lifetime of a certificate that it issues, in days; browsers limit it.
    static let leafDays = 90

    /// Makes a local authority that can vouch only for the loopback addresses, the addresses `hosts` and `localhost`:
    /// even a stolen key can't impersonate web sites or other machines.
    ///
    /// - RFC: 5280 4.2.1.9 (path length 0), 4.2.1.10 (name constraints).
    package static func makeAuthority(name: String, hosts: [String]) throws(CertificateError) -> Certificate {
        var networks = ["127.0.0.0/255.0.0.0"]
        for host in ["::1"] + hosts {
            let network = host + (host.contains(":") ? "/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" : "/255.255.255.255")
            if !networks.contains(network), !host.hasPrefix("127.") { networks.append(network) }
        }
        return try makeAuthority(name: name, networks: networks)
    }

    /// `networks`: address and mask, as `127.0.0.0/255.0.0.0`.
    static func makeAuthority(name: String, networks: [String]) throws(CertificateError) -> Certificate {
        try make(
            name: name, days: authorityDays, issuer: nil,
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"), (NID_key_usage, "critical,keyCertSign"),
                (NID_subject_key_identifier, "hash"),
                (
                    NID_name_constraints,
                    "critical,permitted;DNS:localhost" + networks.map { ",permitted;IP:\($0)" }.joined()
                ),
            ])
    }

    /// Issues a certificate for a server at these IP addresses.
    ///
    /// - RFC: 5280 4.2.1.6, 4.2.1.12; 9462 4.2 for addresses as subject alternative names.
    package borrowing func issue(forAddresses addresses: [String]) throws(CertificateError) -> Certificate {
        guard let key else { throw CertificateError("has no key here, and so can't issue anything") }
        let names = ["DNS:localhost"] + addresses.map { "IP:\($0)" }
        return try Self.make(
            name: addresses.first ?? "localhost", days: Self.leafDays, issuer: (x509, key),
            extensions: [
                (NID_basic_constraints, "critical,CA:FALSE"), (NID_key_usage, "critical,digitalSignature"),
                (NID_ext_key_usage, "serverAuth"), (NID_subject_key_identifier, "hash"),
                (NID_authority_key_identifier, "keyid:always"),
                (NID_subject_alt_name, names.joined(separator: ",")),
            ])
    }

    private static func make(
        name: String, days: Int, issuer: (x509: OpaquePointer, key: OpaquePointer)?,
        extensions: [(nid: Int32, value: String)]
    ) throws(CertificateError) -> Certificate {
        guard let key = newKey(), let x509 = X509_new() else { throw failure("no key could be made") }
        let made = Certificate(x509, key: key)
        var serial = [UInt8](repeating: 0, count: 16)
        guard RAND_bytes(&serial, 16) == 1 else { throw failure("the system has no random numbers") }
        // Positive and of full length (RFC 5280 4.1.2.2).
        serial[0] = serial[0] & 0x3F | 0x40
        let subject = X509_get_subject_name(x509)
        let isNamed =
            X509_set_version(x509, 2) == 1
            && ASN1_STRING_set(X509_get_serialNumber(x509), &serial, 16) == 1
            // Clocks differ, so it is valid from an hour ago.
            && X509_gmtime_adj(X509_getm_notBefore(x509), -3600) != nil
            && X509_gmtime_adj(X509_getm_notAfter(x509), days * 86_400) != nil
            && X509_set_pubkey(x509, key) == 1
            && X509_NAME_add_entry_by_txt(subject, "O", utf8, "stub53", -1, -1, 0) == 1
            && X509_NAME_add_entry_by_txt(subject, "CN", utf8, name, -1, -1, 0) == 1
        let (issuerX509, issuerKey) = issuer ?? (x509, key)
        guard isNamed, X509_set_issuer_name(x509, X509_get_subject_name(issuerX509)) == 1 else {
            throw failure("the names could not be set")
        }
        var context = X509V3_CTX()
        X509V3_set_ctx(&context, issuerX509, x509, nil, nil, 0)
        for (nid, value) in extensions {
            guard let made = X509V3_EXT_conf_nid(nil, &context, nid, value) else {
                throw failure("'\(value)' could not be made")
            }
            defer { X509_EXTENSION_free(made) }
            guard X509_add_ext(x509, made, -1) == 1 else { throw failure("'\(value)' could not be added") }
        }
        guard X509_sign(x509, issuerKey, EVP_sha256()) > 0 else { throw failure("it could not be signed") }
        return made
    }

    /// MBSTRING_UTF8, a macro.
    private static let utf8: Int32 = 0x1000

    /// A P-256 key.
    private static func newKey() -> OpaquePointer? {
        guard let maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, nil) else { return nil }
        defer { EVP_PKEY_CTX_free(maker) }
        var key: OpaquePointer?
        guard EVP_PKEY_keygen_init(maker) == 1,
            EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) == 1,
            EVP_PKEY_keygen(maker, &key) == 1
        else { return nil }
        return key
    }

    private static func failure(_ what: String) -> CertificateError {
        ERR_clear_error()
        return CertificateError("a certificate can't be made: \(what)")
    }
}
