import DNSWire
import Foundation
import TestSupport
import Testing

@testable import Platform
@testable import Transports

@Suite("Listening sockets")
struct StreamSocketTests {
    private func address(_ ip: String, _ port: UInt16 = 0) throws -> SocketAddress {
        try #require(SocketAddress(ip: ip, port: port))
    }

    /// A connected socket with a timeout of five seconds.
    private func connect(to address: SocketAddress) throws -> Int32 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        try #require(address.withSockaddr { Foundation.connect(descriptor, $0, $1) } == 0)
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }

    @Test("share a port among the threads of one daemon only", arguments: [1, 2, 5])
    func shared(_ count: Int) throws {
        let (bound, sockets) = try ListeningSocket.bind(try address("127.0.0.1"), count: count)
        defer { for socket in sockets { close(socket.descriptor) } }
        #expect(sockets.count == count && bound.port != 0)
        for other in [1, 2] {
            #expect {
                for socket in try ListeningSocket.bind(bound, count: other).sockets { close(socket.descriptor) }
            } throws: {
                ($0 as? SystemError)?.code == EADDRINUSE
            }
        }
        // Each socket gets some of the clients: that one of five gets none happens less than once in 10^18 runs.
        let clients = try (0..<200).map { _ in try connect(to: bound) }
        defer { for client in clients { close(client) } }
        var total = 0
        for socket in sockets {
            var accepted = 0
            while case .connection(let descriptor, let client) = socket.accept() {
                #expect(client.isLoopback && client.port != 0)
                accepted += 1
                close(descriptor)
            }
            #expect(accepted > 0)
            total += accepted
        }
        #expect(total == 200)
    }

    @Test("for IPv6 leave the port free for IPv4, like those for UDP")
    func families() throws {
        let (bound, four) = try ListeningSocket.bind(try address("0.0.0.0"), count: 2)
        defer { for socket in four { close(socket.descriptor) } }
        let six = try ListeningSocket.bind(try address("::", bound.port), count: 2)
        for socket in six.sockets { close(socket.descriptor) }
        #expect(six.address.port == bound.port)
    }

    @Test("serve clients connected before they closed, and send outstanding answers before the threads end")
    func closed() async throws {
        let world = try StreamWorld()
        let listener = try StreamListener(
            threads: 2, store: world.store, forwarding: world.forwarding, makeRing: { nil })
        let bound = try listener.listen(on: try address("127.0.0.1"))
        let clients = try (0..<20).map { _ in try connect(to: bound.address) }
        defer { for client in clients { close(client) } }
        let query = StreamWorld.framed("long.acme.org.", .txt, id: 7)
        for client in clients { #expect(send(client, query, query.count, 0) == query.count) }
        // Everything is in its mailbox before its threads start.
        listener.close()
        listener.start()
        await listener.shutDown()
        for client in clients {
            var stream: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: 65_536)
            while case let count = recv(client, &piece, piece.count, 0), count > 0 { stream += piece[..<count] }
            let messages = StreamWorld.messages(stream)
            #expect(messages.count == 1 && messages.first?.count ?? 0 > 24_000, "\(stream.count) bytes")
        }
    }
}
