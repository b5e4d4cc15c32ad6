import DNSWire
import Lookup
package import Pipeline
import Platform

/// Whose answers say in an extended error why they are as they are.
package enum Explains: String, Sendable, CaseIterable { case loopback, all, off }

/// What all serving threads know about the service, but for its data.
package struct ServiceSettings: Sendable {
    package var access: AccessList
    var cookie: ServerCookie
    /// Answer to `id.server. CH TXT` and NSID; empty: refused.
    var identity: [UInt8]
    /// Answer to `version.bind. CH TXT`; empty: refused.
    var version: [UInt8]
    var streams = StreamLimits()
    var explains = Explains.off

    package init(
        access: AccessList, cookie: ServerCookie, identity: [UInt8], version: [UInt8],
        streams: StreamLimits = StreamLimits(), explains: Explains = .off
    ) {
        self.access = access
        self.cookie = cookie
        self.identity = identity
        self.version = version
        self.streams = streams
        self.explains = explains
    }

    /// How long an idle stream stays open, in units of 100 ms (RFC 7828 3.1).
    var keepalive: UInt16 { UInt16(clamping: streams.idleTimeout / 100) }

    /// Whether `client` is told the reason of its answer: paths of this machine are not everybody's business.
    func explains(to client: SocketAddress) -> Bool {
        switch explains {
        case .loopback: client.isLoopback
        case .all: true
        case .off: false
        }
    }

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

    fileprivate static let place = Place(path: "RFC 4892 3.1")
}

/// Everything that a reload replaces, as a whole: the data that is answered from, and how it is served.
package final class ServedData: Sendable {
    package let chain: SourceChain
    let service: ServiceSettings
    /// RA: there is an upstream to ask.
    let recursionAvailable: Bool
    /// Of the places that decisions speak of.
    let paths: PathTexts

    package init(chain: SourceChain, service: ServiceSettings, recursionAvailable: Bool) {
        self.chain = chain
        self.service = service
        self.recursionAvailable = recursionAvailable
        // Places are known from their first use on: these are to be known now.
        _ = (SourceChain.documents, ServiceSettings.place)
        paths = PathTexts()
    }

    deinit { paths.deallocate() }
}
