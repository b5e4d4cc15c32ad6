import CLinux
import DNSWire
import Glibc
import LookupLog
import Resolution

/// One thread that serves UDP: epoll, one `recvmmsg`, answers, one `sendmmsg`.
///
/// It has its own socket on each served address (SO_REUSEPORT spreads the clients over the workers), its own ring of
/// log records, and no state that another thread touches, but for the snapshot that a reload hands it between batches.
struct UDPWorker: ~Copyable {
    private let sockets: [DatagramSocket]
    private let store: LocalDataStore
    private let stop: StopSignal
    private var handler: QueryHandler
    private var batch = DatagramBatch()

    init(
        sockets: [DatagramSocket], store: LocalDataStore, service: ServiceSettings, ring: LookupRing?, stop: StopSignal
    ) {
        self.sockets = sockets
        self.store = store
        self.stop = stop
        handler = QueryHandler(service: service, ring: ring)
    }

    /// Serves until the stop signal; what has arrived by then is still answered.
    mutating func run() throws(SystemError) {
        let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SystemError("epoll_create1") }
        defer { close(epoll) }
        for (index, socket) in sockets.enumerated() {
            try Self.watch(socket.descriptor, as: UInt64(index), epoll)
        }
        try Self.watch(stop.descriptor, as: UInt64.max, epoll)

        var snapshot = store.current()
        let capacity = sockets.count + 1
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        defer { events.deallocate() }
        while true {
            let ready = epoll_wait(epoll, events, Int32(capacity), -1)
            if ready < 0 {
                guard errno == EINTR else { throw SystemError("epoll_wait") }
                continue
            }
            var stopping = false
            for index in 0..<Int(ready) {
                if events[index].data.u64 == UInt64.max {
                    stopping = true
                    continue
                }
                let socket = sockets[Int(events[index].data.u64)]
                // A full batch means that more is waiting: no need to ask epoll.
                repeat {
                    if store.generation != snapshot.generation { snapshot = store.current() }
                } while serve(socket, snapshot.data) == DatagramBatch.count
            }
            if stopping {
                // A flood must not keep us from ending.
                for socket in sockets {
                    for _ in 0..<16 where serve(socket, snapshot.data) == 0 { break }
                }
                return
            }
        }
    }

    /// Answers one batch; returns how many datagrams there were.
    private mutating func serve(_ socket: DatagramSocket, _ local: LocalData) -> Int {
        let count = batch.receive(from: socket.descriptor, withLocalAddress: socket.isWildcard)
        guard count > 0 else { return 0 }
        var request = QueryHandler.Request(
            client: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp, arrival: Moment.now())
        for slot in 0..<count {
            guard let client = batch.client(slot) else { continue }
            request.client = client
            let message = batch.query(slot)
            switch handler.handle(message, request, local: local, into: batch.answer(slot)) {
            case .reply(let length):
                batch.enqueue(slot, length: length, withLocalAddress: socket.isWildcard)
                if handler.wantsPrefetch {
                    local.forwarding?.prefetch(handler.missedKey)
                }
            case .miss:
                let reply = ParkedQuery.Reply.datagram(
                    socket, from: socket.isWildcard ? batch.localAddress(slot) : nil)
                local.forwarding?.park(
                    message, request, reply: reply, key: handler.missedKey)
            case .nothing, .transfer: break
            }
        }
        batch.send(on: socket.descriptor)
        return count
    }

    private static func watch(_ descriptor: Int32, as tag: UInt64, _ epoll: Int32) throws(SystemError) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue
        event.data.u64 = tag
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { throw SystemError("epoll_ctl") }
    }
}

/// Tells threads that wait in epoll to end: a descriptor that becomes readable and stays so.
final class StopSignal: Sendable {
    let descriptor: Int32

    init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else { throw SystemError("eventfd") }
    }

    deinit { close(descriptor) }

    func raise() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }
}

/// A system call that failed: its name and errno.
struct SystemError: Error, CustomStringConvertible {
    let call: String
    let code: Int32

    init(_ call: String, code: Int32 = errno) {
        self.call = call
        self.code = code
    }

    var reason: String { String(cString: strerror(code)) }
    var description: String { "\(call): \(reason)" }
}
