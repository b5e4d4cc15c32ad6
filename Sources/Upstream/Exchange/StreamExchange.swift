import CLinux
import Glibc
import Platform

/// TCP exchange: messages with length prefixes; one connection per server, with many queries on it at once.
///
/// - RFC: 1035 4.2.2; 7766 6.2.1.
struct StreamExchange: Exchange, ~Copyable {
    private struct Connection {
        let descriptor: Int32
        var isConnected = false
        var toSend: [UInt8] = []
        var received: [UInt8] = []
    }

    /// By server.
    private var connections: [Connection?] = []
    /// Servers whose connections are readable or writable.
    private var ready: [(server: Int, readable: Bool, writable: Bool)] = []
    private var failures = ChannelFailures()
    /// The owner's epoll, which watches the connections.
    private let events: Int32
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 131_072, alignment: 16)

    /// The most to buffer for a server that does not read, in bytes.
    private static let longestBacklog = 1 << 20

    init(events: Int32) { self.events = events }

    deinit {
        for case .some(let connection) in connections { Glibc.close(connection.descriptor) }
        buffer.deallocate()
    }

    /// The epoll reports the connection to `server` as ready; `bits` says for what.
    mutating func note(_ server: Int, _ bits: UInt32) {
        let failed = bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        ready.append(
            (
                server, readable: failed || bits & EPOLLIN.rawValue != 0,
                writable: failed || bits & EPOLLOUT.rawValue != 0
            ))
    }

    mutating func open(_ channel: UpstreamChannel, to server: SocketAddress) {
        guard case .stream(let number) = channel else { return }
        while connections.count <= number { connections.append(nil) }
        let descriptor = socket(
            server.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return failures.note(channel) }
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        let result = server.withSockaddr { connect(descriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS,
            EventQueue.watch(
                descriptor, for: EPOLLIN.rawValue | EPOLLOUT.rawValue, as: channel.number, on: events)
        else {
            Glibc.close(descriptor)
            return failures.note(channel)
        }
        connections[number] = Connection(descriptor: descriptor)
    }

    mutating func close(_ channel: UpstreamChannel) {
        guard case .stream(let server) = channel, let connection = connection(to: server) else { return }
        Glibc.close(connection.descriptor)
        connections[server] = nil
    }

    mutating func closeAll() {
        for server in connections.indices { close(.stream(server: server)) }
        ready.removeAll()
        _ = failures.take()
    }

    func localAddress(of channel: UpstreamChannel) -> SocketAddress? {
        guard case .stream(let server) = channel else { return nil }
        return connection(to: server).flatMap { SocketAddress(localEndOf: $0.descriptor) }
    }

    private func connection(to server: Int) -> Connection? {
        connections.indices.contains(server) ? connections[server] : nil
    }

    mutating func takeFailures() -> [UpstreamChannel] { failures.take() }

    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
        guard let channel = messages.first?.channel, case .stream(let server) = channel,
            let backlog = connection(to: server)?.toSend.count
        else { return }
        guard backlog < Self.longestBacklog else { return failures.note(channel) }
        for message in messages {
            let length = UInt16(truncatingIfNeeded: message.bytes.count)
            connections[server]?.toSend.append(UInt8(truncatingIfNeeded: length >> 8))
            connections[server]?.toSend.append(UInt8(truncatingIfNeeded: length))
            connections[server]?.toSend.append(contentsOf: outbox[message.bytes])
        }
        if connections[server]?.isConnected == true { flush(server) }
    }

    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        for (server, readable, writable) in ready {
            if writable { noteWritable(server) }
            if readable { read(server, handle) }
        }
        ready.removeAll(keepingCapacity: true)
    }

    /// The connection has opened, or has failed to.
    private mutating func noteWritable(_ server: Int) {
        guard let connection = connection(to: server) else { return }
        if !connection.isConnected {
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(connection.descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
            guard error == 0 else { return failures.note(.stream(server: server)) }
            connections[server]?.isConnected = true
        }
        flush(server)
    }

    private mutating func flush(_ server: Int) {
        guard let connection = connection(to: server) else { return }
        let channel = UpstreamChannel.stream(server: server)
        var sent = 0
        if !connection.toSend.isEmpty {
            sent = connection.toSend.withUnsafeBytes {
                Glibc.send(connection.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent >= 0 || errno == EAGAIN || errno == EINTR else { return failures.note(channel) }
        }
        if sent > 0 { connections[server]?.toSend.removeFirst(sent) }
        let rest = connections[server]?.toSend.isEmpty == false
        _ = EventQueue.watch(
            connection.descriptor, for: rest ? EPOLLIN.rawValue | EPOLLOUT.rawValue : EPOLLIN.rawValue,
            as: channel.number, on: events, isKnown: true)
    }

    /// Reads what `server` has sent and passes on each whole message.
    private mutating func read(_ server: Int, _ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        guard var connection = connection(to: server) else { return }
        let channel = UpstreamChannel.stream(server: server)
        // Taken out of the array, so that its buffer is not copied while messages are read from it.
        connections[server] = nil
        let count = recv(connection.descriptor, buffer.baseAddress, buffer.count, 0)
        let failed = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)
        if count > 0 {
            connection.received.append(contentsOf: UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            var cursor = 0
            connection.received.withUnsafeBytes { bytes in
                while cursor + 2 <= bytes.count {
                    let length = Int(bytes[cursor]) << 8 | Int(bytes[cursor + 1])
                    guard cursor + 2 + length <= bytes.count else { break }
                    handle(channel, UnsafeRawBufferPointer(rebasing: bytes[(cursor + 2)..<(cursor + 2 + length)]))
                    cursor += 2 + length
                }
            }
            connection.received.removeFirst(cursor)
        }
        connections[server] = connection
        if failed { failures.note(channel) }
    }
}
