import DNSWire
import Lookup
package import Pipeline
import Platform

/// Whose answers say in an extended error why they are as they are.
package enum Explains: String, Sendable, CaseIterable { case loopback, all, off }

/// What all serving threads know about the service, but for its data.
package struct ServiceSettings: Sendable {
    var cookie: ServerCookie
    /// Sent to clients that ask for it (NSID, RFC 5001); empty: to nobody.
    var identity: [UInt8]
    var streams = StreamLimits()
    var explains = Explains.off

    package init(
        cookie: ServerCookie, identity: [UInt8] = [],
        streams: StreamLimits = StreamLimits(), explains: Explains = .off
    ) {
        self.cookie = cookie
        self.identity = identity
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
}

/// Everything that a reload replaces, as a whole: the data that is answered from, and how it is served.
package final class ServedData: Sendable {
    package let pipeline: Pipeline
    let service: ServiceSettings
    /// RA: there is an upstream to ask.
    let recursionAvailable: Bool
    /// Of the places that decisions speak of.
    let paths: PathTexts

    package init(pipeline: Pipeline, service: ServiceSettings, recursionAvailable: Bool) {
        self.pipeline = pipeline
        self.service = service
        self.recursionAvailable = recursionAvailable
        // Places are known from their first use on: these are to be known now.
        _ = Pipeline.documents
        paths = PathTexts()
    }

    deinit { paths.deallocate() }
}
