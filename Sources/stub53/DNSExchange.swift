import DNSWire
import Glibc
import LDNS
import Platform
import Upstream

/// One question to one server, over UDP, then over TCP if the response is truncated.
///
/// A response counts only if it comes from the queried address to our port, has our ID and question, and passes the
/// strict walk; others are ignored.
struct DNSExchange {
    struct Options {
        /// `.udp`: with TCP after a truncated response.
        var transport = UpstreamTransport.udp
        var wantsSignatures = false
        var recursionDesired = true
        var checkingDisabled = false
        var usesEDNS = true
        /// A client cookie to send (RFC 7873 4); needs EDNS.
        var cookie: [UInt8] = []
        var timeout = Duration.seconds(5)
        /// What to do if the server can't be asked.
        var mend = "check the address, or name another @SERVER"
    }

    struct Result {
        var message: [UInt8]
        var duration: Duration
        /// The transport of the response.
        var transport: UpstreamTransport
        /// The UDP response was truncated.
        var wasTruncated: Bool
    }

    /// Why there is no response, and what to do; without the server's name.
    struct Failure: Error, CustomStringConvertible {
        let reason: String
        var mend: String?

        var description: String { mend.map { "\(reason); \($0)" } ?? reason }
    }

    let target: UpstreamServer
    let options: Options

    private var server: Platform.SocketAddress { target.address }

    /// Asks `target`, over its own transport if that is encrypted.
    init(_ target: UpstreamServer, _ options: Options) {
        self.target = target
        self.options = options
    }

    func ask(_ name: Name, _ type: RecordType, _ recordClass: RecordClass) throws(Failure) -> Result {
        let id = UInt16.random(in: 0...UInt16.max)
        var contents = QueryTemplate.Options()
        contents.isRecursionDesired = options.recursionDesired
        contents.isCheckingDisabled = options.checkingDisabled
        contents.payloadSize = options.usesEDNS || options.wantsSignatures ? UInt16(EDNS.payloadSize) : nil
        contents.wantsSignatures = options.wantsSignatures
        contents.cookie = options.cookie
        let query: [UInt8]
        do {
            query = try QueryTemplate.wire(name: name, type: type, recordClass: recordClass, id: id, contents)
        } catch {
            throw Failure(reason: "the query can't be built: \(error)")
        }
        let start = ContinuousClock.now
        if !target.transport.isPlain {
            let message = try askEncrypted(query)
            return Result(
                message: message, duration: ContinuousClock.now - start, transport: target.transport,
                wasTruncated: false)
        }
        let deadline = start + options.timeout
        if options.transport == .udp {
            let message = try askUDP(query, deadline: deadline)
            if message[2] & 0x02 == 0 {
                return Result(
                    message: message, duration: ContinuousClock.now - start, transport: .udp, wasTruncated: false)
            }
        }
        let message = try askTCP(query, deadline: deadline)
        return Result(
            message: message, duration: ContinuousClock.now - start, transport: .tcp,
            wasTruncated: options.transport == .udp)
    }

    // MARK: TLS and HTTPS

    private func askEncrypted(_ query: [UInt8]) throws(Failure) -> [UInt8] {
        let message: [UInt8]
        do {
            let timeout = options.timeout / .microseconds(1)
            message = try EncryptedQuery.ask(target, query, timeout: UInt64(timeout))
        } catch {
            let mends: [UpstreamFault: String] = [
                .untrusted: "name its authority's certificate with --ca", .otherName: "name the server with #NAME",
                .silent: "check the address and the firewall",
            ]
            throw Failure(reason: "\(error.text)", mend: mends[error] ?? options.mend)
        }
        guard isResponse(message, to: query) else {
            throw Failure(reason: "what came is no response to the query")
        }
        return message
    }

    // MARK: UDP

