public import DNSWire
public import Platform

/// An upstream server, and the names forwarded to it.
public struct UpstreamServer: Sendable, Hashable {
    public let address: SocketAddress
    public let transport: UpstreamTransport
    /// This name and all below it are forwarded to it. The root for the default route.
    public let domain: Name
    /// For TLS and HTTPS.
    public var encryption: Encryption?

    /// Trusted certificates, as PEM, and the file that they came from.
    public struct Authorities: Sendable, Hashable {
        public let path: String
        public let pem: [UInt8]

        public init(path: String, pem: [UInt8]) {
            self.path = path
            self.pem = pem
        }
    }

    /// The server whose answers these are, whoever vouches for it, and wherever its host is at the moment.
    public var origin: UpstreamServer {
        var origin =
            transport == .doh && encryption?.serverName != nil
            ? at(SocketAddress(high: 0, low: 0, port: 0, isIPv6: false)) : self
        origin.encryption?.authorities = nil
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
        address: SocketAddress, transport: UpstreamTransport = .udp, domain: Name = .root, encryption: Encryption? = nil
    ) {
        self.address = address
        self.transport = transport
        self.domain = domain
        self.encryption = encryption
    }
}

extension UpstreamServer {
    /// The same server for another domain.
    public func serving(_ domain: Name) -> UpstreamServer {
        UpstreamServer(address: address, transport: transport, domain: domain, encryption: encryption)
    }
}

extension UpstreamServer: CustomStringConvertible {
    /// `10.0.0.53:53`, `tcp://10.0.0.53:53`, `tls://10.0.0.53:853#dns.example`,
    /// `https://dns.example/dns-query#10.0.0.53:443`; prefixed with `corp.example.=` for a route.
    public var description: String {
        let route = domain.isRoot ? "" : "\(domain)="
        switch transport {
        case .udp, .tcp: return route + "\(transport.scheme)\(address)"
        case .dot: return route + "\(transport.scheme)\(address)" + (encryption?.serverName.map { "#\($0)" } ?? "")
        case .doh:
            let url = "\(transport.scheme)\(encryption?.authority ?? "")\(encryption?.path ?? "")"
            return route + url + (encryption?.serverName == nil || address.isUnspecified ? "" : "#\(address)")
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
        case .udp, .tcp:
            self.init(address: try Self.address(String(rest), of: text), transport: transport)
        case .dot:
            let (address, encryption) = try Self.tlsServer(rest, of: text)
            self.init(address: address, transport: .dot, encryption: encryption)
        case .doh:
            let (address, encryption) = try Self.httpsServer(rest, of: text)
            self.init(address: address, transport: .doh, encryption: encryption)
        }
    }

    static func address(
        _ text: String, defaultPort: UInt16 = 53, of whole: String
    ) throws(ParseError) -> SocketAddress {
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
        guard let address = SocketAddress(ip: ip, port: port), !address.isUnspecified else {
            throw ParseError(
                "\(quoted(whole.utf8)): \(quoted(ip.utf8)) is not an IP address; a server is given as ADDR[:PORT] or [V6]:PORT"
            )
        }
        return address
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
