public import DNSWire
public import Platform

/// Encrypted servers as people write them.
extension UpstreamServer {
    private static let dohPort: UInt16 = 443
    private static let dotPort: UInt16 = 853
    private static let longestPath = 1_024

    /// `ADDR[:PORT][#NAME]`: the certificate has NAME, or else the address.
    ///
    /// - RFC: 7858 3.1; 8310 7.1 (the name is configured with the address).
    static func tlsServer(_ text: Substring, of whole: String) throws(ParseError) -> UpstreamServer {
        let parts = text.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let name = parts.count > 1 ? try serverName(parts[1], of: whole) : nil
        let ip = String(parts[0])
        do {
            let (address, interface) = try address(ip, defaultPort: dotPort, of: whole)
            return UpstreamServer(
                address: address, interface: interface, transport: .dot, encryption: Encryption(serverName: name))
        } catch {
            guard name == nil, Name(ip) != nil else { throw error }
            throw ParseError(
                "\(quoted(whole.utf8)): a server is given by its address; give tls://ADDR#\(printable(ip))")
        }
    }

    /// `HOST[:PORT]/PATH[#ADDR]`: the certificate has HOST, a name or an address. ADDR is where a named HOST is.
    ///
    /// - RFC: 8484 3 (a template's `{?dns}` is for GET; queries are sent with POST).
    static func httpsServer(_ text: Substring, of whole: String) throws(ParseError) -> UpstreamServer {
        let parts = text.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)
        let slash = parts[0].firstIndex(of: "/") ?? parts[0].endIndex
        let authority = parts[0][..<slash]
        var path = String(parts[0][slash...])
        if path.hasSuffix("{?dns}") { path.removeLast(6) }
        guard !path.isEmpty, path != "/" else {
            throw ParseError("\(quoted(whole.utf8)): the path is missing; most servers have https://HOST/dns-query")
        }
        guard path.utf8.count <= longestPath, path.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x7B }) else {
            throw ParseError("\(quoted(whole.utf8)): the path holds what no URL can, or is too long")
        }
        if let (address, interface) = try? address(String(authority), defaultPort: dohPort, of: whole) {
            guard parts.count == 1 else {
                throw ParseError("\(quoted(whole.utf8)): HOST is an address already; leave out '#' and what follows")
            }
            // Only this machine knows the interface (RFC 6874 3).
            let ip = address.withScope(0).ip
            let host = address.isIPv6 ? "[\(ip)]" : ip
            let authority = address.port == dohPort ? host : "\(host):\(address.port)"
            return UpstreamServer(
                address: address, interface: interface, transport: .doh,
                encryption: Encryption(serverName: nil, authority: authority, path: path))
        }
        let host = authority.lowercased().split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let name = try serverName(host[0], of: whole)
        let port = host.count > 1 ? try number(host[1], of: whole) : dohPort
        let encryption = Encryption(
            serverName: name, authority: port == dohPort ? name : "\(name):\(port)", path: path)
        guard parts.count > 1 else {
            return UpstreamServer(
                address: SocketAddress(high: 0, low: 0, port: port, isIPv6: false), transport: .doh,
                encryption: encryption)
        }
        let (address, interface) = try address(String(parts[1]), defaultPort: port, of: whole)
        return UpstreamServer(address: address, interface: interface, transport: .doh, encryption: encryption)
    }

    /// The host whose address is not known yet: it has to be looked up before the server can be asked.
    public var unresolvedHost: Name? { address.isUnspecified ? encryption?.serverName.flatMap { Name($0) } : nil }

    /// The same server at an address that was looked up.
    public func at(_ address: SocketAddress) -> UpstreamServer {
        var server = self
        server.address = address.withPort(self.address.port)
        return server
    }

    /// A host name, as certificates have it: letters, digits and hyphens, without the final dot.
    private static func serverName(_ text: Substring, of whole: String) throws(ParseError) -> String {
        var name = text.lowercased()
        if name.hasSuffix(".") { name.removeLast() }
        let isHost = name.utf8.allSatisfy {
            ASCII.isDigit($0) || (0x61...0x7A).contains($0) || $0 == 0x2D || $0 == 0x2E
        }
        guard isHost, let known = Name(name), !known.isRoot, SocketAddress(ip: name, port: 0) == nil else {
            throw ParseError("\(quoted(whole.utf8)): \(quoted(text.utf8)) is no host name that a certificate can have")
        }
        return name
    }

    private static func printable(_ text: String) -> String { text }
}
