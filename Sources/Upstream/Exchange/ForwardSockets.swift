import CLinux
import DNSWire
import Glibc
import Platform

/// The I/O that `ForwardCore` decides on: its UDP sockets and TCP connections, behind one epoll.
struct ForwardSockets: ~Copyable {
    /// What epoll has to tell.
    enum Event {
        case wake
        case port(Int)
        case stream(server: Int, readable: Bool, writable: Bool)
    }

    /// One connection to a server, with what is on its way in both directions.
    private struct Stream {
        var descriptor: Int32
        var isConnected = false
        var toSend: [UInt8] = []
        var received: [UInt8] = []
    }

    private let servers: [UpstreamServer]
    private let epoll: Int32
    private var ports: [Int32] = []
    /// Whom each port is connected to.
    private var portServers: [Int] = []
    private var streams: [Stream?]
    private let headers: UnsafeMutablePointer<clinux_mmsghdr>
    private let vectors: UnsafeMutablePointer<iovec>
    private let buffers: UnsafeMutableRawPointer
    private let events: UnsafeMutablePointer<epoll_event>
    /// Ports and streams that could not be opened or written to; the core is told after the burst.
    private(set) var failures: [ForwardCore.Channel] = []

    private static let batch = 32
    /// More than we ever announce, so that nothing in use is cut.
    private static let datagramCapacity = 4_096
    private static let eventCount = 64
    private static let wakeTag = UInt64.max
    private static let streamTag: UInt64 = 1 << 40
    private static let longestMessage = 65_535
    /// A server that does not read is not written to without end, in bytes.
    private static let longestBacklog = 1 << 20