    private func askUDP(_ query: [UInt8], deadline: ContinuousClock.Instant) throws(Failure) -> [UInt8] {
        let socket = try open(SOCK_DGRAM)
        defer { close(socket) }
        guard server.withSockaddr({ connect(socket, $0, $1) }) == 0 else { throw failure("can't be reached") }
        var buffer = [UInt8](repeating: 0, count: 65535)
        // Half of the time for each attempt, to survive one lost datagram.
        for attempt in 1...2 {
            guard send(socket, query, query.count, Int32(MSG_NOSIGNAL)) == query.count else {
                throw failure("can't be reached")
            }
            let end = attempt == 2 ? deadline : ContinuousClock.now + options.timeout / 2
            while try wait(socket, Int16(POLLIN), until: end) {
                let count = recv(socket, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                if count < 0 {
                    if errno == EAGAIN || errno == EINTR { continue }
                    throw failure("no DNS server answers there")
                }
                if isResponse(Array(buffer[..<count]), to: query) { return Array(buffer[..<count]) }
            }
        }
        throw Failure(
            reason: "no response within \(options.timeout)", mend: "check the address, or that the server is running")
    }

    // MARK: TCP

    private func askTCP(_ query: [UInt8], deadline: ContinuousClock.Instant) throws(Failure) -> [UInt8] {
        let socket = try open(SOCK_STREAM)
        defer { close(socket) }
        guard fcntl(socket, F_SETFL, O_NONBLOCK) == 0 else { throw failure("can't be reached") }
        if server.withSockaddr({ connect(socket, $0, $1) }) != 0 {
            guard errno == EINPROGRESS else { throw failure("can't be reached over TCP") }
            guard try wait(socket, Int16(POLLOUT), until: deadline) else { throw timedOutOverTCP }
            var status: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(socket, SOL_SOCKET, SO_ERROR, &status, &length)
            if status != 0 {
                errno = status
                throw failure("no DNS server answers there over TCP")
            }
        }
        var rest = [UInt8(query.count >> 8), UInt8(query.count & 0xFF)] + query
        while !rest.isEmpty {
            guard try wait(socket, Int16(POLLOUT), until: deadline) else { throw timedOutOverTCP }
            let count = send(socket, rest, rest.count, Int32(MSG_NOSIGNAL))
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count >= 0 else { throw failure("the connection broke") }
            rest.removeFirst(count)
        }
        var received: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65537)
        while true {
            if received.count >= 2 {
                let length = Int(received[0]) << 8 | Int(received[1])
                if received.count >= 2 + length {
                    let message = Array(received[2..<(2 + length)])
                    guard isResponse(message, to: query) else {
                        throw Failure(reason: "what came over TCP is no response to the query")
                    }
                    return message
                }
            }
            guard try wait(socket, Int16(POLLIN), until: deadline) else { throw timedOutOverTCP }
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count >= 0 else { throw failure("the connection broke") }
            guard count > 0 else { throw Failure(reason: "the server closed the connection without a response") }
            received += buffer[..<count]
        }
    }

    private var timedOutOverTCP: Failure {
        Failure(reason: "no response over TCP within \(options.timeout)", mend: "check the address and the firewall")
    }

    // MARK: Sockets

    private func open(_ kind: __socket_type) throws(Failure) -> Int32 {
        let descriptor = socket(
            server.isIPv6 ? AF_INET6 : AF_INET, Int32(kind.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw failure("a socket can't be opened") }
        return descriptor
    }

    /// False if the time is up.
    private func wait(
        _ socket: Int32, _ events: Int16, until end: ContinuousClock.Instant
    ) throws(Failure) -> Bool {
        while true {
            let left = end - ContinuousClock.now
            guard left > .zero else { return false }
            var entry = pollfd(fd: socket, events: events, revents: 0)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1
            let count = poll(&entry, 1, Int32(clamping: milliseconds))
            if count > 0 { return true }
            guard count == 0 || errno == EINTR else { throw failure("waiting failed") }
        }
    }

    private func failure(_ what: String) -> Failure {
        Failure(
            reason: "\(what) (\(String(cString: strerror(errno))))", mend: options.mend)
    }

    // MARK: Checking

    private func isResponse(_ message: [UInt8], to query: [UInt8]) -> Bool {
        message.withUnsafeBytes { bytes in
            guard bytes.count >= Header.length, bytes[0] == query[0], bytes[1] == query[1],
                // QR=1 and opcode QUERY.
                bytes[2] & 0xF8 == 0x80, let summary = MessageReader.walk(bytes), summary.isSound
            else { return false }
            let end = query.withUnsafeBytes { MessageReader.walk($0)?.questionEnd ?? 0 }
            if summary.questionEnd == Header.length {
                // A server that can't parse the question can't repeat it: FORMERR and NOTIMP may come without (RFC 1035
                // 4.1.1).
                return bytes[3] & 0xF != 0
            }
            return summary.questionEnd == end
                && zip(bytes[Header.length..<end], query[Header.length..<end]).allSatisfy {
                    ASCII.lowercased($0) == ASCII.lowercased($1)
                }
        }
    }
}
