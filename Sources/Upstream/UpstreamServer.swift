public import DNSWire
import Glibc
public import Platform

/// An upstream server, and the names forwarded to it.
public struct UpstreamServer: Sendable, Hashable {
    public internal(set) var address: SocketAddress
    /// The name of the interface in `address`, if that is how it was given: the number of an interface changes when it is
    /// made anew. Scope 0 stands for one that is not there.
    public let interface: String?
    public let transport: UpstreamTransport
    /// This name and all below it are forwarded to it. The root for the default route.
    public internal(set) var domain: Name
    /// For TLS and HTTPS.
    public var encryption: Encryption?
    /// For whose questions it is: 0, or the number of the view whose own server it is.
    public private(set) var partition: UInt16 = 0

    /// Trusted certificates, as PEM, and the file that they came from.
    public struct Authorities: Sendable, Hashable {
        public let path: String
        public let pem: [UInt8]

        public init(path: String, pem: [UInt8]) {
            self.path = path
            self.pem = pem
        }
    }

    /// The server whose answers these are, whatever number its interface has at the moment.
    public var origin: UpstreamServer {
        var origin = self
        if interface != nil { origin.address = origin.address.withScope(0) }
        return origin
    }

    /// How an encrypted server is verified and addressed.
    public struct Encryption: Sendable, Hashable {
        /// The name in its certificate, which is also sent (SNI); nil: the certificate has its address.
        public let serverName: String?
        /// `HOST[:PORT]`, and the path, of its URL.
        public let authority: String
        public let path: String
        /// Whom to trust; nil: the system's certificates.
        public var authorities: Authorities?

        init(serverName: String?, authority: String = "", path: String = "") {
            self.serverName = serverName
            self.authority = authority
            self.path = path
        }
    }

    public init(
        address: SocketAddress, interface: String? = nil, transport: UpstreamTransport = .udp, domain: Name = .root,
        encryption: Encryption? = nil
    ) {
        self.address = address
        self.interface = interface
        self.transport = transport
        self.domain = domain
        self.encryption = encryption
    }
}

extension UpstreamServer {
    /// The same server for another domain.
    public func serving(_ domain: Name) -> UpstreamServer {
        var server = self
        server.domain = domain
        return server
    }

    /// The same for the questions of a view.
    public func asked(for partition: UInt16) -> UpstreamServer {
        var server = self
        server.partition = partition
        return server
    }

    /// The same with the number that its interface has now.
    public func now() -> UpstreamServer {
        guard let interface else { return self }
        var server = self
        server.address = address.withScope(if_nametoindex(interface))
        return server
    }
}

extension UpstreamServer: CustomStringConvertible {
    /// `10.0.0.53:53`, `tcp://10.0.0.53:53`, `tls://10.0.0.53:853#dns.example`,
    /// `https://dns.example/dns-query#10.0.0.53:443`; prefixed with `corp.example.=` for a route. An interface has its
    /// number, as in the lookup log, or its name while it is not there.
    public var description: String {
        let route = domain.isRoot ? "" : "\(domain)="
        let isAbsent = address.scope == 0
        let shown = interface.flatMap { isAbsent ? "[\(address.ip)%\($0)]:\(address.port)" : nil } ?? "\(address)"
        switch transport {
        case .udp, .tcp, .replay: return route + "\(transport.scheme)\(shown)"
        case .dot: return route + "\(transport.scheme)\(shown)" + (encryption?.serverName.map { "#\($0)" } ?? "")
        case .doh:
            let url = "\(transport.scheme)\(encryption?.authority ?? "")\(encryption?.path ?? "")"
            return route + url + (encryption?.serverName == nil || address.isUnspecified ? "" : "#\(shown)")
        }
    }
}

extension UpstreamServer {
    /// Why a text does not describe a server.
    public struct ParseError: Error, Hashable, CustomStringConvertible {
        /// What is wrong and how to fix it; quoted text is escaped.
        public let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// Reads `ADDR[:PORT]` or `[V6]:PORT`, with an optional prefix `tcp://` or `udp://`; or `tls://ADDR[:PORT][#NAME]`; or
    /// `https://HOST[:PORT]/PATH[#ADDR]`.
    public init(parsing text: String) throws(ParseError) {
        var rest = text[...]
        var transport = UpstreamTransport.udp
        if let scheme = rest.range(of: "://") {
            let word = rest[..<scheme.lowerBound].lowercased()
            rest = rest[scheme.upperBound...]
            switch word {
            case "udp": break
            case "tcp": transport = .tcp
            case "tls": transport = .dot
            case "https": transport = .doh
            default:
                throw ParseError(
                    "\(quoted(text.utf8)): \(quoted("\(word)://".utf8)) is no transport; give ADDR, tcp://ADDR, tls://ADDR#NAME or https://HOST/PATH"
                )
            }
        }
        switch transport {
        case .udp, .tcp, .replay:
            let (address, interface) = try Self.address(String(rest), of: text)
            self.init(address: address, interface: interface, transport: transport)
        case .dot: self = try Self.tlsServer(rest, of: text)
        case .doh: self = try Self.httpsServer(rest, of: text)
        }
    }

    static func address(
        _ text: String, defaultPort: UInt16 = 53, of whole: String
    ) throws(ParseError) -> (address: SocketAddress, interface: String?) {
        var ip = text
        var port = defaultPort
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else {
                throw ParseError("\(quoted(whole.utf8)): ']' is missing")
            }
            ip = String(text[text.index(after: text.startIndex)..<close])
            let behind = text[text.index(after: close)...]
            if !behind.isEmpty {
                guard behind.first == ":" else {
                    throw ParseError("\(quoted(whole.utf8)): after ']' only :PORT may follow")
                }
                port = try number(behind.dropFirst(), of: whole)
            }
        } else if let colon = text.firstIndex(of: ":"), colon == text.lastIndex(of: ":") {
            ip = String(text[..<colon])
            port = try number(text[text.index(after: colon)...], of: whole)
        }
        guard let (address, interface) = scopedAddress(ip, port: port), !address.isUnspecified else {
            throw ParseError(
                "\(quoted(whole.utf8)): \(quoted(ip.utf8)) is not an IP address; a server is given as ADDR[:PORT] or [V6]:PORT"
            )
        }
        return (address, interface)
    }

    /// Reads an IP address. The interface behind the `%` of a link-local one need not be there yet.
    static func scopedAddress(_ text: String, port: UInt16) -> (address: SocketAddress, interface: String?)? {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 2, UInt32(parts[1]) == nil else {
            return SocketAddress(ip: text, port: port).map { ($0, nil) }
        }
        // netdevice(7): at most 15 bytes, without blanks and slashes.
        guard (1...15).contains(parts[1].utf8.count),
            parts[1].utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "/") }),
            let address = SocketAddress(ip: parts[0], port: port), address.isIPv6
        else { return nil }
        return (address.withScope(if_nametoindex(parts[1])), parts[1])
    }

    static func number(_ text: Substring, of whole: String) throws(ParseError) -> UInt16 {
        guard !text.isEmpty, text.utf8.allSatisfy(ASCII.isDigit), let port = UInt16(text), port > 0 else {
            throw ParseError(
                "\(quoted(whole.utf8)): \(quoted(text.utf8)) is not a port; one is a number from 1 to 65535")
        }
        return port
    }
}

extension Substring {
    /// The first occurrence of `word`. (Foundation has this, but is not linked just for three lines.)
    fileprivate func range(of word: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(word) { return start..<index(start, offsetBy: word.count) }
            start = index(after: start)
        }
        return nil
    }
}
