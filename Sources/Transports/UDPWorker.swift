import CLinux
import DNSWire
import Glibc
import Lookup
package import LookupLog
import Pipeline
package import Platform
import Synchronization
import Upstream

/// One thread that serves UDP: epoll, one `recvmmsg`, answers, one `sendmmsg`.
///
/// It has its own socket on each served address (SO_REUSEPORT spreads clients over the workers), its own log ring, and
/// no state that other threads touch, except the snapshot that a reload passes to it between batches.
package struct UDPWorker: ~Copyable {
    private var sockets: [DatagramSocket]
    private let orders: DatagramOrders?
    /// Sockets that were given up, and when. Late answers may still name them, so that they stay open for a while, bound
    /// to nothing.
    private var givenUp: [(descriptor: Int32, time: UInt64)] = []
    /// Longer than any answer takes, in microseconds.
    private static let memory = 2 * UInt64(Faults.longestDelay)
    private let store: ServedDataStore
    private let forwarding: Forwarding
    /// Set on the one thread that forwards for all: its own misses need no other thread.
    private let lane: Forwarding.Lane?
    private let signal: WakeSignal
    private var snapshot: ServedDataStore.Snapshot
    private let handler: QueryHandler
    private var lookup = Lookup()
    private var batch = DatagramBatch()
    /// The queries of a batch, by slot.
    private let parsed = UnsafeMutablePointer<ParsedQuery>.allocate(capacity: DatagramBatch.count)

    private static let signalTag = UInt64.max
    private static let laneTag = UInt64.max - 1
    private static let batchesPerRound = 8

    package init(
        sockets: [DatagramSocket], store: ServedDataStore, forwarding: Forwarding, lane: Forwarding.Lane?,
        ring: LookupRing?, signal: WakeSignal, orders: DatagramOrders? = nil
    ) {
        self.orders = orders
        self.sockets = sockets
        self.store = store
        self.forwarding = forwarding
        self.lane = lane
        self.signal = signal
        snapshot = store.current()
        handler = QueryHandler(ring: ring)
        for slot in 0..<DatagramBatch.count { (parsed + slot).initialize(to: ParsedQuery()) }
    }

    deinit {
        parsed.deinitialize(count: DatagramBatch.count)
        parsed.deallocate()
    }

    /// Serves until the stop signal; queries received before it are still answered.
    package mutating func run() throws(SystemError) {
        let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard epoll >= 0 else { throw SystemError("epoll_create1") }
        defer { close(epoll) }
        for (index, socket) in sockets.enumerated() {
            try Self.watch(socket.descriptor, as: UInt64(index), epoll, isShared: socket.isShared)
        }
        try Self.watch(signal.descriptor, as: Self.signalTag, epoll)
        if let lane { try Self.watch(lane.descriptor, as: Self.laneTag, epoll) }

        let capacity = 64
        let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: capacity)
        defer { events.deallocate() }
        while true {
            let pause = lane?.milliseconds ?? -1
            let ready = epoll_wait(epoll, events, Int32(capacity), pause)
            if ready < 0 {
                guard errno == EINTR else { throw SystemError("epoll_wait") }
                continue
            }
            var stopping = false
            var isLaneDue = pause == 0 || ready == 0
            for index in 0..<Int(ready) {
                switch events[index].data.u64 {
                case Self.signalTag:
                    stopping = signal.consume()
                    for order in orders?.take() ?? [] { try obey(order, epoll) }
                    // An idle worker must not keep old data alive.
                    refresh()
                    isLaneDue = true
                case Self.laneTag: isLaneDue = true
                case let tag:
                    let socket = sockets[Int(tag)]
                    // A full batch means that more is waiting, so epoll need not be asked. Bounded, so that a flood
                    // does not starve the other sockets.
                    for _ in 0..<Self.batchesPerRound {
                        refresh()
                        guard serve(socket) == DatagramBatch.count else { break }
                    }
                }
            }
            if stopping { break }
            if let lane, isLaneDue || lane.hasPendingActions { lane.round() }
        }
        // Bounded, so that a flood does not delay the end.
        for socket in sockets {
            for _ in 0..<16 where serve(socket) == 0 { break }
        }
        lane?.round()
    }

    private mutating func obey(_ order: DatagramOrders.Order, _ epoll: Int32) throws(SystemError) {
        let now = SystemClock.monotonic()
        while let oldest = givenUp.first, oldest.time + Self.memory < now {
            close(oldest.descriptor)
            givenUp.removeFirst()
        }
        switch order {
        case .open(let socket):
            // In the place of one that was given up, if there is one.
            let index = sockets.firstIndex { $0.descriptor < 0 } ?? sockets.count
            if index < sockets.count { sockets[index] = socket } else { sockets.append(socket) }
            try Self.watch(socket.descriptor, as: UInt64(index), epoll, isShared: socket.isShared)
        case .close(let address):
            for index in sockets.indices where sockets[index].address == address && !sockets[index].isShared {
                let descriptor = sockets[index].descriptor
                _ = epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil)
                for _ in 0..<16 where serve(sockets[index]) == 0 { break }
                let unbound = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
                if unbound >= 0 {
                    dup2(unbound, descriptor)
                    _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                    close(unbound)
                    givenUp.append((descriptor, now))
                } else {
                    // No descriptor is left: a late answer may get lost in whatever takes this one.
                    close(descriptor)
                }
                sockets[index] = DatagramSocket(descriptor: -1, at: .none, isShared: true)
            }
        }
    }

    private mutating func refresh() {
        guard store.generation != snapshot.generation else { return }
        snapshot = store.current()
    }

    /// Answers one batch; returns the number of datagrams.
    private mutating func serve(_ socket: DatagramSocket) -> Int {
        let count = batch.receive(from: socket.descriptor, withLocalAddress: socket.isWildcard)
        guard count > 0 else { return 0 }
        let all = snapshot.data
        let bound = all.data(for: socket.address, at: socket.address)
        var request = Lookup.Request(
            client: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp, arrival: Moment.now())
        for slot in 0..<count { parsed[slot].read(batch.query(slot)) }
        if count > 1 {
            for step in 0..<Pipeline.prefetchSteps {
                for slot in 0..<count { parsed[slot].prefetch(bound.pipeline, step: step) }
            }
        }
        for slot in 0..<count {
            guard let client = batch.client(slot) else { continue }
            request.client = client
            var served = all
            if !all.views.isEmpty {
                let local = socket.isWildcard ? batch.localAddress(slot)?.address.withPort(socket.address.port) : nil
                served = all.data(for: client, at: local ?? socket.address)
                request.view = served.view
            }
            let message = batch.query(slot)
            let (query, answer) = (parsed + slot, batch.answer(slot))
            switch handler.handle(&query.pointee, message, request, &lookup, served, into: answer) {
            case .reply(let length):
                batch.enqueue(slot, length: length, withLocalAddress: socket.isWildcard)
                forwarding.renew(lookup.renewals, now: request.now)
            case .impaired(let length, let faults):
                forwarding.renew(lookup.renewals, now: request.now)
                let answer = UnsafeRawBufferPointer(rebasing: answer[..<length])
                let sendsNow = forwarding.delayed.sendsNow(
                    answer, faults, to: client,
                    .datagram(socket, from: socket.isWildcard ? batch.localAddress(slot) : nil))
                if sendsNow { batch.enqueue(slot, length: length, withLocalAddress: socket.isWildcard) }
            case .needs(let key):
                let reply = ParkedQuery.Reply.datagram(
                    socket, from: socket.isWildcard ? batch.localAddress(slot) : nil)
                forwarding.park(
                    message, request, reply: reply, key: key, lane: lane, draws: lookup.upstream.draws)
            case .nothing, .transfer: break
            }
        }
        batch.send(on: socket.descriptor)
        return count
    }

    private static func watch(
        _ descriptor: Int32, as tag: UInt64, _ epoll: Int32, isShared: Bool = false
    ) throws(SystemError) {
        var event = epoll_event()
        // Only one of the waiting workers needs to wake.
        event.events = EPOLLIN.rawValue | (isShared ? EPOLLEXCLUSIVE.rawValue : 0)
        event.data.u64 = tag
        guard epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0 else { throw SystemError("epoll_ctl") }
    }
}
