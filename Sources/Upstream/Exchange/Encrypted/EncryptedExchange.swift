import NIOCore
import NIOPosix
import Platform
import Synchronization

/// Exchange over TLS and HTTPS. Connections live on an event loop of SwiftNIO, which starts with the first of them; whole
/// messages go to and from the lane's thread in batches.
///
/// - RFC: 7858 3.3; 8484 4.
struct EncryptedExchange: Exchange, ~Copyable {
    private struct Open {
        /// Distinguishes it from earlier connections with its number.
        let token: UInt64
        let connection: UpstreamConnection
        let channel: UpstreamChannel
        var local: Platform.SocketAddress?
    }

    private let inbox: EncryptedInbox
    private var group: MultiThreadedEventLoopGroup?
    private var trusts = UpstreamTrusts()
    /// By number.
    private var connections: [Int: Open] = [:]
    private var lastToken: UInt64 = 0
    private var happened = ExchangeEvents()

    init(wake: WakeSignal) { inbox = EncryptedInbox(wake) }

    deinit {
        for open in connections.values { open.connection.close() }
        group?.shutdownGracefully { _ in }
    }

    mutating func open(_ channel: UpstreamChannel, to server: UpstreamServer) {
        guard case .stream(let number, let transport) = channel else { return }
        guard !server.address.isUnspecified else { return happened.fail(channel, .unresolved) }
        let loop = (group ?? MultiThreadedEventLoopGroup(numberOfThreads: 1))
        group = loop
        lastToken += 1
        let connection = UpstreamConnection(
            to: server, over: transport, on: loop.next(), trusts: trusts, inbox: inbox, token: lastToken)
        connections[number] = Open(token: lastToken, connection: connection, channel: channel)
    }

    mutating func close(_ channel: UpstreamChannel) {
        happened.drop(channel)
        guard case .stream(let number, _) = channel else { return }
        connections.removeValue(forKey: number)?.connection.close()
    }

    mutating func closeAll() {
        for open in connections.values { open.connection.close() }
        connections = [:]
        _ = happened.take()
        // The system's certificates are read again.
        trusts = UpstreamTrusts()
    }

    mutating func send(_ messages: ArraySlice<OutgoingMessage>, of outbox: [UInt8]) {
        guard case .stream(let number, _)? = messages.first?.channel, let open = connections[number] else { return }
        var frames = ByteBuffer()
        frames.reserveCapacity(messages.reduce(0) { $0 + $1.bytes.count + 2 })
        for message in messages {
            frames.writeInteger(UInt16(truncatingIfNeeded: message.bytes.count))
            frames.writeBytes(outbox[message.bytes])
        }
        open.connection.send(frames)
    }

    mutating func receive(_ handle: (UpstreamChannel, UnsafeRawBufferPointer) -> Void) {
        for item in inbox.take() {
            guard let number = connections.first(where: { $0.value.token == item.token })?.key,
                let channel = connections[number]?.channel
            else { continue }
            switch item.news {
            case .frames(let frames): EncryptedInbox.forEachMessage(of: frames) { handle(channel, $0) }
            case .opened(let microseconds, let local):
                connections[number]?.local = local
                happened.note(.opened(channel, microseconds: microseconds))
            case .failed(let fault): happened.fail(channel, fault)
            case .retiring: happened.note(.retiring(channel))
            case .refused(let id, let fault): happened.note(.refused(channel, id: id, fault))
            }
        }
    }

    mutating func takeEvents() -> [ExchangeEvent] { happened.take() }

    func localAddress(of channel: UpstreamChannel) -> Platform.SocketAddress? {
        guard case .stream(let number, _) = channel else { return nil }
        return connections[number]?.local
    }
}

/// What connections have to tell the lane, which is woken for it.
final class EncryptedInbox: Sendable {
    enum News: Sendable {
        /// Whole messages, each behind its length (RFC 1035 4.2.2).
        case frames(ByteBuffer)
        case opened(microseconds: UInt32, local: Platform.SocketAddress?)
        case failed(UpstreamFault)
        case retiring
        case refused(id: UInt16, UpstreamFault)
    }

    struct Item: Sendable {
        let token: UInt64
        let news: News
    }

    private struct Contents {
        var items: [Item] = []
        var bytes = 0
    }

    private let contents = Mutex(Contents())
    private let wake: WakeSignal
    /// More than this many bytes wait only if a server sends what nobody has asked for.
    private static let most = 16 << 20

    init(_ wake: WakeSignal) { self.wake = wake }

    /// False if too much waits already.
    func put(_ news: News, from token: UInt64) -> Bool {
        let (isFirst, hasRoom) = contents.withLock { contents -> (Bool, Bool) in
            if case .frames(let frames) = news {
                guard contents.bytes < Self.most else { return (false, false) }
                contents.bytes += frames.readableBytes
            }
            contents.items.append(Item(token: token, news: news))
            return (contents.items.count == 1, true)
        }
        if isFirst { wake.wake() }
        return hasRoom
    }

    func take() -> [Item] {
        contents.withLock { contents in
            if contents.items.isEmpty { return [] }
            defer { contents = Contents() }
            return contents.items
        }
    }

    static func forEachMessage(of frames: ByteBuffer, _ body: (UnsafeRawBufferPointer) -> Void) {
        frames.withUnsafeReadableBytes { bytes in
            var cursor = 0
            while cursor + 2 <= bytes.count {
                let length = Int(bytes[cursor]) << 8 | Int(bytes[cursor + 1])
                guard cursor + 2 + length <= bytes.count else { return }
                body(UnsafeRawBufferPointer(rebasing: bytes[(cursor + 2)..<(cursor + 2 + length)]))
                cursor += 2 + length
            }
        }
    }
}
