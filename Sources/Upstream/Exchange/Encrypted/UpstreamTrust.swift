import Glibc
import NIOCore
import NIOSSL
import Platform
import Synchronization

/// Whom to trust: certificates are always verified, by the server's name or by its address.
///
/// - RFC: 8310 5 (strict privacy); 7858 3.2.
struct UpstreamTrust: Sendable {
    private let dot: NIOSSLContext
    private let doh: NIOSSLContext

    /// `authorities`: the trusted certificates; nil: the system's.
    init(_ authorities: UpstreamServer.Authorities?) throws {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv12
        configuration.certificateVerification = .fullVerification
        if let authorities {
            configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMBytes(authorities.pem))
        }
        dot = try NIOSSLContext(configuration: configuration)
        configuration.applicationProtocols = ["h2"]
        doh = try NIOSSLContext(configuration: configuration)
    }

    /// A handler for a connection, and what it saw.
    func handler(
        for transport: UpstreamTransport, name: String?
    ) throws -> (handler: NIOSSLClientHandler, verdict: CertificateVerdict) {
        let verdict = CertificateVerdict()
        let maker: any JudgedHandlers.Type = NIOSSLHandlers.self
        return (try maker.make(transport == .doh ? doh : dot, name: name, verdict), verdict)
    }
}

/// The settings of TLS by the trusted certificates, made when the first connection needs them, on its event loop: reading
/// the system's certificates takes longer than a serving thread may stand still.
final class UpstreamTrusts: Sendable {
    private let known = Mutex<[UpstreamServer.Authorities?: UpstreamTrust]>([:])

    func trust(_ authorities: UpstreamServer.Authorities?) throws -> UpstreamTrust {
        try known.withLock { known in
            let trust = try known[authorities] ?? UpstreamTrust(authorities)
            known[authorities] = trust
            return trust
        }
    }
}

/// Why BoringSSL refused a certificate. Its decision stands.
final class CertificateVerdict {
    private(set) var fault: UpstreamFault?

    func note(_ result: NIOSSLVerificationResult, _ certificate: NIOSSLCertificate) -> NIOSSLVerificationResult {
        if case .failed = result, fault == nil {
            let now = time(nil)
            let isCurrent = certificate.notValidBefore <= now && now <= certificate.notValidAfter
            fault = isCurrent ? .untrusted : .expired
        }
        return result
    }
}

/// Makes TLS handlers that tell `CertificateVerdict` what they decide.
protocol JudgedHandlers {
    static func make(
        _ context: NIOSSLContext, name: String?, _ verdict: CertificateVerdict
    ) throws -> NIOSSLClientHandler
}

/// NIOSSL deprecates this form. Its replacement does not run BoringSSL's verification, which decides here.
enum NIOSSLHandlers: JudgedHandlers {
    @available(*, deprecated, message: "called through JudgedHandlers")
    static func make(
        _ context: NIOSSLContext, name: String?, _ verdict: CertificateVerdict
    ) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(
            context: context, serverHostname: name, verificationCallback: { verdict.note($0, $1) })
    }
}
