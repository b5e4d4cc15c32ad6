import DNSWire
import Glibc
public import Platform

/// The system's name servers, as `/etc/resolv.conf` lists them.
public struct ResolvConf: Sendable {
    /// In file order, without our own addresses and duplicates.
    public let servers: [UpstreamServer]
    /// Unusable lines, with the reason; or that the file can't be read.
    public let diagnostics: [Diagnostic]
    /// The file the servers come from: systemd-resolved's own if `path` names only its stub.
    public let path: String
    /// The files that decide: what to watch.
    public private(set) var watched: [String] = []

    public static let systemPath = "/etc/resolv.conf"
    /// Where systemd-resolved lists the servers behind its stub.
    public static let resolvedPath = "/run/systemd/resolve/resolv.conf"
    private static let largest = 1 << 20

    /// Reads the file at `path`. `ownAddresses` are those we listen on: they are skipped, so that nothing is forwarded
    /// to ourselves.
    public static func read(
        _ path: String = systemPath, ownAddresses: [SocketAddress] = [], resolvedPath: String = Self.resolvedPath
    ) -> ResolvConf {
        let text: [UInt8]
        do { text = try FileText.bytes(of: path, limit: largest) } catch {
            let why = "\(error); name the servers with --upstream, or use --no-upstream"
            return ResolvConf(
                servers: [], diagnostics: [Diagnostic(Place(path: path), .error, why)], path: path, watched: [path])
        }
        let listed = nameServers(text, path: path, ownAddresses: [])
        // The stub only forwards to the servers in the other file, and we may be about to replace it.
        let namesStub = !listed.servers.isEmpty && listed.servers.allSatisfy { isResolvedStub($0.address) }
        let isBehind = (namesStub || isResolvedLink(path)) && path != resolvedPath
        var result = nameServers(text, path: path, ownAddresses: ownAddresses)
        if isBehind, let behind = try? FileText.bytes(of: resolvedPath, limit: largest) {
            let real = nameServers(behind, path: resolvedPath, ownAddresses: ownAddresses)
            if !real.servers.isEmpty { result = real }
        }
        result.watched = isBehind ? [path, resolvedPath] : [path]
        return result
    }

    /// The `nameserver` lines of `text`. All are used; the limit of three is the C library's.
    static func nameServers(_ text: [UInt8], path: String, ownAddresses: [SocketAddress]) -> ResolvConf {
        var servers: [UpstreamServer] = []
        var diagnostics: [Diagnostic] = []
        let file = Place(path: path)
        let lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let words = line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
            guard let keyword = words.first, keyword.elementsEqual("nameserver".utf8) else { continue }
            let place = file.line(index + 1)
            guard words.count > 1 else {
                diagnostics.append(Diagnostic(place, .warning, "nameserver without an address; the line is skipped"))
                continue
            }
            let text = String(decoding: words[1], as: UTF8.self)
            guard let (address, interface) = UpstreamServer.scopedAddress(text, port: 53) else {
                let shown = words[1].prefix(64).map { (0x21...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }
                let word = String(decoding: shown, as: UTF8.self)
                diagnostics.append(
                    Diagnostic(place, .warning, "'\(word)' is not an IP address; the line is skipped"))
                continue
            }
            // As in the C library, 0.0.0.0 and :: mean this machine.
            let target = address.isUnspecified ? loopback(address) : address
            if ownAddresses.contains(where: { isOurs(target, $0) }) {
                diagnostics.append(
                    Diagnostic(place, .warning, "\(target.ip) is an address of our own; it is not asked"))
                continue
            }
            let server = UpstreamServer(address: target, interface: interface)
            if !servers.contains(server) { servers.append(server) }
        }
        return ResolvConf(
            servers: Array(servers.prefix(ForwardSettings.maximumServers)), diagnostics: diagnostics, path: path)
    }

    /// Whether a query to `server` would come back to our listener at `own`.
    private static func isOurs(_ server: SocketAddress, _ own: SocketAddress) -> Bool {
        guard server.port == own.port else { return false }
        if own.isUnspecified { return server.isLoopback && (server.isIPv6 == own.isIPv6 || own.isIPv6) }
        return server.isIPv6 == own.isIPv6 && server.high == own.high && server.low == own.low
    }

    private static func loopback(_ address: SocketAddress) -> SocketAddress {
        SocketAddress(high: 0, low: address.isIPv6 ? 1 : 0x7F00_0001, port: address.port, isIPv6: address.isIPv6)
    }

    /// 127.0.0.53, or 127.0.0.54, which has no local names.
    private static func isResolvedStub(_ address: SocketAddress) -> Bool {
        !address.isIPv6 && (address.low == 0x7F00_0035 || address.low == 0x7F00_0036)
    }

    /// Whether `path` is a link to systemd-resolved's stub file.
    private static func isResolvedLink(_ path: String) -> Bool {
        var target = [UInt8](repeating: 0, count: Int(PATH_MAX))
        let length = target.withUnsafeMutableBytes {
            readlink(path, $0.baseAddress.unsafelyUnwrapped.assumingMemoryBound(to: CChar.self), $0.count)
        }
        guard length > 0 else { return false }
        return String(decoding: target[..<length], as: UTF8.self).hasSuffix("/systemd/resolve/stub-resolv.conf")
    }
}
