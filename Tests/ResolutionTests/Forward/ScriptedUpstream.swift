import CLinux
import Glibc

@testable import Platform

/// A name server on 127.0.0.1 that answers by a script, over UDP and TCP, on its own thread.
final class ScriptedUpstream: Sendable {
    /// The query, and whether it came over TCP; nil: no answer.
    typealias Script = @Sendable ([UInt8], Bool) -> [UInt8]?

    let port: UInt16
    private let datagrams: Int32
    private let listener: Int32
    private let stop: Int32
    private let thread: TestThread

    init(_ script: @escaping Script) {
        func bound(_ kind: __socket_type, _ port: UInt16) -> (Int32, UInt16) {
            let descriptor = socket(AF_INET, Int32(kind.rawValue), 0)
            let address = SocketAddress(ip: "127.0.0.1", port: port).unsafelyUnwrapped
            guard address.withSockaddr({ bind(descriptor, $0, $1) }) == 0 else { return (-1, 0) }
            var storage = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            withUnsafeMutablePointer(to: &storage) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { _ = getsockname(descriptor, $0, &length) }
            }
            return (descriptor, UInt16(bigEndian: storage.sin_port))
        }
        // A TCP port that is also free for UDP.
        var pair: (Int32, Int32, UInt16) = (-1, -1, 0)
        while pair.1 < 0 {
            let (tcp, port) = bound(SOCK_STREAM, 0)
            let (udp, _) = bound(SOCK_DGRAM, port)
            if udp < 0 { close(tcp) } else { pair = (tcp, udp, port) }
        }
        listen(pair.0, 16)
        ReceiveBuffer.enlarge(of: pair.1, to: 4 << 20)
        let (listener, datagrams) = (pair.0, pair.1)
        let stop = eventfd(0, 0)
        (self.listener, self.datagrams, port, self.stop) = (listener, datagrams, pair.2, stop)
        thread = TestThread {
            var connections: [Int32] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                var polls = ([stop, datagrams, listener] + connections).map {
                    pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
                }
                guard poll(&polls, nfds_t(polls.count), -1) >= 0, polls[0].revents == 0 else { break }
                if polls[1].revents != 0 {
                    var peer = sockaddr_in()
                    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                    withUnsafeMutablePointer(to: &peer) {
                        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { peer in
                            let count = recvfrom(datagrams, &buffer, buffer.count, 0, peer, &length)
                            guard count > 0, let answer = script(Array(buffer[..<count]), false) else { return }
                            sendto(datagrams, answer, answer.count, 0, peer, length)
                        }
                    }
                }
                if polls[2].revents != 0 { connections.append(accept(listener, nil, nil)) }
                for entry in polls.dropFirst(3) where entry.revents != 0 {
                    let count = recv(entry.fd, &buffer, buffer.count, 0)
                    guard count > 0 else {
                        close(entry.fd)
                        connections.removeAll { $0 == entry.fd }
                        continue
                    }
                    var cursor = 0
                    while cursor + 2 <= count {
                        let length = Int(buffer[cursor]) << 8 | Int(buffer[cursor + 1])
                        guard cursor + 2 + length <= count else { break }
                        if let answer = script(Array(buffer[(cursor + 2)..<(cursor + 2 + length)]), true) {
                            let framed = [UInt8(answer.count >> 8), UInt8(answer.count & 255)] + answer
                            // In two pieces, as a network may deliver it.
                            send(entry.fd, framed, 3, 0)
                            framed.withUnsafeBytes {
                                _ = send(entry.fd, $0.baseAddress.unsafelyUnwrapped + 3, framed.count - 3, 0)
                            }
                        }
                        cursor += length + 2
                    }
                }
            }
            for connection in connections { close(connection) }
        }
    }

    deinit {
        var one: UInt64 = 1
        write(stop, &one, 8)
        thread.join()
        for descriptor in [stop, datagrams, listener] { close(descriptor) }
    }
}

/// A thread that runs one closure.
final class TestThread: Sendable {
    private final class Body: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }

    private let thread: pthread_t

    init(_ run: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { raw in
                raw.map { Unmanaged<Body>.fromOpaque($0).takeRetainedValue().run() }
                return nil
            }, Unmanaged.passRetained(Body(run)).toOpaque())
        self.thread = thread
    }

    func join() { pthread_join(thread, nil) }
}
