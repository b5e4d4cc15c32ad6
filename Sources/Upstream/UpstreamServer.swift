public import DNSWire
public import Platform

/// An upstream server, and the names forwarded to it.
public struct UpstreamServer: Sendable, Hashable {
    public let address: SocketAddress
    public let transport: UpstreamTransport
    /// This name and all below it are forwarded to it. The root for the default route.
    public let domain: Name

    public init(address: SocketAddress, transport: UpstreamTransport = .udp, domain: Name = .root) {
        self.address = address
        self.transport = transport
        self.domain = domain
    }
}

extension UpstreamServer: CustomStringConvertible {
    /// `10.0.0.53:53`, `tcp://10.0.0.53:53`; prefixed with `corp.example.=` for a route.
    public var description: String {
        (domain.isRoot ? "" : "\(domain)=") + "\(transport.scheme)\(address)"
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

    /// Reads `ADDR[:PORT]` or `[V6]:PORT`, with an optional prefix `tcp://` or `udp://`.
    public init(parsing text: String) throws(ParseError) {
        var rest = text[...]
        var transport = UpstreamTransport.udp
        if let scheme = rest.range(of: "://") {
            let word = rest[..<scheme.lowerBound].lowercased()
            rest = rest[scheme.upperBound...]
            switch word {
            case "udp": break
            case "tcp": transport = .tcp
            case "tls", "https":
                throw ParseError(
                    "\(quoted(text.utf8)): \(word):// to an upstream is not supported yet; give ADDR or tcp://ADDR")
            default:
                throw ParseError(
                    "\(quoted(text.utf8)): \(quoted("\(word)://".utf8)) is no transport; give ADDR[:PORT] or tcp://ADDR[:PORT]"
                )
            }
        }
        self.init(address: try Self.address(String(rest), of: text), transport: transport)
    }

    private static func address(_ text: String, of whole: String) throws(ParseError) -> SocketAddress {
        var ip = text
        var port: UInt16 = 53
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

    private static func number(_ text: Substring, of whole: String) throws(ParseError) -> UInt16 {
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
