import CLinux
import DNSWire
import Glibc
package import Platform

/// Buffers for one `recvmmsg` and the `sendmmsg` that answers it, set up once and reused.
///
/// A receive slot is also a send slot: the client's address and, on a wildcard socket, the destination address stay in
/// place, so that an answer only needs its length.
struct DatagramBatch: ~Copyable {
    /// Datagrams per system call.
    static let count = 64
    /// The longest query that is read, in bytes; the kernel truncates longer ones, which makes them malformed.
    static let queryCapacity = 4096
    /// A UDP answer never exceeds the size we announce.
    static let answerCapacity = EDNS.payloadSize + 16

    private static let addressCapacity = MemoryLayout<sockaddr_storage>.size
    private let memory: UnsafeMutableRawPointer
    private let received: UnsafeMutablePointer<clinux_mmsghdr>
    private let toSend: UnsafeMutablePointer<clinux_mmsghdr>
    private let receiveVectors: UnsafeMutablePointer<iovec>
    private let sendVectors: UnsafeMutablePointer<iovec>
    private let controlCapacity = clinux_pktinfo_space()
    private(set) var sendCount = 0

    init() {
        let n = Self.count
        received = .allocate(capacity: n)
        toSend = .allocate(capacity: n)
        receiveVectors = .allocate(capacity: n)
        sendVectors = .allocate(capacity: n)
        let perSlot = Self.queryCapacity + Self.answerCapacity + Self.addressCapacity + controlCapacity
        memory = .allocate(byteCount: n * perSlot, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: n * perSlot)
        for slot in 0..<n {
            receiveVectors[slot] = iovec(iov_base: queryBase(slot), iov_len: Self.queryCapacity)
            received[slot] = clinux_mmsghdr()
            received[slot].msg_hdr.msg_iov = receiveVectors + slot
            received[slot].msg_hdr.msg_iovlen = 1
            received[slot].msg_hdr.msg_name = addressBase(slot)
            received[slot].msg_hdr.msg_control = controlBase(slot)
        }
    }

    deinit {
        received.deallocate()
        toSend.deallocate()
        receiveVectors.deallocate()
        sendVectors.deallocate()
        memory.deallocate()
    }

    // Buffers of one kind are contiguous, so that the addresses of a batch share cache lines.
    private func queryBase(_ slot: Int) -> UnsafeMutableRawPointer { memory + slot * Self.queryCapacity }
    private func answerBase(_ slot: Int) -> UnsafeMutableRawPointer {
        memory + Self.count * Self.queryCapacity + slot * Self.answerCapacity
    }
    private func addressBase(_ slot: Int) -> UnsafeMutableRawPointer {
        memory + Self.count * (Self.queryCapacity + Self.answerCapacity) + slot * Self.addressCapacity
    }
    private func controlBase(_ slot: Int) -> UnsafeMutableRawPointer {
        memory + Self.count * (Self.queryCapacity + Self.answerCapacity + Self.addressCapacity)
            + slot * controlCapacity
    }

    /// Receives at most one batch; returns the number of datagrams, or 0.
    mutating func receive(from socket: Int32, withLocalAddress: Bool) -> Int {
        for slot in 0..<Self.count {
            received[slot].msg_hdr.msg_namelen = socklen_t(Self.addressCapacity)
            received[slot].msg_hdr.msg_controllen = withLocalAddress ? controlCapacity : 0
        }
        sendCount = 0
        return max(0, Int(clinux_recvmmsg(socket, received, UInt32(Self.count), Int32(MSG_DONTWAIT))))
    }

    /// The datagram in `slot`, possibly truncated.
    func query(_ slot: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: queryBase(slot), count: Int(received[slot].msg_len))
    }

    func client(_ slot: Int) -> SocketAddress? {
        SocketAddress(UnsafeRawPointer(addressBase(slot)).assumingMemoryBound(to: sockaddr.self))
    }

    /// The buffer for the answer to `slot`.
    func answer(_ slot: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: answerBase(slot), count: Self.answerCapacity)
    }

    /// The destination address of `slot`, if the socket is bound to the wildcard address.
    func localAddress(_ slot: Int) -> LocalAddress? {
        var storage = sockaddr_storage()
        var interface: UInt32 = 0
        guard clinux_local_address(&received[slot].msg_hdr, &storage, &interface) == 1 else { return nil }
        let address = withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0) }
        }
        return address.map { LocalAddress(address: $0, interface: interface) }
    }

    /// Queues the answer in `slot`.
    mutating func enqueue(_ slot: Int, length: Int, withLocalAddress: Bool) {
        sendVectors[sendCount] = iovec(iov_base: answerBase(slot), iov_len: length)
        var header = msghdr()
        header.msg_name = addressBase(slot)
        header.msg_namelen = received[slot].msg_hdr.msg_namelen
        header.msg_iov = sendVectors + sendCount
        header.msg_iovlen = 1
        if withLocalAddress, let local = localAddress(slot) {
            header.msg_control = controlBase(slot)
            header.msg_controllen = controlCapacity
            header.setSource(local)
        }
        toSend[sendCount] = clinux_mmsghdr(msg_hdr: header, msg_len: 0)
        sendCount += 1
    }

    /// Sends the queued answers.
    mutating func send(on socket: Int32) {
        DatagramSocket.send(toSend, count: sendCount, on: socket)
        sendCount = 0
    }
}

