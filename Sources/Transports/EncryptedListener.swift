import Glibc
package import LocalData
package import LookupLog
import NIOCore
import NIOHTTP1
import NIOHTTP2
import NIOPosix
import NIOSSL
import NIOTLS
import Platform
import Synchronization

/// Serves DNS over TLS and HTTPS, on event loops of SwiftNIO. Uses the same `QueryHandler` as UDP.
///
/// - RFC: 7858; 8484; 8310 for how clients verify our certificate.
package final class EncryptedListener: Sendable {
    package typealias Address = EncryptedAddress

    private let group: MultiThreadedEventLoopGroup
    private let loops: [ObjectIdentifier: NIOLoopBound<EncryptedLoop>]
    private let certificate: ServerCertificate
    private let channels = Mutex<[any Channel]>([])
    private let served = Mutex<[Address]>([])

    /// At shutdown, how long clients have to take their last answers.
    private static let drainTimeout = TimeAmount.seconds(1)

    package init(
        threads: Int, certificate: ServerCertificate, store: ServedDataStore, forwarding: Forwarding,
        budget: StreamBudget, makeRing: @escaping @Sendable () -> LookupRing?
    ) throws {
        self.certificate = certificate
        group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        var loops: [ObjectIdentifier: NIOLoopBound<EncryptedLoop>] = [:]
        for loop in group.makeIterator() {
            loops[ObjectIdentifier(loop)] = try loop.submit {
                let responder = StreamResponder(store: store, forwarding: forwarding, ring: makeRing())
                return NIOLoopBound(EncryptedLoop(responder: responder, budget: budget), eventLoop: loop)
            }.wait()
        }
        self.loops = loops
    }

    /// Binds and listens; accepts once started. For port 0, the result has the port that the system chose.
    ///
    /// - Parameter early: the machine need not have the address yet; it is served once it has.
    /// - Throws: `ServiceFailure` when the address can't be had.
    package func listen(on address: Address, early: Bool = false) throws -> Address {
        let (certificate, loops, service) = (certificate, loops, address.service)
        var bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 512)
            .serverChannelOption(.autoRead, value: false)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            // No more is decrypted at once than the buffer takes that each connection has from the start.
            .childChannelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 512, initial: 2048, maximum: 16_384)
            )
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(AcceptPause()) }
            }
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let loop = loops[ObjectIdentifier(channel.eventLoop)]?.value,
                        let connection = loop.open(channel)
                    else { throw ChannelError.eof }
                    try Self.prepare(channel, service, certificate, loop, connection)
                }
            }
        for (level, option, value) in ListeningSocket.inherited {
            let option = ChannelOptions.Types.SocketOption(
                level: .init(rawValue: level), name: .init(rawValue: option))
            bootstrap = bootstrap.serverChannelOption(option, value: .init(value))
        }
        if early {
            let (level, option) = address.address.freeBind
            let free = ChannelOptions.Types.SocketOption(level: .init(rawValue: level), name: .init(rawValue: option))
            bootstrap = bootstrap.serverChannelOption(free, value: 1)
        }
        if address.address.isIPv6 {
            let only = ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only)
            bootstrap = bootstrap.serverChannelOption(only, value: 1)
        }
        let channel: any Channel
        do { channel = try bootstrap.bind(to: address.address.nio).wait() } catch let error as IOError {
            throw BindFailure.explain(address.address, error.errnoCode, "TCP")
        }
        channels.withLock { $0.append(channel) }
        let port = channel.localAddress?.port ?? Int(address.address.port)
        let bound = Address(service: service, address: address.address.withPort(UInt16(clamping: port)))
        served.withLock { $0.append(bound) }
        return bound
    }

    /// Sets up a connection's pipeline, on its event loop.
    static func prepare(
        _ channel: any Channel, _ service: Address.Service, _ certificate: ServerCertificate, _ loop: EncryptedLoop,
        _ connection: EncryptedConnection
    ) throws {
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(TLSBuffers.Copies())
        try pipeline.addHandler(NIOSSLServerHandler(context: certificate.context(for: service)))
        try pipeline.addHandler(TLSBuffers.Pieces())
        guard service == .https else { return try pipeline.addHandler(DoTConnection(loop, connection)) }
        let bound = NIOLoopBound((loop, connection), eventLoop: channel.eventLoop)
        try pipeline.addHandler(
            ApplicationProtocolNegotiationHandler { result, channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    let (loop, connection) = bound.value
                    if case .negotiated("h2") = result {
                        try pipeline.addHandler(
                            NIOHTTP2Handler(
                                mode: .server, initialSettings: DoHOverHTTP2.settings(loop.responder.limits)))
                        try pipeline.addHandler(DoHOverHTTP2(loop, connection))
                    } else {
                        // Its assistance with pipelining would keep as many requests as one read brings.
                        try pipeline.configureHTTPServerPipeline(
                            withPipeliningAssistance: false, withEncoderConfiguration: .init(),
                            withDecoderLimitConfiguration: DoHOverHTTP1.limits)
                        try pipeline.addHandler(DoHOverHTTP1(loop, connection))
                    }
                }
            })
    }

    /// Starts accepting.
    package func start() {
        for channel in channels.withLock({ $0 }) { _ = channel.setOption(.autoRead, value: true) }
    }

    /// Stops accepting; open connections are still served.
    package func close() {
        for channel in channels.withLock({ $0 }) { channel.close(promise: nil) }
    }

    /// Takes no new queries, sends outstanding answers, closes all connections and ends the event loops.
    package func shutDown() async {
        for (_, bound) in loops { bound.execute { $0.end() } }
        let deadline = NIODeadline.now() + Self.drainTimeout
        for (_, bound) in loops {
            while NIODeadline.now() < deadline, await !bound.ask({ $0.isEmpty }) {
                try? await Task.sleep(for: .milliseconds(5))
            }
            bound.execute { $0.closeAll() }
        }
        try? await group.shutdownGracefully()
    }

    /// Makes idle event loops release old data.
    package func refresh() {
        for (_, bound) in loops { bound.execute { $0.responder.refresh() } }
    }

    /// Loads a certificate that was replaced on disk.
    package func reloadCertificate() { certificate.reload() }

    /// The addresses to announce to clients: those that the certificate is valid for.
    package var designations: [DesignatedResolver] {
        var designated: [DesignatedResolver] = []
        for address in served.withLock({ $0 }) {
            let reached = address.address.reachable.filter(certificate.covers)
            guard !reached.isEmpty else { continue }
            let service: DesignatedResolver.Service =
                address.service == .tls ? .dot : .doh(path: DoHRequest.path)
            designated.append(
                DesignatedResolver(
                    service, addresses: reached, port: address.address.port, priority: UInt16(designated.count + 1)))
        }
        return designated
    }
}

extension NIOLoopBound<EncryptedLoop> {
    fileprivate func execute(_ body: @escaping @Sendable (EncryptedLoop) -> Void) {
        eventLoop.execute { body(value) }
    }

    fileprivate func ask(_ body: @escaping @Sendable (EncryptedLoop) -> Bool) async -> Bool {
        (try? await eventLoop.submit { body(value) }.get()) ?? true
    }
}

extension Platform.SocketAddress {
    /// The same address as a SwiftNIO type.
    fileprivate var nio: NIOCore.SocketAddress {
        withSockaddr { address, _ in
            let raw = UnsafeRawPointer(address)
            return isIPv6
                ? NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_in6.self))
                : NIOCore.SocketAddress(raw.loadUnaligned(as: sockaddr_in.self))
        }
    }
}
