import CLinux
import Glibc
import Platform

/// TCP exchange: messages with length prefixes, many queries on a connection at once.
///
/// - RFC: 1035 4.2.2; 7766 6.2.1.
struct StreamExchange: Exchange, ~Copyable {
    private struct Connection {
        let descriptor: Int32
        let opened = SystemClock.monotonic()
        var isConnected = false
        var toSend: [UInt8] = []
        var received: [UInt8] = []
    }

    /// By number.
    private var connections: [Connection?] = []
    /// Connections that are readable or writable.
    private var ready: [(number: Int, readable: Bool, writable: Bool)] = []
    private var happened = ExchangeEvents()
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

    /// The epoll reports the connection as ready; `bits` says for what.
    mutating func note(_ number: Int, _ bits: UInt32) {
        let failed = bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        ready.append(
            (
                number, readable: failed || bits & EPOLLIN.rawValue != 0,
                writable: failed || bits & EPOLLOUT.rawValue != 0
            ))
    }

    mutating func open(_ channel: UpstreamChannel, to server: UpstreamServer) {
        let server = server.address
        guard case .stream(let number, _) = channel else { return }
        while connections.count <= number { connections.append(nil) }
        let descriptor = socket(
            server.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return happened.fail(channel) }
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        let result = server.withSockaddr { connect(descriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS,
            EventQueue.watch(
                descriptor, for: EPOLLIN.rawValue | EPOLLOUT.rawValue, as: channel.number, on: events)
        else {
            Glibc.close(descriptor)
            return happened.fail(channel)
        }
        connections[number] = Connection(descriptor: descriptor)
    }

    mutating func close(_ channel: UpstreamChannel) {
        happened.drop(channel)
        guard case .stream(let number, _) = channel, let connection = connection(number) else { return }
        Glibc.close(connection.descriptor)
        connections[number] = nil
    }

    mutating func closeAll() {
        for number in connections.indices { close(.stream(number, over: .tcp)) }
        ready.removeAll()
        _ = happened.take()
    }

    func localAddress(of channel: UpstreamChannel) -> SocketAddress? {
        guard case .stream(let number, _) = channel else { return nil }
        return connection(number).flatMap { SocketAddress(localEndOf: $0.descriptor) }
    }

    private func connection(_ number: Int) -> Connection? {
        connections.indices.contains(number) ? connections[number] : nil
    }

    mutating func takeEvents() -> [ExchangeEvent] { happened.take() }

    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
        guard let channel = messages.first?.channel, case .stream(let number, _) = channel,
            let backlog = connection(number)?.toSend.count
        else { return }
        guard backlog < Self.longestBacklog else { return happened.fail(channel, .silent) }
        for message in messages {
            let length = UInt16(truncatingIfNeeded: message.bytes.count)
            connections[number]?.toSend.append(UInt8(truncatingIfNeeded: length >> 8))
            connections[number]?.toSend.append(UInt8(truncatingIfNeeded: length))
            connections[number]?.toSend.append(contentsOf: outbox[message.bytes])
        }
        if connections[number]?.isConnected == true { flush(number) }
    }

    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        for (number, readable, writable) in ready {
            if writable { noteWritable(number) }
            if readable { read(number, handle) }
        }
        ready.removeAll(keepingCapacity: true)
    }

    /// The connection has opened, or has failed to.
    private mutating func noteWritable(_ number: Int) {
        guard let connection = connection(number) else { return }
        let channel = UpstreamChannel.stream(number, over: .tcp)
        if !connection.isConnected {
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(connection.descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
            guard error == 0 else { return happened.fail(channel) }
            connections[number]?.isConnected = true
            let took = SystemClock.monotonic() - connection.opened
            happened.note(.opened(channel, microseconds: UInt32(clamping: took)))
        }
        flush(number)
    }

    private mutating func flush(_ number: Int) {
        guard let connection = connection(number) else { return }
        let channel = UpstreamChannel.stream(number, over: .tcp)
        var sent = 0
        if !connection.toSend.isEmpty {
            sent = connection.toSend.withUnsafeBytes {
                Glibc.send(connection.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent >= 0 || errno == EAGAIN || errno == EINTR else { return happened.fail(channel, .closed) }
        }
        if sent > 0 { connections[number]?.toSend.removeFirst(sent) }
        let rest = connections[number]?.toSend.isEmpty == false
        _ = EventQueue.watch(
            connection.descriptor, for: rest ? EPOLLIN.rawValue | EPOLLOUT.rawValue : EPOLLIN.rawValue,
            as: channel.number, on: events, isKnown: true)
    }

    /// Reads what the server has sent and passes on each whole message.
    private mutating func read(_ number: Int, _ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        guard var connection = connection(number) else { return }
        let channel = UpstreamChannel.stream(number, over: .tcp)
        // Taken out of the array, so that its buffer is not copied while messages are read from it.
        connections[number] = nil
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
        connections[number] = connection
        if failed { happened.fail(channel, connection.isConnected ? .closed : .unreachable) }
    }
}
