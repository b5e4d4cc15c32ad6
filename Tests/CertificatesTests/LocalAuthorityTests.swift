import Foundation
import TestSupport
import Testing

@testable import Certificates

/// The local CA, checked with the openssl command.
@Suite("The local CA")
struct LocalAuthorityTests {
    private let folder: TemporaryFolder
    private let authority: LocalAuthority

    init() throws {
        folder = try TemporaryFolder()
        authority = LocalAuthority(folder: folder.file("state/stub53"))
    }

    private func openssl(_ words: String...) async throws -> Command.Result {
        try await Command.run(words, executable: URL(filePath: "/usr/bin/openssl"), in: folder.path)
    }

    @Test("is created once, with a key that only its owner can read, and then stays the same")
    func madeOnce() throws {
        let first = try authority.loadOrMake().fingerprint
        let second = try authority.loadOrMake().fingerprint
        #expect(second == first)
        #expect(first.count == 95)
        let attributes = try FileManager.default.attributesOfItem(atPath: authority.folder + "/ca.key")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
        let end = try authority.loadOrMake().end
        #expect(abs(end - Int(Date().timeIntervalSince1970) - 3650 * 86_400) < 86_400)
    }

    @Test("issues certificates that verify for the requested addresses only")
    func issues() async throws {
        let ca = try authority.loadOrMake(for: ["2001:db8::53"])
        let leaf = try ca.issue(forAddresses: ["127.0.0.53", "2001:db8::53"])
        let covered = ["127.0.0.53", "2001:db8::53", "127.0.0.1"].filter { leaf.covers(address: $0) }
        #expect(covered == ["127.0.0.53", "2001:db8::53"])
        try folder.write(String(decoding: leaf.pem, as: UTF8.self), to: "leaf.pem")
        for (address, code) in [("127.0.0.53", Int32(0)), ("2001:db8::53", 0), ("127.0.0.54", 2)] {
            let result = try await openssl(
                "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority.certificatePath, "-verify_ip",
                address, "leaf.pem")
            #expect(result.code == code, "\(address): \(result.output)\(result.errors)")
        }
        let text = try await openssl("x509", "-in", "leaf.pem", "-noout", "-text").output
        #expect(text.contains("TLS Web Server Authentication") && text.contains("CA:FALSE"))
    }

    @Test("can't vouch for a web site, even with its key")
    func constrained() async throws {
        _ = try authority.loadOrMake()
        try folder.write("subjectAltName=DNS:acme.org\n", to: "names")
        #expect(
            try await openssl(
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "site.key", "-out",
                "site.csr", "-subj", "/CN=acme.org"
            ).code == 0)
        #expect(
            try await openssl(
                "x509", "-req", "-in", "site.csr", "-CA", authority.certificatePath, "-CAkey",
                authority.folder + "/ca.key", "-extfile", "names", "-out", "site.pem", "-days", "2"
            ).code == 0)
        let verdict = try await openssl("verify", "-CAfile", authority.certificatePath, "site.pem")
        #expect(verdict.code == 2)
        #expect((verdict.output + verdict.errors).contains("permitted subtree violation"))
    }

    @Test("can't vouch for another machine's address, even with its key")
    func otherMachine() async throws {
        let ca = try authority.loadOrMake(for: ["192.0.2.7"])
        for (address, isOwn) in [
            ("192.0.2.7", true), ("127.0.0.200", true), ("::1", true), ("192.0.2.8", false), ("2001:db8::1", false),
        ] {
            let mayVouch = ca.mayVouch(for: address)
            #expect(mayVouch == isOwn, "\(address)")
            let leaf = try ca.issue(forAddresses: [address])
            try folder.write(String(decoding: leaf.pem, as: UTF8.self), to: "leaf.pem")
            let verdict = try await openssl(
                "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", authority.certificatePath, "-verify_ip",
                address, "leaf.pem")
            #expect(verdict.code == (isOwn ? 0 : 2), "\(address): \(verdict.output)\(verdict.errors)")
            #expect(isOwn || (verdict.output + verdict.errors).contains("permitted subtree violation"))
        }
        let scope = ca.scope
        #expect(
            scope.hasPrefix("127.0.0.0/8, ::1, ") && scope.hasSuffix(", 192.0.2.7")
                || scope == "127.0.0.0/8, ::1, 192.0.2.7")
    }

    /// Puts an authority in place of the present one.
    private func replace(networks: [String]) throws -> String {
        let other = try Certificate.makeAuthority(name: "other", networks: networks)
        try folder.write(String(decoding: other.pem, as: UTF8.self), to: "state/stub53/ca.pem")
        try folder.write(String(decoding: other.keyPEM, as: UTF8.self), to: "state/stub53/ca.key")
        return other.fingerprint
    }

    @Test("is replaced if it could vouch for all addresses, as those of older versions could, or for too few")
    func replaced() throws {
        _ = try authority.loadOrMake()
        let wide = try replace(networks: ["0.0.0.0/0.0.0.0", "0:0:0:0:0:0:0:0/0:0:0:0:0:0:0:0"])
        let narrow = try authority.loadOrMake().fingerprint
        #expect(narrow != wide)
        let unlimited = try replace(networks: [])
        #expect(try authority.loadOrMake().fingerprint != unlimited)
        // For a network of several machines.
        let network = try replace(networks: ["127.0.0.0/255.0.0.0", "192.0.2.0/255.255.255.0"])
        #expect(try authority.loadOrMake().fingerprint != network)
        // It stays while it suffices.
        let one = try replace(networks: ["127.0.0.0/255.0.0.0", "192.0.2.7/255.255.255.255"])
        #expect(try authority.loadOrMake(for: ["192.0.2.7", "127.0.0.1"]).fingerprint == one)
        let both = try authority.loadOrMake(for: ["192.0.2.7", "192.0.2.8"])
        let (fingerprint, mayVouch) = (
            both.fingerprint, both.mayVouch(for: "192.0.2.7") && both.mayVouch(for: "192.0.2.8")
        )
        #expect(fingerprint != one && mayVouch)
    }

    @Test("reports which file can't be used, and why")
    func broken() throws {
        _ = try authority.loadOrMake()
        try folder.write("no certificate", to: "state/stub53/ca.pem")
        let error = #expect(throws: LocalAuthorityError.self) { _ = try authority.loadOrMake().end }
        #expect(error?.description.hasPrefix("\(authority.certificatePath): holds no certificate") == true)
    }

    @Test("A key must match its certificate")
    func pairs() throws {
        let one = try Certificate.makeAuthority(name: "one", hosts: [])
        let other = try Certificate.makeAuthority(name: "other", hosts: [])
        let read = try Certificate(pem: one.pem, keyPEM: one.keyPEM).fingerprint
        let made = one.fingerprint
        #expect(read == made)
        let (pem, key) = (one.pem, other.keyPEM)
        #expect(throws: CertificateError.self) { _ = try Certificate(pem: pem, keyPEM: key).end }
        #expect(throws: CertificateError.self) { _ = try Certificate(pem: Array("x".utf8)).end }
    }
}
