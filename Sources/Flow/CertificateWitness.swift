import NIOSSL

/// Records what BoringSSL's verification sees and decides for each certificate.
///
/// It is asked for a decision and always accepts: the flow should continue, and problems are reported. Nothing secret
/// is ever sent over such a connection.
final class CertificateWitness {
    private(set) var seen: [NIOSSLCertificate] = []
    private(set) var refused: Set<NIOSSLCertificate> = []
    /// When the first certificate was seen.
    private(set) var time: ContinuousClock.Instant?

    private static let most = 64

    func note(_ result: NIOSSLVerificationResult, _ certificate: NIOSSLCertificate) -> NIOSSLVerificationResult {
        if time == nil { time = .now }
        if seen.count < Self.most, !seen.contains(certificate) { seen.append(certificate) }
        if case .failed = result, refused.count < Self.most { refused.insert(certificate) }
        return .certificateVerified
    }
}

/// Makes TLS handlers whose verification a witness records.
protocol WitnessedHandlers {
    static func make(
        _ context: NIOSSLContext, serverName: String?, _ witness: CertificateWitness
    ) throws -> NIOSSLClientHandler
}

/// NIOSSL deprecates this form. Its replacement does not run BoringSSL's verification, whose verdict is needed here.
enum VerifyingHandlers: WitnessedHandlers {
    @available(*, deprecated, message: "called through WitnessedHandlers")
    static func make(
        _ context: NIOSSLContext, serverName: String?, _ witness: CertificateWitness
    ) throws -> NIOSSLClientHandler {
        try NIOSSLClientHandler(
            context: context, serverHostname: serverName, verificationCallback: { witness.note($0, $1) })
    }
}
