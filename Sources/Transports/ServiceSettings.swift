import DNSWire
import Lookup
package import Pipeline
package import Platform

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

/// Everything that a reload replaces, as one: the data to answer from, and how it is served. Those of a view are in
/// `views`.
package final class ServedData: Sendable {
    package let pipeline: Pipeline
    let service: ServiceSettings
    /// RA: there is an upstream to ask.
    let recursionAvailable: Bool
    /// Paths of the places that decisions refer to.
    var paths: PathTexts { sharedPaths.texts }
    private let sharedPaths: SharedPathTexts
    /// The number of the view; 0: of the queries of no view.
    package let view: UInt16
    /// Whose servers are asked; see `FetchKey`.
    package let partition: UInt16

    /// In the order in which they are tried.
    package let views: [View]
    /// Those that are told by where they are asked alone, by address.
    private let byAddress: [SocketAddress: Int]
    /// The others.
    private let byClient: [Int]

    /// A view, and which queries it is for.
    package struct View: Sendable {
        /// Empty: wherever it is asked.
        package var listen: [SocketAddress]
        /// Empty: whoever asks.
        package var clients: [AddressNetwork]
        package var data: ServedData

        package init(listen: [SocketAddress], clients: [AddressNetwork], data: ServedData) {
            self.listen = listen
            self.clients = clients
            self.data = data
        }

        func fits(_ client: SocketAddress, _ local: SocketAddress) -> Bool {
            (listen.isEmpty || listen.contains(local))
                && (clients.isEmpty || clients.contains { $0.contains(client) })
        }
    }

    package init(pipeline: Pipeline, service: ServiceSettings, recursionAvailable: Bool, views: [View] = []) {
        self.pipeline = pipeline
        self.service = service
        self.recursionAvailable = recursionAvailable
        view = 0
        partition = 0
        self.views = views
        var byAddress: [SocketAddress: Int] = [:]
        for (index, view) in views.enumerated() where view.clients.isEmpty {
            for address in view.listen where byAddress[address] == nil { byAddress[address] = index }
        }
        self.byAddress = byAddress
        byClient = views.indices.filter { !views[$0].clients.isEmpty }
        // A place gets its number at first use; these must have theirs before `paths` is built.
        _ = Pipeline.documents
        sharedPaths = views.first?.data.sharedPaths ?? SharedPathTexts()
    }

    /// The data of a view. All views of one `ServedData` share the texts of the first.
    package init(
        _ pipeline: Pipeline, _ service: ServiceSettings, recursionAvailable: Bool, view: UInt16, partition: UInt16,
        sharing other: ServedData?
    ) {
        self.pipeline = pipeline
        self.service = service
        self.recursionAvailable = recursionAvailable
        self.view = view
        self.partition = partition
        views = []
        byAddress = [:]
        byClient = []
        _ = Pipeline.documents
        sharedPaths = other?.sharedPaths ?? SharedPathTexts()
    }

    /// What a query is answered from that comes from `client` to `local`.
    @inline(__always)
    func data(for client: SocketAddress, at local: SocketAddress) -> ServedData {
        views.isEmpty ? self : selected(client, local)
    }

    @inline(never)
    private func selected(_ client: SocketAddress, _ local: SocketAddress) -> ServedData {
        var found = byAddress[local] ?? views.count
        let client = client.unmapped
        for index in byClient where index < found && views[index].fits(client, local) {
            found = index
            break
        }
        return found < views.count ? views[found].data : self
    }

    /// That of the view with this number; if it is gone, that of the queries of no view.
    package func data(ofView number: UInt16) -> ServedData {
        number == 0 ? self : views.first { $0.data.view == number }?.data ?? self
    }

    /// The data whose answers from upstream are kept with those of this partition; nil if its view is gone.
    func data(ofPartition number: UInt16) -> ServedData? {
        number == 0 ? self : views.first { $0.data.partition == number }?.data
    }
}

/// Frees the texts with the last snapshot that uses them.
private final class SharedPathTexts: Sendable {
    let texts = PathTexts()
    deinit { texts.deallocate() }
}
