import NIOCore
import NIOSSL

/// The settings of a walk: who answers lookups, whom to trust, and its limits.
package struct FlowWalk: Sendable {
    /// Limits, because servers may be hostile.
    package struct Limits: Sendable {
        /// For each of: connection, handshake, response head, response body.
        package var step = Duration.seconds(5)
        /// For the whole walk.
        package var total = Duration.seconds(60)
        package var redirects = 10
        /// Addresses tried per name.
        package var addresses = 4
        /// HTTPS records in AliasMode that are followed.
        package var aliases = 8
        /// Bytes of a body.
        package var bytes = 1 << 20

        package init() {}
    }

    /// Why it can't start, and how to fix it: one sentence.
    package struct Problem: Error, CustomStringConvertible {
        package let description: String
    }

    /// The protocols offered by ALPN, as in browsers.
    static let protocols = ["h2", "http/1.1"]

    let lookup: any NameLookup
    let limits: Limits
    let agent: String
    let security: NIOSSLContext

    /// - Parameters:
    ///   - authorities: a PEM file with certificates to trust besides the system's.
    ///   - agent: the User-Agent field.
    package init(
        lookup: any NameLookup, authorities: String? = nil, agent: String, limits: Limits = Limits()
    ) throws(Problem) {
        self.lookup = lookup
        self.limits = limits
        self.agent = agent
        var configuration = TLSConfiguration.makeClientConfiguration()
        // The name is checked here, so that a mismatch is reported like other problems.
        configuration.certificateVerification = .noHostnameVerification
        configuration.minimumTLSVersion = .tlsv12
        configuration.applicationProtocols = Self.protocols
        if let authorities {
            do {
                let certificates = try NIOSSLCertificate.fromPEMFile(authorities)
                configuration.additionalTrustRoots = [.certificates(certificates)]
            } catch {
                throw Problem(description: "\(authorities): holds no certificate that can be read; give a PEM file")
            }
        }
        do {
            security = try NIOSSLContext(configuration: configuration)
        } catch {
            throw Problem(
                description: "the system's trusted certificates can't be read (\(error)); install ca-certificates")
        }
    }

    /// Walks from `url` to a page, or to the failure that ends the flow.
    package func walk(from url: FlowURL) async -> Flow {
        var walker = FlowWalker(walk: self)
        await walker.run(url)
        return Flow(url: url, lookup: lookup.description, steps: walker.steps)
    }
}

extension TimeAmount {
    init(_ duration: Duration) { self = .nanoseconds(Int64(duration / .nanoseconds(1))) }
}
