import Glibc
import NIOSSL
import Platform

/// The server's certificate chain, and whether it verifies.
package struct CertificateReport: Sendable {
    package struct Certificate: Hashable, Sendable {
        /// `CN=acme.org`, or all attributes if there is no common name.
        package var subject: String
        package var issuer: String
        /// The DNS names and addresses that it covers.
        package var names: [String]
        /// Seconds since 1970.
        package var notBefore: Int
        package var notAfter: Int
        package var isSelfIssued: Bool

        package init(
            subject: String, issuer: String, names: [String], notBefore: Int, notAfter: Int, isSelfIssued: Bool
        ) {
            self.subject = subject
            self.issuer = issuer
            self.names = names
            self.notBefore = notBefore
            self.notAfter = notAfter
            self.isSelfIssued = isSelfIssued
        }

        var firstDay: String { CalendarTime(seconds: notBefore).date }
        var lastDay: String { CalendarTime(seconds: notAfter).date }
    }

    /// The server's own certificate first, then each one's issuer.
    package var chain: [Certificate]
    /// Why verification fails; empty if it succeeds.
    package var problems: [String]

    package var isTrusted: Bool { problems.isEmpty }

    package init(chain: [Certificate], problems: [String]) {
        self.chain = chain
        self.problems = problems
    }
}

extension CertificateReport {
    /// The most certificates and names that are shown.
    private static let mostCertificates = 10
    private static let mostNames = 50

    /// Judges what BoringSSL saw during verification.
    ///
    /// - Parameters:
    ///   - leaf: the server's own certificate.
    ///   - seen: all certificates that verification looked at, in any order.
    ///   - refused: those that it rejected.
    ///   - now: seconds since 1970.
    init(
        leaf: NIOSSLCertificate, seen: [NIOSSLCertificate], refused: Set<NIOSSLCertificate>, host: String, now: Int
    ) {
        var certificates = [leaf]
        while let last = certificates.last, certificates.count < Self.mostCertificates,
            last.subjectName != last.issuerName,
            let issuer = seen.first(where: { $0.subjectName == last.issuerName && !certificates.contains($0) })
        {
            certificates.append(issuer)
        }
        self.init(chain: certificates.map(Certificate.init), problems: [])
        for certificate in chain {
            if certificate.notAfter < now {
                problems.append("\(certificate.subject) expired on \(certificate.lastDay)")
            } else if certificate.notBefore > now {
                problems.append("\(certificate.subject) is valid only from \(certificate.firstDay) on")
            }
        }
        if !Self.covers(chain[0].names, host) {
            let names = chain[0].names
            let more = names.count > 3 ? ", \(names.count - 3) more" : ""
            problems.append(
                names.isEmpty
                    ? "it names no host"
                    : "it is for \(names.prefix(3).joined(separator: ", "))\(more), not for \(host)")
        }
        if let reason = distrust(certificates, refused, now) { problems.append(reason) }
    }

    /// What is wrong apart from dates and names.
    private func distrust(
        _ certificates: [NIOSSLCertificate], _ refused: Set<NIOSSLCertificate>, _ now: Int
    ) -> String? {
        guard let last = chain.last else { return nil }
        // Verification rejects the last certificate if its issuer is not trusted.
        if refused.contains(certificates[certificates.count - 1]), last.notBefore <= now, now <= last.notAfter {
            if chain.count == 1, last.isSelfIssued { return "it is self-signed, and not among the trusted" }
            return last.isSelfIssued
                ? "its root \(last.subject) is not among the trusted"
                : "the issuer \(last.issuer) is not known: not among the trusted, and not sent"
        }
        let others = zip(certificates, chain).filter { certificate, part in
            refused.contains(certificate) && part.notBefore <= now && now <= part.notAfter
        }
        return others.first.map { "\($0.1.subject) is not fit for its place (usage, signature or constraints)" }
    }

    /// Whether one of a certificate's names matches `host`: an address, or a name whose first label may be `*`.
    ///
    /// - RFC: 9525 6.3.
    static func covers(_ names: [String], _ host: String) -> Bool {
        if SocketAddress(ip: host, port: 0) != nil { return names.contains(host) }
        let labels = host.lowercased().split(separator: ".", omittingEmptySubsequences: false)
        return names.contains { name in
            var own = name.lowercased().split(separator: ".", omittingEmptySubsequences: false)
            if own.last?.isEmpty == true { own.removeLast() }
            guard own.count == labels.count, own.count > 0 else { return false }
            if own[0] == "*" { return own.count > 1 && own.dropFirst() == labels.dropFirst() }
            return own == labels
        }
    }
}

extension CertificateReport.Certificate {
    fileprivate init(_ certificate: NIOSSLCertificate) {
        let subject = certificate.subjectName
        let issuer = certificate.issuerName
        var names: [String] = []
        for name in certificate._subjectAlternativeNames().prefix(50) {
            switch name.nameType {
            case .dnsName: names.append(String(decoding: name.contents.prefix(255), as: UTF8.self))
            case .ipAddress:
                if let address = SocketAddress(rdata: Array(name.contents), port: 0) { names.append(address.ip) }
            default: break
            }
        }
        self.init(
            subject: Self.text(subject), issuer: Self.text(issuer), names: names,
            notBefore: Int(certificate.notValidBefore), notAfter: Int(certificate.notValidAfter),
            isSelfIssued: subject == issuer)
    }

    private static func text(_ name: [SSLCertificateName]) -> String {
        let known: [(SSLCertificateNameType, String)] = [
            (.commonName, "CN"), (.organization, "O"), (.organizationalUnit, "OU"), (.city, "L"), (.state, "ST"),
            (.country, "C"),
        ]
        func part(_ entry: SSLCertificateName) -> String? {
            known.first { $0.0 == entry.type }.map { "\($0.1)=\(entry.value.prefix(100))" }
        }
        // The last common name is the most significant.
        if let common = name.last(where: { $0.type == .commonName }), let text = part(common) { return text }
        let parts = name.prefix(6).compactMap(part)
        return parts.isEmpty ? "(without a name)" : parts.joined(separator: ", ")
    }
}
