import DNSWire
import Resolution

/// What all serving threads know about the service, but for its data.
struct ServiceSettings: Sendable {
    var access: AccessList
    var cookie: ServerCookie
    /// Answer to `id.server. CH TXT` and NSID; empty: refused.
    var identity: [UInt8]
    /// Answer to `version.bind. CH TXT`; empty: refused.
    var version: [UInt8]
    var streams = Configuration.Streams()

    /// How long an idle stream stays open, in units of 100 ms (RFC 7828 3.1).
    var keepalive: UInt16 { UInt16(clamping: streams.idleTimeout / 100) }

    private static let versionNames: [Name?] = [Name("version.bind."), Name("version.server.")]
    private static let identityNames: [Name?] = [Name("id.server."), Name("hostname.bind.")]

    /// Answers the questions about the server itself.
    ///
    /// - RFC: 4892 3.1.
    func answerChaos(
        _ name: borrowing LookupName, _ type: RecordType, _ builder: inout ResponseBuilder,
        _ decision: inout Decision
    ) {
        let asked = name.name
        let isVersion = Self.versionNames.contains(asked)
        let text = isVersion ? version : identity
        guard isVersion || Self.identityNames.contains(asked), !text.isEmpty else {
            decision.fail(.refused, .notSupported, "of class CH only version.bind and id.server are served")
            return
        }
        decision.source = .special
        decision.place = Self.place
        decision.authoritative = true
        guard type == .txt || type == .any else { return }
        ([UInt8(text.count)] + text).withUnsafeBytes {
            _ = builder.append(owner: .at(Header.length), type: .txt, recordClass: .ch, ttl: 0, rdata: $0)
        }
    }

    private static let place = Place(path: "RFC 4892 3.1")
}

/// Everything that a reload replaces, as a whole: the data that is answered from, and how it is served.
final class LocalData: Sendable {
    let chain: SourceChain
    let service: ServiceSettings
    /// RA: there is an upstream to ask.
    let recursionAvailable: Bool

    init(chain: SourceChain, service: ServiceSettings, recursionAvailable: Bool) {
        self.chain = chain
        self.service = service
        self.recursionAvailable = recursionAvailable
    }
}
