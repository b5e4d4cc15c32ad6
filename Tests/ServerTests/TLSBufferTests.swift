import Certificates
import DNSWire
import NIOCore
import NIOEmbedded
import NIOSSL
import TestSupport
import Testing

@testable import Platform
@testable import Transports

/// What a client that takes no answers costs: the bytes of the answers, and little more. The pipeline is the real one.
@Suite("A client over TLS")
struct TLSBufferTests {
    /// A connection with its client, and what the client has not taken.
    private final class Trial {
        let loop: EncryptedLoop
        let budget = StreamBudget()
        let server: ClientChannel
        let connection: EncryptedConnection
        private let client = EmbeddedChannel()
        var untaken: [ByteBuffer] = []

        init(_ service: EncryptedAddress.Service) throws {
            let folder = try TemporaryFolder()
            let address = EncryptedAddress(service: service, address: WireWorld.loopback)
            let certificate = try ServerCertificate(
                nil, for: [address], authority: LocalAuthority(folder: folder.file("state")))
            loop = EncryptedLoop(responder: try StreamWorld().responder, budget: budget)
            server = ClientChannel()
            connection = try #require(loop.open(server))
            try EncryptedListener.prepare(server, service, certificate, loop, connection)
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.certificateVerification = .none
            configuration.applicationProtocols = [service == .tls ? "dot" : "http/1.1"]
            try client.pipeline.syncOperations.addHandler(
                NIOSSLClientHandler(context: NIOSSLContext(configuration: configuration), serverHostname: nil))
            for channel in [server.base, client] {
                channel.connect(to: try NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 853), promise: nil)
                channel.embeddedEventLoop.run()
                #expect(channel.isActive)
            }
            // The handshake.
            while try send() > 0 {
                for bytes in untaken { try client.writeInbound(bytes) }
                untaken = []
            }
        }

        /// Brings what the client has written to the server; returns the number of its pieces.
        private func send() throws -> Int {
            var count = 0
            while let bytes = try client.readOutbound(as: ByteBuffer.self) {
                try server.base.writeInbound(bytes)
                count += 1
            }
            server.base.embeddedEventLoop.run()
            while let bytes = try server.base.readOutbound(as: ByteBuffer.self) { untaken.append(bytes) }
            return count
        }

        /// The client asks, each time in a packet of its own.
        func ask(_ request: [UInt8], times: Int) throws {
            for _ in 0..<times {
                try client.writeOutbound(ByteBuffer(bytes: request))
                #expect(try send() > 0)
            }
        }

        /// Bytes of answers, and of the memory that they take.
        var sizes: (answers: Int, memory: Int) {
            (untaken.reduce(0) { $0 + $1.readableBytes }, untaken.reduce(0) { $0 + $1.storageCapacity })
        }

        /// The client takes everything; returns what it reads.
        func take() throws -> [UInt8] {
            for bytes in untaken { try client.writeInbound(bytes) }
            untaken = []
            var read: [UInt8] = []
            while let bytes = try client.readInbound(as: ByteBuffer.self) { read += bytes.readableBytesView }
            return read
        }

        /// Each end waits for the other's goodbye only for so long.
        func end() {
            for channel in [server.base, client] {
                channel.close(promise: nil)
                channel.embeddedEventLoop.advanceTime(by: .minutes(1))
            }
        }
    }

    @Test("does not take a TLS buffer for each short answer that it leaves", arguments: [true, false])
    func shortAnswers(overHTTP: Bool) throws {
        let trial = try Trial(overHTTP ? .https : .tls)
        defer { trial.end() }
        let request =
            overHTTP ? Array("GET /none HTTP/1.1\r\nHost: x\r\n\r\n".utf8) : StreamWorld.framed("acme.org.", id: 1)
        try trial.ask(request, times: 300)
        let sizes = trial.sizes
        #expect(sizes.answers > 300 * 40)
        // It was 16 kB for each.
        #expect(sizes.memory < 2 * sizes.answers + 65_536, "\(sizes)")
    }

    @Test("has no TLS buffer as large as all that it was ever sent at once, and can read all of it")
    func longAnswers() throws {
        let trial = try Trial(.tls)
        defer { trial.end() }
        let queries = (1...4).flatMap { StreamWorld.framed("long.acme.org.", .txt, id: $0) }
        try trial.ask(queries, times: 2)
        let sizes = trial.sizes
        #expect(sizes.answers > 2 * 4 * 24_000)
        #expect(trial.untaken.allSatisfy { $0.storageCapacity <= 32_768 }, "\(trial.untaken.map(\.storageCapacity))")
        #expect(sizes.memory < 2 * sizes.answers + 65_536, "\(sizes)")
        let messages = StreamWorld.messages(try trial.take())
        #expect(messages.map { $0.prefix(2) } == [1, 2, 3, 4, 1, 2, 3, 4].map { [0, $0] })
        #expect(messages.allSatisfy { $0.count > 24_000 && $0.dropFirst(2) == messages[0].dropFirst(2) })
    }

    @Test("that leaves more than it may is closed at once, without a goodbye that it could put off")
    func closed() throws {
        let trial = try Trial(.tls)
        defer { trial.end() }
        let unread = (0..<5).map { _ in trial.connection.promiseAnswer(of: 1 << 20) }
        trial.server.base.embeddedEventLoop.run()
        #expect(!trial.server.base.isActive && trial.loop.isEmpty)
        #expect(trial.budget.held == 0)
        for promise in unread { promise?.fail(ChannelError.ioOnClosedChannel) }
    }
}
