package import DNSWire
import LocalData
package import Platform

/// An `http` or `https` URL, parsed as far as the flow needs it.
///
/// Accepts untrusted URLs, typed or from a Location header. The result is ASCII without blanks or control characters.
/// User names, passwords and fragments are dropped, because they are never sent.
/// - RFC: 3986 3 and 5.2; 9110 4.2.
package struct FlowURL: Hashable, Sendable {
    package enum Scheme: String, Sendable { case http, https }

    /// Why a text is not such a URL: one sentence.
    package struct Problem: Error, Hashable, CustomStringConvertible {
        package let description: String
    }

    package var scheme: Scheme
    /// Lower-case A-labels without a trailing dot; an IPv6 address without brackets.
    package private(set) var host: String
    /// Nil: the scheme's default.
    package private(set) var explicitPort: UInt16?
    /// Path and query, at least `/`.
    package private(set) var target: String

    /// Parses scalars: in characters, a combining mark would hide a preceding slash or colon.
    private typealias Scalars = Substring.UnicodeScalarView

    /// In bytes; browsers accept more, but nobody needs that here.
    static let maximumLength = 8192

    package var port: UInt16 { explicitPort ?? (scheme == .http ? 80 : 443) }

    /// The host's address, if it is one.
    package var address: SocketAddress? { SocketAddress(ip: host, port: port) }

    /// The name to look up; nil for an address.
    package var name: Name? { address == nil ? Name(host) : nil }

    /// The value of the Host field.
    package var authority: String {
        let bracketed = host.contains(":") ? "[\(host)]" : host
        return explicitPort.map { "\(bracketed):\($0)" } ?? bracketed
    }

    /// The same URL with https: port 80 becomes 443, others stay.
    ///
    /// - RFC: 9460 9.5; 6797 8.3.
    package var secured: FlowURL {
        var url = self
        url.scheme = .https
        if url.explicitPort == 80 || url.explicitPort == 443 { url.explicitPort = nil }
        return url
    }

    /// Reads what a user types; without a scheme it is http, as browsers long had it.
    package init(typed text: String) throws(Problem) {
        let scalars = text.unicodeScalars[...]
        guard let scheme = Self.scheme(of: scalars) else {
            try self.init("http://" + text)
            return
        }
        // `acme.org:8080` has no scheme either.
        let rest = scalars.dropFirst(scheme.utf8.count + 1)
        guard rest.starts(with: "//".unicodeScalars) || ["http", "https"].contains(scheme) else {
            if rest.first.map({ ("0"..."9").contains($0) }) == true {
                try self.init("http://" + text)
                return
            }
            throw Problem(description: "'\(scheme):' is not followed by the web; give an http:// or https:// URL")
        }
        try self.init(text)
    }

    /// Reads an absolute URL.
    package init(_ text: String) throws(Problem) {
        guard text.utf8.count <= Self.maximumLength else {
            throw Problem(description: "the URL is longer than \(Self.maximumLength) bytes")
        }
        let text = Self.slashed(text)
        guard let name = Self.scheme(of: text) else { throw Problem(description: "the URL has no scheme") }
        guard let scheme = Scheme(rawValue: name) else {
            throw Problem(description: "'\(name):' is not followed by the web; give an http:// or https:// URL")
        }
        // Browsers take any number of slashes here.
        let rest = text.dropFirst(name.utf8.count + 1).drop { $0 == "/" }
        let end = rest.firstIndex { ["/", "?", "#"].contains($0) } ?? rest.endIndex
        self.scheme = scheme
        (host, explicitPort) = try Self.authority(rest[..<end], scheme)
        target = Self.target(rest[end...])
    }

    /// The URL to which a Location in a response to `self` leads.
    ///
    /// - RFC: 9110 10.2.2; 3986 5.2.
    package func following(_ location: String) throws(Problem) -> FlowURL {
        guard location.utf8.count <= Self.maximumLength else {
            throw Problem(description: "the Location is longer than \(Self.maximumLength) bytes")
        }
        let text = Self.slashed(location)
        if Self.scheme(of: text) != nil { return try FlowURL(String(text)) }
        if text.starts(with: "//".unicodeScalars) { return try FlowURL("\(scheme):\(Substring(text))") }
        var url = self
        let path = target.unicodeScalars.prefix { $0 != "?" }
        switch text.first {
        case nil, "#": break
        case "?": url.target = Self.target(path + text)
        case "/": url.target = Self.target(text)
        default: url.target = Self.target(path[...(path.lastIndex(of: "/") ?? path.startIndex)] + text)
        }
        return url
    }

    // MARK: Parts

    /// Without surrounding blanks, and with backslashes before a query as slashes, as in browsers.
    private static func slashed(_ text: String) -> Scalars {
        let trimmed = text.unicodeScalars.drop { $0.value <= 0x20 }
        var result = Scalars()
        var inQuery = false
        // Browsers ignore tabs and line ends.
        for scalar in trimmed where ![0x09, 0x0A, 0x0D].contains(scalar.value) {
            if scalar == "?" || scalar == "#" { inQuery = true }
            result.append(scalar == "\\" && !inQuery ? "/" : scalar)
        }
        while let last = result.last, last.value <= 0x20 { result.removeLast() }
        return result
    }

    /// In lower case, without the colon.
    private static func scheme(of text: Scalars) -> String? {
        guard let colon = text.firstIndex(of: ":") else { return nil }
        let scheme = Substring(text[..<colon])
        guard let first = scheme.utf8.first, isLetter(first) else { return nil }
        let isScheme = scheme.utf8.allSatisfy {
            isLetter($0) || ASCII.isDigit($0) || [UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: ".")].contains($0)
        }
        return isScheme ? scheme.lowercased() : nil
    }

    private static func authority(
        _ text: Scalars, _ scheme: Scheme
    ) throws(Problem) -> (host: String, port: UInt16?) {
        // Everything before the last @ is user information, even if it looks like a host.
        var rest = text[(text.lastIndex(of: "@").map { text.index(after: $0) } ?? text.startIndex)...]
        var port: UInt16?
        if let colon = rest.lastIndex(of: ":"), !rest[colon...].contains("]") {
            let digits = Substring(rest[rest.index(after: colon)...])
            if !digits.isEmpty {
                guard digits.utf8.allSatisfy(ASCII.isDigit), let number = UInt16(digits), number > 0 else {
                    throw Problem(description: "the URL's port is not a number from 1 to 65535")
                }
                port = number
            }
            rest = rest[..<colon]
        }
        if port == (scheme == .http ? 80 : 443) { port = nil }
        guard !rest.isEmpty else { throw Problem(description: "the URL has no host") }
        if rest.first == "[" {
            guard rest.last == "]", !rest.contains("%"),
                let address = SocketAddress(ip: String(rest.dropFirst().dropLast()), port: 0), address.isIPv6
            else { throw Problem(description: "the text in brackets is not an IPv6 address") }
            return (address.ip, port)
        }
        return (try host(rest), port)
    }

    private static func host(_ text: Scalars) throws(Problem) -> String {
        var host = String(text)
        if !host.utf8.allSatisfy({ $0 < 0x80 }) {
            guard let ascii = InternationalName.toASCII(host) else {
                throw Problem(description: "the host holds characters that no domain name has")
            }
            host = ascii
        }
        host = host.lowercased()
        if host.hasSuffix(".") { host.removeLast() }
        if SocketAddress(ip: host, port: 0) != nil, !host.contains(":") { return host }
        let isName = host.utf8.allSatisfy {
            isLetter($0) || ASCII.isDigit($0) || [UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_")].contains($0)
        }
        guard isName else {
            throw Problem(description: "the host is no domain name: only letters, digits, - and _ are")
        }
        // To browsers, a host whose last label is all digits is an address (WHATWG URL 3.5).
        guard host.split(separator: ".").last?.utf8.allSatisfy(ASCII.isDigit) != true else {
            throw Problem(description: "the host is neither a domain name nor an IPv4 address")
        }
        guard !host.hasSuffix("."), Name(host) != nil else {
            throw Problem(description: "the host is no domain name: a label is empty or too long")
        }
        return host
    }

    private static func isLetter(_ byte: UInt8) -> Bool { ASCII.lowercased(byte) &- UInt8(ascii: "a") < 26 }

    /// Path and query in printable ASCII, without dot segments (RFC 3986 5.2.4) and fragment.
    private static func target(_ text: Scalars) -> String {
        let whole = text.prefix { $0 != "#" }
        let path = whole.prefix { $0 != "?" }
        var segments: [Scalars] = []
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated().dropFirst() {
            let isLast = index == parts.count - 1
            switch String(part).lowercased() {
            case "..", ".%2e", "%2e.", "%2e%2e":
                _ = segments.popLast()
                if isLast { segments.append(Scalars()) }
            case ".", "%2e": if isLast { segments.append(Scalars()) }
            default: segments.append(part)
            }
        }
        let joined = segments.map { String($0) }.joined(separator: "/")
        return encoded("/\(joined)\(Substring(whole[path.endIndex...]))")
    }

    private static func encoded(_ text: String) -> String {
        var result: [UInt8] = []
        for byte in text.utf8 {
            if (0x21...0x7E).contains(byte), !"\"<>`{}".utf8.contains(byte) {
                result.append(byte)
            } else {
                let (high, low) = Base16.digits(byte, uppercase: true)
                result += [UInt8(ascii: "%"), high, low]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension FlowURL: CustomStringConvertible {
    package var description: String { "\(scheme)://\(authority)\(target)" }
}
