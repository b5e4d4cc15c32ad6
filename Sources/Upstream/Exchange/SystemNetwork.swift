import CLinux
import Glibc
public import Platform

/// The machine's network: each message goes through its channel's exchange; one epoll waits for all of them.
public struct SystemNetwork: UpstreamNetwork, ~Copyable {
    private let events: EventQueue
    private let wake: WakeSignal
    private var datagrams: DatagramExchange
    private var streams: StreamExchange
    private var encrypted: EncryptedExchange

    private static let wakeTag = UInt64.max

    /// `wake` wakes the lane.
    public init(wake: WakeSignal) throws(SystemError) {
        let events = try EventQueue()
        guard EventQueue.watch(wake.descriptor, for: EPOLLIN.rawValue, as: Self.wakeTag, on: events.descriptor) else {
            throw SystemError("epoll_ctl")
        }
        self.wake = wake
        datagrams = DatagramExchange(events: events.descriptor)
        streams = StreamExchange(events: events.descriptor)
        encrypted = EncryptedExchange(wake: wake)
        self.events = events
    }

    public var descriptor: Int32 { events.descriptor }

    public mutating func wait(milliseconds: Int32) {
        for index in 0..<events.wait(milliseconds: milliseconds) {
            let event = events[index]
            if event.tag == Self.wakeTag {
                // Consumed before the mailbox is read: a later call wakes the next wait.
                _ = wake.consume()
                continue
            }
            switch UpstreamChannel(number: event.tag) {
            case .port(let port): datagrams.note(port)
            case .stream(let number, _): streams.note(number, event.bits)
            }
        }
    }

    public mutating func open(_ channel: UpstreamChannel, to server: UpstreamServer) {
        switch channel.transport {
        case .udp: datagrams.open(channel, to: server)
        case .tcp: streams.open(channel, to: server)
        case .dot, .doh: encrypted.open(channel, to: server)
        case .replay: break
        }
    }

    public mutating func close(_ channel: UpstreamChannel) {
        switch channel.transport {
        case .udp: datagrams.close(channel)
        case .tcp: streams.close(channel)
        case .dot, .doh: encrypted.close(channel)
        case .replay: break
        }
    }

    public mutating func closeAll() {
        datagrams.closeAll()
        streams.closeAll()
        encrypted.closeAll()
    }

    public mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
        switch messages.first?.channel.transport {
        case .udp: datagrams.send(messages, of: outbox)
        case .tcp: streams.send(messages, of: outbox)
        case .dot, .doh: encrypted.send(messages, of: outbox)
        case .replay, nil: break
        }
    }

    public mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        datagrams.receive(handle)
        streams.receive(handle)
        encrypted.receive(handle)
    }

    public mutating func takeEvents() -> [ExchangeEvent] {
        datagrams.takeEvents() + streams.takeEvents() + encrypted.takeEvents()
    }

    public func localAddress(of channel: UpstreamChannel) -> SocketAddress? {
        switch channel.transport {
        case .udp: datagrams.localAddress(of: channel)
        case .tcp: streams.localAddress(of: channel)
        case .dot, .doh: encrypted.localAddress(of: channel)
        case .replay: nil
        }
    }
}

extension SocketAddress {
    /// Our end of a connected socket.
    init?(localEndOf descriptor: Int32) {
        guard descriptor >= 0 else { return nil }
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let address = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(descriptor, $0, &length) == 0 ? SocketAddress($0) : nil
            }
        }
        guard let address else { return nil }
        self = address
    }
}

#if !canImport(NIOSSL)
    /// Stands in where there is no SwiftNIO: in the fuzzing package, which uses no network.
    struct EncryptedExchange: Exchange, ~Copyable {
        init(wake: WakeSignal) {}
        mutating func open(_ channel: UpstreamChannel, to server: UpstreamServer) {}
        mutating func close(_ channel: UpstreamChannel) {}
        mutating func closeAll() {}
        mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {}
        mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {}
        mutating func takeEvents() -> [ExchangeEvent] { [] }
        func localAddress(of channel: UpstreamChannel) -> SocketAddress? { nil }
    }
#endif
