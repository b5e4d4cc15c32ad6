import Foundation
import TestSupport
import Testing

/// Notifications to the service manager (sd_notify(3)).
@Suite("A service manager")
struct NotifyTests {
    @Test("is told when the daemon is ready, reloads and stops")
    func states() async throws {
        let folder = try TemporaryFolder()
        let path = folder.file("notify")
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let bound = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        #expect(bound == 0)
        var limit = timeval(tv_sec: longestWait, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        @Sendable func next() async throws -> [String] {
            try await blocking {
                var bytes = [UInt8](repeating: 0, count: 1024)
                let count = recv(descriptor, &bytes, bytes.count, 0)
                return String(decoding: bytes.prefix(max(count, 0)), as: UTF8.self).split(separator: "\n").map(
                    String.init)
            }
        }
        let daemon = try await DaemonProcess(
            ["--no-hosts", "--zones", folder.path, "--no-upstream"],
            behind: ["/usr/bin/env", "NOTIFY_SOCKET=\(path)"])
        #expect(try await next() == ["READY=1"])
        daemon.program.signal(SIGHUP)
        let reloading = try await next()
        #expect(reloading.first == "RELOADING=1")
        // systemd compares it with its own clock (Type=notify-reload).
        #expect(reloading.last?.wholeMatch(of: /MONOTONIC_USEC=[0-9]+/) != nil)
        #expect(try await next() == ["READY=1"])
        daemon.program.signal(SIGTERM)
        #expect(try await next() == ["STOPPING=1"])
        #expect(try await daemon.program.exitCode() == 0)
    }
}
