import CLinux
import DNSWire
import Glibc
import Platform

/// The buffers of one `recvmmsg` and the `sendmmsg` that answers it, wired once and reused.
///
/// A receive slot is also a send slot: the peer's address and, on a wildcard bind, the address that was asked stay in
/// place, so that an answer needs no more than its length.
struct DatagramBatch: ~Copyable {
    /// Datagrams per system call.
    static let count = 64
    /// The longest query that is read, in bytes; a longer one is cut by the kernel, and so is malformed.
    static let queryCapacity = 4096
    /// Answers over UDP are never longer than what we announce.
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

    // Each kind of buffer lies together, so that the addresses of a batch share cache lines.
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

    /// Reads what has arrived, at most a batch; returns how many datagrams, or 0.
    mutating func receive(from socket: Int32, withLocalAddress: Bool) -> Int {
        for slot in 0..<Self.count {
            received[slot].msg_hdr.msg_namelen = socklen_t(Self.addressCapacity)
            received[slot].msg_hdr.msg_controllen = withLocalAddress ? controlCapacity : 0
        }
        sendCount = 0
        return max(0, Int(clinux_recvmmsg(socket, received, UInt32(Self.count), Int32(MSG_DONTWAIT))))
    }

    /// The datagram of `slot`, as far as it was read.
    func query(_ slot: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: queryBase(slot), count: Int(received[slot].msg_len))
    }

    func client(_ slot: Int) -> SocketAddress? {
        SocketAddress(UnsafeRawPointer(addressBase(slot)).assumingMemoryBound(to: sockaddr.self))
    }

    /// Where the answer to `slot` is written.
    func answer(_ slot: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: answerBase(slot), count: Self.answerCapacity)
    }

    /// The address that `slot` was sent to, where the socket is bound to all of them.
    func localAddress(_ slot: Int) -> LocalAddress? {
        var storage = sockaddr_storage()
        var interface: UInt32 = 0
        guard clinux_local_address(&received[slot].msg_hdr, &storage, &interface) == 1 else { return nil }
        let address = withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { SocketAddress($0) }
        }
        return address.map { LocalAddress(address: $0, interface: interface) }
    }

    /// Puts the answer of `slot` on the list to send.
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

    /// Sends the list.
    mutating func send(on socket: Int32) {
        DatagramSocket.send(toSend, count: sendCount, on: socket)
        sendCount = 0
    }
}

/// The address a datagram was sent to; the answer has to leave from it (RFC 2181 4).
struct LocalAddress: Sendable, BitwiseCopyable {
    var address: SocketAddress
    var interface: UInt32
}

/// A bound UDP socket.
package struct DatagramSocket: Sendable {
    let descriptor: Int32
    /// Bound to 0.0.0.0 or ::, so that each answer has to name its source.
    let isWildcard: Bool
    /// Other workers wait for it too.
    let isShared: Bool

    package init(descriptor: Int32, isWildcard: Bool, isShared: Bool) {
        self.descriptor = descriptor
        self.isWildcard = isWildcard
        self.isShared = isShared
    }

    /// Sends datagrams. What the kernel refuses is dropped: the client asks again, as over any lossy network.
    static func send(_ datagrams: UnsafeMutablePointer<clinux_mmsghdr>, count: Int, on descriptor: Int32) {
        var first = 0
        while first < count {
            let sent = clinux_sendmmsg(descriptor, datagrams + first, UInt32(count - first), Int32(MSG_DONTWAIT))
            if sent < 0 && errno == EINTR { continue }
            // The first datagram was refused (a full queue, an unreachable peer): go on behind it.
            first += max(1, Int(sent))
        }
    }
}

/// Answers to queries that had to wait, gathered so that those from one socket leave in one system call.
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

    /// Where the next answer is to be written.
    var room: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(
            start: memory + count * DatagramBatch.answerCapacity, count: DatagramBatch.answerCapacity)
    }

    /// `room` holds an answer of this many bytes, from `local` where the socket is bound to all addresses.
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
    /// Has the message leave from `local`; its control buffer has room for that.
    fileprivate mutating func setSource(_ local: LocalAddress) {
        let length = local.address.withSockaddr { address, _ in clinux_set_source(&self, address, local.interface) }
        if length == 0 { msg_control = nil }
    }
}
