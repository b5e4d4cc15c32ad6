import DNSWire
import Lookup
package import Pipeline
import Platform

/// Which clients get the reason of an answer in an extended error.
package enum ReasonAudience: String, Sendable, CaseIterable { case loopback, all, off }

/// Settings of the service, shared by all serving threads.
package struct ServiceSettings: Sendable {
    var cookie: ServerCookie
    /// Sent to clients that ask for it (NSID, RFC 5001); empty: never sent.
    var identity: [UInt8]
    var streams = StreamLimits()
    var explains = ReasonAudience.off

    package init(
        cookie: ServerCookie, identity: [UInt8] = [],
        streams: StreamLimits = StreamLimits(), explains: ReasonAudience = .off
    ) {
        self.cookie = cookie
        self.identity = identity
        self.streams = streams
        self.explains = explains
    }

    /// How long an idle stream stays open, in units of 100 ms (RFC 7828 3.1).
    var keepalive: UInt16 { UInt16(clamping: streams.idleTimeout / 100) }

    /// Whether `client` gets reasons: they contain paths of this machine, which are not for everyone.
    func explains(to client: SocketAddress) -> Bool {
        switch explains {
        case .loopback: client.isLoopback
        case .all: true
        case .off: false
        }
    }
}

/// Everything that a reload replaces, as one: the data to answer from, and how it is served.
package final class ServedData: Sendable {
    package let pipeline: Pipeline
    let service: ServiceSettings
    /// RA: there is an upstream to ask.
    let recursionAvailable: Bool
    /// Paths of the places that decisions refer to.
    let paths: PathTexts

    package init(pipeline: Pipeline, service: ServiceSettings, recursionAvailable: Bool) {
        self.pipeline = pipeline
        self.service = service
        self.recursionAvailable = recursionAvailable
        // A place gets its number at first use; these must have theirs before `paths` is built.
        _ = Pipeline.documents
        paths = PathTexts()
    }

    deinit { paths.deallocate() }
}
