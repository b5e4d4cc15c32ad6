import NIOSSL

/// What BoringSSL's verification looks at and says about each certificate.
///
/// It has a say, and always says yes: the flow is to go on, and what was wrong is to be told. Nothing that is secret is
/// ever sent over such a connection.
final class CertificateWitness {
    private(set) var seen: [NIOSSLCertificate] = []
    private(set) var refused: Set<NIOSSLCertificate> = []
    /// When the first one was looked at.
    private(set) var time: ContinuousClock.Instant?

    private static let most = 64

    func note(_ result: NIOSSLVerificationResult, _ certificate: NIOSSLCertificate) -> NIOSSLVerificationResult {
        if time == nil { time = .now }
        if seen.count < Self.most, !seen.contains(certificate) { seen.append(certificate) }
        if case .failed = result, refused.count < Self.most { refused.insert(certificate) }
        return .certificateVerified
    }
}

/// Makes TLS handlers whose verification a witness watches.
protocol WitnessedHandlers {
    static func make(
        _ context: NIOSSLContext, serverName: String?, _ witness: CertificateWitness
    ) throws -> NIOSSLClientHandler
}

/// NIOSSL calls this form deprecated; the form that took its place verifies nothing by itself, and the verdict of
/// BoringSSL is what is to be shown.
enum VerifyingHandlers: WitnessedHandlers {
    @available(*, deprecated, message: "called through WitnessedHandlers")
    static func make(
        _ context: NIOSSLContext, serverName: String?, _ witness: CertificateWitness
    ) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(
            context: context, serverHostname: serverName, verificationCallback: { witness.note($0, $1) })
    }
}