/// The destination address of a query; the answer must be sent from it (RFC 2181 4).
struct LocalAddress: Sendable, BitwiseCopyable {
    var address: SocketAddress
    var interface: UInt32
}

/// A bound UDP socket.
package struct DatagramSocket: Sendable {
    let descriptor: Int32
    /// Bound to 0.0.0.0 or ::, so each answer must set its source address.
    let isWildcard: Bool
    /// Other workers wait on the same socket.
    let isShared: Bool
    /// Where it is bound.
    let address: SocketAddress

    package init(descriptor: Int32, at address: SocketAddress, isShared: Bool) {
        self.descriptor = descriptor
        self.address = address
        isWildcard = address.isUnspecified
        self.isShared = isShared
    }

    /// Sends datagrams. Those that the kernel refuses are dropped: the client retries, as on any lossy network.
    static func send(_ datagrams: UnsafeMutablePointer<clinux_mmsghdr>, count: Int, on descriptor: Int32) {
        var first = 0
        while first < count {
            let sent = clinux_sendmmsg(descriptor, datagrams + first, UInt32(count - first), Int32(MSG_DONTWAIT))
            if sent < 0 && errno == EINTR { continue }
            // The kernel refused the first datagram (full queue, unreachable client): continue after it.
            first += max(1, Int(sent))
        }
    }
}

/// Late answers, collected so that those from one socket leave in one system call.
struct DatagramOutbox: ~Copyable {
    private static let addressCapacity = MemoryLayout<sockaddr_storage>.size
    private let capacity: Int
    private let memory: UnsafeMutableRawPointer
    private let headers: UnsafeMutablePointer<clinux_mmsghdr>
    private let vectors: UnsafeMutablePointer<iovec>
    private let descriptors: UnsafeMutablePointer<Int32>
    private let controlCapacity = clinux_pktinfo_space()
    private var count = 0

    init(capacity: Int) {
        self.capacity = capacity
        let perSlot = DatagramBatch.answerCapacity + Self.addressCapacity + controlCapacity
        memory = .allocate(byteCount: capacity * perSlot, alignment: 16)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: capacity * perSlot)
        headers = .allocate(capacity: capacity)
        vectors = .allocate(capacity: capacity)
        descriptors = .allocate(capacity: capacity)
    }

    deinit {
        memory.deallocate()
        headers.deallocate()
        vectors.deallocate()
        descriptors.deallocate()
    }

    /// The buffer for the next answer.
    var room: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: memory + count * DatagramBatch.answerCapacity, count: DatagramBatch.answerCapacity)
    }

    /// Queues the answer of `length` bytes in `room`, sent from `local` if the socket is bound to the wildcard address.
    mutating func commit(_ length: Int, on socket: DatagramSocket, to client: SocketAddress, from local: LocalAddress?)
    {
        let address = memory + capacity * DatagramBatch.answerCapacity + count * Self.addressCapacity
        vectors[count] = iovec(iov_base: room.baseAddress, iov_len: length)
        var header = msghdr()
        header.msg_name = address
        header.msg_namelen = client.write(to: address)
        header.msg_iov = vectors + count
        header.msg_iovlen = 1
        if let local {
            header.msg_control =
                memory + capacity * (DatagramBatch.answerCapacity + Self.addressCapacity) + count * controlCapacity
            header.msg_controllen = controlCapacity
            header.setSource(local)
        }
        headers[count] = clinux_mmsghdr(msg_hdr: header, msg_len: 0)
        descriptors[count] = socket.descriptor
        count += 1
        if count == capacity { flush() }
    }

    mutating func flush() {
        var first = 0
        while first < count {
            var end = first + 1
            while end < count, descriptors[end] == descriptors[first] { end += 1 }
            DatagramSocket.send(headers + first, count: end - first, on: descriptors[first])
            first = end
        }
        count = 0
    }
}

extension msghdr {
    /// Makes the message leave from `local`; its control buffer is large enough.
    fileprivate mutating func setSource(_ local: LocalAddress) {
        let length = local.address.withSockaddr { address, _ in clinux_set_source(&self, address, local.interface) }
        if length == 0 { msg_control = nil }
    }
}