    /// An epoll that tells of `wake` as well; nil when the system has no descriptor left.
    static func openEpoll(wake: Int32) -> Int32? {
        let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { return nil }
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = wakeTag
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, wake, &event) == 0 else {
            close(epoll)
            return nil
        }
        return epoll
    }

    /// `epoll` stays the caller's to close.
    init(servers: [UpstreamServer], epoll: Int32) {
        self.servers = servers
        self.epoll = epoll
        streams = Array(repeating: nil, count: servers.count)
        headers = .allocate(capacity: Self.batch)
        vectors = .allocate(capacity: Self.batch)
        headers.initialize(repeating: clinux_mmsghdr(), count: Self.batch)
        vectors.initialize(repeating: iovec(), count: Self.batch)
        buffers = .allocate(byteCount: Self.batch * Self.datagramCapacity, alignment: 16)
        events = .allocate(capacity: Self.eventCount)
        events.initialize(repeating: epoll_event(), count: Self.eventCount)
    }

    deinit {
        for descriptor in ports where descriptor >= 0 { close(descriptor) }
        for stream in streams { if let stream { close(stream.descriptor) } }
        headers.deallocate()
        vectors.deallocate()
        buffers.deallocate()
        events.deallocate()
    }

    /// Waits for events, at most `milliseconds` (-1: for ever); returns how many there are.
    mutating func wait(milliseconds: Int32) -> Int {
        max(0, Int(epoll_wait(epoll, events, Int32(Self.eventCount), milliseconds)))
    }

    func event(_ index: Int) -> Event {
        let event = events[index]
        let tag = event.data.u64
        if tag == Self.wakeTag { return .wake }
        guard tag & Self.streamTag != 0 else { return .port(Int(tag)) }
        let bits = event.events
        let failed = bits & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0
        return .stream(
            server: Int(tag & ~Self.streamTag), readable: failed || bits & EPOLLIN.rawValue != 0,
            writable: failed || bits & EPOLLOUT.rawValue != 0)
    }

    private func watch(_ descriptor: Int32, _ bits: UInt32, _ tag: UInt64, modify: Bool = false) -> Bool {
        var event = epoll_event()
        event.events = bits
        event.data.u64 = tag
        return epoll_ctl(epoll, modify ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, descriptor, &event) == 0
    }

    /// Noted once: what is opened again after it is another.
    private mutating func fail(_ channel: ForwardCore.Channel) {
        if !failures.contains(channel) { failures.append(channel) }
    }

    mutating func takeFailures() -> [ForwardCore.Channel] {
        defer { failures.removeAll() }
        return failures
    }

    /// Who is at the other end.
    func server(of channel: ForwardCore.Channel) -> SocketAddress? {
        switch channel {
        case .port(let port): portServers.indices.contains(port) ? servers[portServers[port]].address : nil
        case .stream(let server): servers[server].address
        }
    }

    /// Our end of it.
    func localAddress(of channel: ForwardCore.Channel) -> SocketAddress? {
        let descriptor =
            switch channel {
            case .port(let port): ports.indices.contains(port) ? ports[port] : -1
            case .stream(let server): streams[server]?.descriptor ?? -1
            }
        guard descriptor >= 0 else { return nil }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        return withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? SocketAddress($0) : nil
            }
        }
    }

    // MARK: UDP

    /// Opens a socket that is connected to `server`.
    ///
    /// The kernel picks the source port, at random from its ephemeral range: a port outside of it might be one that a
    /// service on this machine is about to listen on.
    mutating func openPort(_ port: Int, server: Int) {
        while ports.count <= port {
            ports.append(-1)
            portServers.append(-1)
        }
        portServers[port] = server
        let address = servers[server].address
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        ports[port] = descriptor
        guard descriptor >= 0 else {
            fail(.port(port))
            return
        }
        // A burst of answers has to fit.
        ReceiveBuffer.enlarge(of: descriptor, to: 1 << 20)
        address.forbidFragments(of: descriptor)
        guard address.withSockaddr({ connect(descriptor, $0, $1) }) == 0,
            watch(descriptor, EPOLLIN.rawValue, UInt64(port))
        else {
            fail(.port(port))
            return
        }
    }

    mutating func closePort(_ port: Int) {
        guard port < ports.count, ports[port] >= 0 else { return }
        close(ports[port])
        ports[port] = -1
    }

    /// Sends `datagrams` of `outbox` from `port`. What the kernel has no room for is lost, as on any network.
    mutating func send(_ datagrams: ArraySlice<(port: Int, bytes: Range<Int>)>, of outbox: [UInt8]) {
        guard let port = datagrams.first?.port, port < ports.count, ports[port] >= 0 else { return }
        let descriptor = ports[port]
        outbox.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var next = datagrams.startIndex
            while next < datagrams.endIndex {
                let count = min(Self.batch, datagrams.endIndex - next)
                for slot in 0..<count {
                    let range = datagrams[next + slot].bytes
                    vectors[slot] = iovec(
                        iov_base: UnsafeMutableRawPointer(mutating: base + range.lowerBound), iov_len: range.count)
                    headers[slot].msg_hdr.msg_iov = vectors + slot
                    headers[slot].msg_hdr.msg_iovlen = 1
                }
                let sent = Int(clinux_sendmmsg(descriptor, headers, UInt32(count), 0))
                if sent < 0 {
                    switch errno {
                    case EINTR: continue
                    case EAGAIN, ENOBUFS, ENOMEM: next += count
                    default:
                        fail(.port(port))
                        return
                    }
                } else {
                    next += max(sent, 1)
                }
            }
        }
    }

    /// Reads one batch from `port` and hands over each message. False when there was less than a batch.
    mutating func receive(port: Int, _ body: (UnsafeRawBufferPointer) -> Void) -> Bool {
        guard port < ports.count, ports[port] >= 0 else { return false }
        for slot in 0..<Self.batch {
            vectors[slot] = iovec(
                iov_base: buffers + slot * Self.datagramCapacity, iov_len: Self.datagramCapacity)
            headers[slot].msg_hdr.msg_iov = vectors + slot
            headers[slot].msg_hdr.msg_iovlen = 1
        }
        let count = Int(clinux_recvmmsg(ports[port], headers, UInt32(Self.batch), Int32(MSG_DONTWAIT)))
        guard count >= 0 else {
            if errno != EAGAIN && errno != EINTR { fail(.port(port)) }
            return false
        }
        for slot in 0..<count {
            body(
                UnsafeRawBufferPointer(
                    start: buffers + slot * Self.datagramCapacity, count: Int(headers[slot].msg_len)))
        }
        return count == Self.batch
    }

    // MARK: TCP

    /// Puts `bytes` on the way to `server`, over the connection there is or a new one.
    mutating func write(_ bytes: ArraySlice<UInt8>, server: Int) {
        if streams[server] == nil, !openStream(server) {
            fail(.stream(server: server))
            return
        }
        guard streams[server].map({ $0.toSend.count < Self.longestBacklog }) == true else {
            fail(.stream(server: server))
            return
        }
        streams[server]?.toSend.append(contentsOf: bytes)
        if streams[server]?.isConnected == true { flush(server) }
    }

    private mutating func openStream(_ server: Int) -> Bool {
        let address = servers[server].address
        let descriptor = socket(
            address.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        var yes: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        let result = address.withSockaddr { connect(descriptor, $0, $1) }
        guard result == 0 || errno == EINPROGRESS,
            watch(descriptor, EPOLLIN.rawValue | EPOLLOUT.rawValue, Self.streamTag | UInt64(server))
        else {
            close(descriptor)
            return false
        }
        streams[server] = Stream(descriptor: descriptor)
        return true
    }

    mutating func closeStream(_ server: Int) {
        guard let stream = streams[server] else { return }
        close(stream.descriptor)
        streams[server] = nil
    }

    /// The connection can be written to: it is open, or has failed to.
    mutating func streamIsWritable(_ server: Int) {
        guard let stream = streams[server] else { return }
        if !stream.isConnected {
            var error: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(stream.descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
            guard error == 0 else {
                fail(.stream(server: server))
                return
            }
            streams[server]?.isConnected = true
        }
        flush(server)
    }

    private mutating func flush(_ server: Int) {
        guard let stream = streams[server] else { return }
        var sent = 0
        if !stream.toSend.isEmpty {
            sent = stream.toSend.withUnsafeBytes {
                Glibc.send(stream.descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent >= 0 || errno == EAGAIN || errno == EINTR else {
                fail(.stream(server: server))
                return
            }
        }
        if sent > 0 { streams[server]?.toSend.removeFirst(sent) }
        let rest = streams[server]?.toSend.isEmpty == false
        _ = watch(
            stream.descriptor, rest ? EPOLLIN.rawValue | EPOLLOUT.rawValue : EPOLLIN.rawValue,
            Self.streamTag | UInt64(server), modify: true)
    }

    /// Reads what has come from `server` and hands over each whole message.
    mutating func receive(stream server: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        // Taken out, so that its buffer is not copied while messages are read from it.
        guard var stream = streams[server] else { return }
        streams[server] = nil
        let capacity = Self.batch * Self.datagramCapacity
        let count = recv(stream.descriptor, buffers, capacity, 0)
        let failed = count == 0 || (count < 0 && errno != EAGAIN && errno != EINTR)
        if count > 0 {
            stream.received.append(contentsOf: UnsafeRawBufferPointer(start: buffers, count: count))
            var cursor = 0
            stream.received.withUnsafeBytes { bytes in
                while cursor + 2 <= bytes.count {
                    let length = Int(bytes[cursor]) << 8 | Int(bytes[cursor + 1])
                    guard cursor + 2 + length <= bytes.count else { break }
                    body(UnsafeRawBufferPointer(rebasing: bytes[(cursor + 2)..<(cursor + 2 + length)]))
                    cursor += 2 + length
                }
            }
            stream.received.removeFirst(cursor)
        }
        streams[server] = stream
        if failed { fail(.stream(server: server)) }
    }
}
