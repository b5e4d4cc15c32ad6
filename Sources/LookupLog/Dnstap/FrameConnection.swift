internal import Glibc
import Platform

/// A connection to a collector: handshake, frames, and an acknowledged end.
///
/// The socket never blocks; the caller of `open` provides the waiting.
struct FrameConnection: ~Copyable {
    struct Failure: Error {
        /// "can't be reached: Connection refused".
        let description: String
        init(_ what: String, _ code: Int32) { description = "\(what): \(String(cString: strerror(code)))" }
        init(_ description: String) { self.description = description }
    }

    let descriptor: Int32
    /// Received bytes that are not yet a whole control frame.
    private var received: [UInt8] = []

    /// How long the collector may take to accept the connection, and then to answer READY, in milliseconds.
    private static let patience: Int32 = 5000

    private init(_ descriptor: Int32) { self.descriptor = descriptor }

    /// Connects and does the handshake. `waits` waits for `poll(2)` events on a descriptor, up to a number of
    /// milliseconds, and returns whether they came.
    static func open(
        _ destination: DnstapDestination, waits: (Int32, Int32, Int32) -> Bool
    ) throws(Failure) -> FrameConnection {
        var connection = FrameConnection(try connect(destination, waits))
        try connection.write(FrameStream.ready, waits)
        guard case .accept = try connection.control(waits) else {
            throw Failure("does not speak Frame Streams as a collector does")
        }
        try connection.write(FrameStream.start, waits)
        return connection
    }

    deinit { close(descriptor) }

    // MARK: Opening

    private static func connect(
        _ destination: DnstapDestination, _ waits: (Int32, Int32, Int32) -> Bool
    ) throws(Failure) -> Int32 {
        var storage = sockaddr_storage()
        let family: Int32
        let length: socklen_t
        switch destination {
        case .tcp(let address):
            family = address.isIPv6 ? AF_INET6 : AF_INET
            length = withUnsafeMutableBytes(of: &storage) { address.write(to: $0.baseAddress.unsafelyUnwrapped) }
        case .unix(let path):
            family = AF_UNIX
            // The configuration has checked that the path fits.
            length = withUnsafeMutableBytes(of: &storage) {
                UnixSocket.write(path, to: $0.baseAddress.unsafelyUnwrapped)
            }
        case .file: throw Failure("is no socket")
        }
        let descriptor = socket(
            family, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Failure("can't be reached", errno) }
        if family != AF_UNIX { watchOver(descriptor) }
        let result = withUnsafePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { Glibc.connect(descriptor, $0, length) }
        }
        var code = result == 0 ? 0 : errno
        if code == EINPROGRESS {
            code = ETIMEDOUT
            if waits(descriptor, Int32(POLLOUT), patience) {
                var size = socklen_t(MemoryLayout<Int32>.size)
                getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
            }
        }
        guard code == 0 else {
            close(descriptor)
            throw Failure("can't be reached", code)
        }
        return descriptor
    }

    /// Enables keepalive, to notice a collector that disappears silently.
    private static func watchOver(_ descriptor: Int32) {
        func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, 30_000)
    }

    // MARK: Frames

    /// The `poll(2)` events to wait for while frames are left: room to send, or the collector's end.
    static let full = Int32(POLLOUT) | idle
    /// And without frames. The last bit is POLLRDHUP, which the Glibc module hides.
    static let idle = Int32(POLLIN) | 0x2000

    /// Sends what the collector takes now; returns how many frames were completed.
    mutating func send(_ frames: inout FrameBuffer) throws(Failure) -> UInt64 {
        var whole: UInt64 = 0
        while !frames.isEmpty {
            let bytes = frames.unwritten
            let sent = Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            guard sent > 0 else {
                if errno == EINTR { continue }
                if errno == EAGAIN { break }
                throw Failure("has closed the connection", errno)
            }
            whole += frames.wrote(sent)
        }
        return whole
    }

    /// Checks for input from the collector, which can only be its end.
    mutating func checkAlive() throws(Failure) {
        var byte: UInt8 = 0
        let count = recv(descriptor, &byte, 1, Int32(MSG_DONTWAIT))
        if count < 0, errno == EAGAIN || errno == EINTR { return }
        if count < 0 { throw Failure("has closed the connection", errno) }
        throw Failure("has closed the connection")
    }

    /// Sends STOP and waits for FINISH, which confirms that all frames arrived.
    mutating func finish(_ waits: (Int32, Int32, Int32) -> Bool) throws(Failure) {
        try write(FrameStream.stop, waits)
        guard case .finish = try control(waits) else { throw Failure("does not acknowledge the end") }
    }

    // MARK: Control frames

    private func write(_ bytes: [UInt8], _ waits: (Int32, Int32, Int32) -> Bool) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let sent = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress.unsafelyUnwrapped + done, $0.count - done, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 {
                done += sent
            } else if errno == EAGAIN {
                guard waits(descriptor, Int32(POLLOUT), Self.patience) else { throw Failure("takes nothing") }
            } else if errno != EINTR {
                throw Failure("has closed the connection", errno)
            }
        }
    }

    private mutating func control(_ waits: (Int32, Int32, Int32) -> Bool) throws(Failure) -> FrameStream.Control {
        while true {
            switch FrameStream.read(received) {
            case .control(let control, let length, let takesDnstap):
                received.removeFirst(length)
                guard takesDnstap else { throw Failure("does not take dnstap") }
                return control
            case .wrong: throw Failure("does not speak Frame Streams")
            case .incomplete: break
            }
            guard waits(descriptor, Int32(POLLIN), Self.patience) else { throw Failure("does not answer") }
            var bytes = [UInt8](repeating: 0, count: FrameStream.maximumControlLength)
            let count = recv(descriptor, &bytes, bytes.count, 0)
            if count < 0, errno == EAGAIN || errno == EINTR { continue }
            guard count > 0 else { throw Failure("has closed the connection") }
            received += bytes[..<count]
        }
    }
}
