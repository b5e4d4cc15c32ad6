import CLinux
import Glibc
import Platform

/// UDP exchange: sockets connected to one server each; many datagrams per system call.
struct DatagramExchange: Exchange, ~Copyable {
    /// By port number; -1: not open.
    private var sockets: [Int32] = []
    /// Ports with something to read.
    private var ready: [Int] = []
    private var happened = ExchangeEvents()
    /// The owner's epoll, which watches the sockets.
    private let events: Int32
    private let headers: UnsafeMutablePointer<clinux_mmsghdr>
    private let vectors: UnsafeMutablePointer<iovec>
    private let buffers: UnsafeMutableRawPointer

    private static let batch = 32
    /// Larger than any size we announce, in bytes, so that nothing is truncated.
    private static let capacity = 4_096
    /// Per port and round, so that a flood on one port does not starve the others.
    private static let batchesPerRound = 8

    init(events: Int32) {
        self.events = events
        headers = .allocate(capacity: Self.batch)
        vectors = .allocate(capacity: Self.batch)
        headers.initialize(repeating: clinux_mmsghdr(), count: Self.batch)
        vectors.initialize(repeating: iovec(), count: Self.batch)
        buffers = .allocate(byteCount: Self.batch * Self.capacity, alignment: 16)
    }

    deinit {
        for socket in sockets where socket >= 0 { Glibc.close(socket) }
        headers.deallocate()
        vectors.deallocate()
        buffers.deallocate()
    }

    /// The epoll reports `port` as readable.
    mutating func note(_ port: Int) { ready.append(port) }

    /// The kernel picks the source port, at random from its ephemeral range: a port outside it might be needed by a
    /// service on this machine.
    mutating func open(_ channel: UpstreamChannel, to server: UpstreamServer) {
        let server = server.address
        guard case .port(let port) = channel else { return }
        while sockets.count <= port { sockets.append(-1) }
        let descriptor = socket(
            server.isIPv6 ? AF_INET6 : AF_INET,
            Int32(SOCK_DGRAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        sockets[port] = descriptor
        guard descriptor >= 0 else { return happened.fail(channel) }
        // Must hold a burst of answers.
        ReceiveBuffer.enlarge(of: descriptor, to: 1 << 20)
        server.forbidFragments(of: descriptor)
        guard server.withSockaddr({ connect(descriptor, $0, $1) }) == 0,
            EventQueue.watch(descriptor, for: EPOLLIN.rawValue, as: channel.number, on: events)
        else { return happened.fail(channel) }
    }

    mutating func close(_ channel: UpstreamChannel) {
        happened.drop(channel)
        guard let descriptor = descriptor(of: channel), case .port(let port) = channel else { return }
        Glibc.close(descriptor)
        sockets[port] = -1
    }

    mutating func closeAll() {
        for port in sockets.indices { close(.port(port)) }
        ready.removeAll()
        _ = happened.take()
    }

    func localAddress(of channel: UpstreamChannel) -> SocketAddress? {
        descriptor(of: channel).flatMap { SocketAddress(localEndOf: $0) }
    }

    private func descriptor(of channel: UpstreamChannel) -> Int32? {
        guard case .port(let port) = channel, port < sockets.count, sockets[port] >= 0 else { return nil }
        return sockets[port]
    }

    mutating func takeEvents() -> [ExchangeEvent] { happened.take() }

    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
        guard let channel = messages.first?.channel, let descriptor = descriptor(of: channel) else { return }
        outbox.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            var next = messages.startIndex
            while next < messages.endIndex {
                let count = min(Self.batch, messages.endIndex - next)
                for slot in 0..<count {
                    let range = messages[next + slot].bytes
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
                    default: return happened.fail(channel)
                    }
                } else {
                    next += max(sent, 1)
                }
            }
        }
    }

    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        for port in ready {
            for _ in 0..<Self.batchesPerRound {
                guard receiveBatch(.port(port), handle) == Self.batch else { break }
            }
        }
        ready.removeAll(keepingCapacity: true)
    }

    /// Returns the number of messages.
    private mutating func receiveBatch(
        _ channel: UpstreamChannel, _ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void
    ) -> Int {
        guard let descriptor = descriptor(of: channel) else { return 0 }
        for slot in 0..<Self.batch {
            vectors[slot] = iovec(iov_base: buffers + slot * Self.capacity, iov_len: Self.capacity)
            headers[slot].msg_hdr.msg_iov = vectors + slot
            headers[slot].msg_hdr.msg_iovlen = 1
        }
        let count = Int(clinux_recvmmsg(descriptor, headers, UInt32(Self.batch), Int32(MSG_DONTWAIT)))
        guard count >= 0 else {
            if errno != EAGAIN && errno != EINTR { happened.fail(channel) }
            return 0
        }
        for slot in 0..<count {
            handle(
                channel,
                UnsafeRawBufferPointer(start: buffers + slot * Self.capacity, count: Int(headers[slot].msg_len)))
        }
        return count
    }
}
