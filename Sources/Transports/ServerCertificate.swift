package import Certificates
import Glibc
import NIOSSL
package import Platform
import Synchronization

/// The certificate of the encrypted transports: configured, or issued by the local authority and renewed in time.
package final class ServerCertificate: Sendable {
    private struct Current {
        var dot: NIOSSLContext
        var doh: NIOSSLContext
        /// Seconds since 1970; nil for a configured certificate, which the user renews.
        var renewal: Int?
        /// The requested addresses that it is valid for.
        var covered: Set<String>
        var addresses: Addresses
    }

    /// The addresses clients use.
    private struct Addresses {
        /// Those that are named in the configuration.
        var named: [String] = []
        /// The machine's own behind a wildcard address: they may change without a change of the configuration.
        var others: [String] = []

        init(_ encrypted: [EncryptedAddress]) {
            for address in encrypted.map(\.address) where !address.isUnspecified {
                if !named.contains(address.unscopedIP) { named.append(address.unscopedIP) }
            }
            for address in encrypted.map(\.address) where address.isUnspecified {
                for own in address.reachable.map(\.unscopedIP) where !named.contains(own) && !others.contains(own) {
                    others.append(own)
                }
            }
        }
    }

    /// An issued certificate is renewed this long before it expires, in seconds.
    private static let renewalMargin = 30 * 86_400
    /// After a failed renewal, seconds until the next attempt.
    private static let retryInterval = 3600

    private let files: (certificate: String, key: String)?
    private let encrypted: [EncryptedAddress]
    private let authority: LocalAuthority
    private let current: Mutex<Current>

    /// For `encrypted`; `files` are the certificate (with its chain) and its key. Nil: `authority` issues one.
    ///
    /// - Throws: `ServiceFailure` with the file that can't be used.
    package init(
        _ files: (certificate: String, key: String)?, for encrypted: [EncryptedAddress],
        authority: LocalAuthority = LocalAuthority()
    ) throws(ServiceFailure) {
        self.files = files
        self.encrypted = encrypted
        self.authority = authority
        current = Mutex(try Self.load(files, Addresses(encrypted), authority))
    }

    /// The context for a new connection.
    func context(for service: EncryptedAddress.Service) -> NIOSSLContext {
        current.withLock { current in
            if let renewal = current.renewal, time(nil) >= renewal { renew(&current) }
            return service == .tls ? current.dot : current.doh
        }
    }

    func covers(_ address: SocketAddress) -> Bool { current.withLock { $0.covered.contains(address.unscopedIP) } }

    /// Reads the files again. Those that can't be used are reported, and the old certificate stays. One of the local
    /// authority, which is renewed in time, is made anew only for addresses that the machine has got since.
    func reload() {
        let now = Addresses(encrypted)
        current.withLock { current in
            let isNew = now.others.contains { !current.addresses.others.contains($0) && !$0.hasPrefix("fe80:") }
            if files != nil || isNew { renew(&current) }
        }
    }

    private func renew(_ current: inout Current) {
        do { current = try Self.load(files, Addresses(encrypted), authority) } catch {
            Report.line("\(error); the certificate in use stays")
            if current.renewal != nil { current.renewal = time(nil) + Self.retryInterval }
        }
    }

    private static func load(
        _ files: (certificate: String, key: String)?, _ addresses: Addresses, _ authority: LocalAuthority
    ) throws(ServiceFailure) -> Current {
        var chain: [UInt8]
        let key: [UInt8]
        var renewal: Int?
        if let files {
            chain = try read(files.certificate)
            key = try read(files.key)
        } else {
            do {
                let issuer = try authority.loadOrMake(for: addresses.named)
                let others = addresses.others.filter { issuer.mayVouch(for: $0) }
                if others.count < addresses.others.count {
                    let left = addresses.others.filter { !others.contains($0) }
                    Report.problem(
                        "the local CA does not vouch for \(left.joined(separator: ", ")), which the machine has got since it "
                            + "was made; name it with --listen, or remove \(authority.folder)/ca.*, to have a new one")
                }
                let issued = try issuer.issue(forAddresses: addresses.named + others)
                chain = issued.pem + issuer.pem
                key = issued.keyPEM
                renewal = issued.end - renewalMargin
            } catch {
                throw ServiceFailure(
                    .configuration,
                    "\(error); the local CA is kept there: make it writable, or give --certificate and --key")
            }
        }
        let covered: Set<String>
        do {
            let certificate = try Certificate(pem: chain, keyPEM: key)
            covered = Set((addresses.named + addresses.others).filter { certificate.covers(address: $0) })
        } catch {
            throw ServiceFailure(.configuration, "\(files?.certificate ?? authority.certificatePath): \(error)")
        }
        do {
            return Current(
                dot: try context(chain, key, ["dot"]), doh: try context(chain, key, ["h2", "http/1.1"]),
                renewal: renewal, covered: covered, addresses: addresses)
        } catch {
            throw ServiceFailure(
                .configuration, "\(files?.certificate ?? authority.certificatePath): can't be used for TLS: \(error)")
        }
    }

    private static func read(_ path: String) throws(ServiceFailure) -> [UInt8] {
        do { return try FileText.bytes(of: path, limit: Certificate.largestFile) } catch {
            throw ServiceFailure(.configuration, "\(path): \(error); name a PEM file that this user may read")
        }
    }

    /// - RFC: 7858 3.2, 9325 3.1.1: at least TLS 1.2.
    private static func context(_ chain: [UInt8], _ key: [UInt8], _ protocols: [String]) throws -> NIOSSLContext {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(chain).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: key, format: .pem)))
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = protocols
        return try NIOSSLContext(configuration: configuration)
    }
}
