import Foundation
import TestSupport

/// A port that was free just now, for UDP and TCP.
func freePort() throws -> UInt16 {
    for _ in 0..<20 {
        let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        defer {
            close(stream)
            close(datagram)
        }
        guard let port = bindLoopback(stream, 0) else { continue }
        if bindLoopback(datagram, port) != nil { return port }
    }
    throw LineReader.Missing(description: "no free port")
}

/// Binds to ::1; returns the port.
func bindSix(_ descriptor: Int32) -> UInt16? {
    var address = sockaddr_in6()
    address.sin6_family = sa_family_t(AF_INET6)
    address.sin6_addr = in6addr_loopback
    var length = socklen_t(MemoryLayout<sockaddr_in6>.size)
    return withUnsafeMutablePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            guard bind(descriptor, $0, length) == 0, getsockname(descriptor, $0, &length) == 0 else { return nil }
            return UInt16(bigEndian: pointer.pointee.sin6_port)
        }
    }
}

/// NSD as a real authoritative upstream server with the given zones.
struct NSDServer {
    let port: UInt16
    private let folder: TemporaryFolder
    private let program: ProgramProcess

    init(_ zones: [(name: String, text: String)]) async throws {
        folder = try TemporaryFolder()
        port = try freePort()
        var configuration = """
            server:
              ip-address: 127.0.0.1
              port: \(port)
              server-count: 1
              username: ""
              zonesdir: "\(folder.path)"
              database: ""
              pidfile: ""
              xfrdfile: "\(folder.file("xfrd.state"))"
              zonelistfile: "\(folder.file("zone.list"))"
              rrl-ratelimit: 0
            remote-control:
              control-enable: no

            """
        for (index, zone) in zones.enumerated() {
            try folder.write(zone.text, to: "\(index).zone")
            configuration += "zone:\n  name: \(zone.name)\n  zonefile: \(index).zone\n"
        }
        let file = try folder.write(configuration, to: "nsd.conf")
        program = try ProgramProcess("/usr/sbin/nsd", ["-d", "-c", file])
        _ = try await program.errors.first(containing: "nsd started")
    }

    func stop() async throws {
        program.signal(SIGTERM)
        _ = try await program.exitCode()
    }
}

/// Unbound as a real upstream resolver, which asks `stubs` for their domains.
struct UnboundServer {
    let port: UInt16
    private let folder: TemporaryFolder
    private let program: ProgramProcess

    /// `anchor`: a key file; with it, Unbound validates.
    init(_ stubs: [(name: String, port: UInt16)], anchor: String? = nil) async throws {
        folder = try TemporaryFolder()
        port = try freePort()
        var configuration = """
            server:
              interface: 127.0.0.1
              port: \(port)
              do-daemonize: no
              username: ""
              chroot: ""
              directory: "\(folder.path)"
              pidfile: ""
              use-syslog: no
              logfile: ""
              verbosity: 1
              num-threads: 1
              module-config: "\(anchor == nil ? "" : "validator ")iterator"
              ede: yes
              do-not-query-localhost: no
              local-zone: "test." transparent
            remote-control:
              control-enable: no

            """
        if let anchor { configuration += "server:\n  trust-anchor-file: \"\(anchor)\"\n" }
        for stub in stubs {
            configuration += "stub-zone:\n  name: \(stub.name)\n  stub-addr: 127.0.0.1@\(stub.port)\n"
        }
        let file = try folder.write(configuration, to: "unbound.conf")
        program = try ProgramProcess("/usr/sbin/unbound", ["-d", "-c", file])
        _ = try await program.errors.first(containing: "start of service")
    }
}
