import Glibc
import Testing

@testable import Platform

@Suite("The owner of a connection's other end")
struct ConnectionOwnerTests {
    /// A listening socket and a connection to it.
    private struct Connection {
        let listener: Int32
        let client: Int32
        let server: Int32
        let clientAddress: SocketAddress
        let serverAddress: SocketAddress

        init(_ ip: String) throws {
            let wanted = try #require(SocketAddress(ip: ip, port: 0))
            let family = wanted.isIPv6 ? AF_INET6 : AF_INET
            let listener = socket(family, Int32(SOCK_STREAM.rawValue), 0)
            let isBound = wanted.withSockaddr { bind(listener, $0, $1) } == 0
            try #require(isBound && listen(listener, 1) == 0)
            let address = try Self.address(listener)
            let client = socket(family, Int32(SOCK_STREAM.rawValue), 0)
            let isConnected = address.withSockaddr { connect(client, $0, $1) } == 0
            try #require(isConnected)
            (self.listener, self.client, serverAddress) = (listener, client, address)
            clientAddress = try Self.address(client)
            server = accept(listener, nil, nil)
        }

        private static func address(_ descriptor: Int32) throws -> SocketAddress {
            var bytes = [UInt8](repeating: 0, count: 128)
            var length = socklen_t(bytes.count)
            let found = bytes.withUnsafeMutableBytes { memory in
                let address = memory.baseAddress!.assumingMemoryBound(to: sockaddr.self)
                return getsockname(descriptor, address, &length) == 0 ? SocketAddress(address) : nil
            }
            return try #require(found)
        }
    }

    @Test("is known while the other end is open", arguments: ["127.0.0.1", "::1"])
    func known(_ ip: String) throws {
        let connection = try Connection(ip)
        defer { for descriptor in [connection.listener, connection.server] { close(descriptor) } }
        #expect(connection.clientAddress.owner(ofConnectionWith: connection.serverAddress) == getuid())
        // Its process has closed it: the kernel would name root.
        close(connection.client)
        #expect(connection.clientAddress.owner(ofConnectionWith: connection.serverAddress) == nil)
    }

    @Test("is not known for an address that has no such connection")
    func unknown() throws {
        let connection = try Connection("127.0.0.1")
        defer { for descriptor in [connection.listener, connection.server, connection.client] { close(descriptor) } }
        let (client, server) = (connection.clientAddress, connection.serverAddress)
        #expect(client.owner(ofConnectionWith: server.withPort(server.port &+ 1)) == nil)
        // A listening socket, too, has an owner.
        #expect(server.owner(ofConnectionWith: server.withPort(1)) == nil)
        #expect(try #require(SocketAddress(ip: "192.0.2.1", port: 5)).owner(ofConnectionWith: server) == nil)
    }
}
