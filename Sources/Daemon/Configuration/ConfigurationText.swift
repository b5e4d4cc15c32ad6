import DNSWire
import LocalData
import LookupLog
import Platform
import Transports
import Upstream

/// Why a value can't be used, and how to fix it: one sentence.
struct WrongValue: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Reads values from the command line and the configuration file: addresses, sizes, times.
enum ConfigurationText {
    /// `ADDR`, `ADDR:PORT`, `V6`, `[V6]` or `[V6]:PORT`, prefixed with `tls://` or `https://` for encrypted transports.
    /// Without a port, the service's default.
    static func addListen(_ text: String, _ listen: inout Configuration.Listen) throws(WrongValue) {
        for service in EncryptedAddress.Service.allCases {
            let scheme = service.rawValue + "://"
            guard text.lowercased().hasPrefix(scheme) else { continue }
            let address = try address(
                String(text.dropFirst(scheme.count)), defaultPort: service.defaultPort, mayChoosePort: true)
            let encrypted = EncryptedAddress(service: service, address: address)
            if !listen.encrypted.contains(encrypted) || address.port == 0 { listen.encrypted.append(encrypted) }
            return
        }
        let address = try address(text, defaultPort: 53, mayChoosePort: true)
        if !listen.plain.contains(address) || address.port == 0 { listen.plain.append(address) }
    }

    /// An address with an optional port. `mayChoosePort`: port 0 is allowed.
    static func address(
        _ text: String, defaultPort: UInt16, mayChoosePort: Bool = false
    ) throws(WrongValue) -> SocketAddress {
        var ip = text[...]
        var port = defaultPort
        if text.hasPrefix("[") {
            guard let close = text.firstIndex(of: "]") else { throw WrongValue("\(quoted(text.utf8)): ']' is missing") }
            ip = text[text.index(after: text.startIndex)..<close]
            let rest = text[text.index(after: close)...]
            if !rest.isEmpty {
                guard rest.first == ":" else {
                    throw WrongValue("\(quoted(text.utf8)): only :PORT may follow ']'")
                }
                port = try self.port(rest.dropFirst(), of: text, mayChoosePort)
            }
            guard ip.contains(":") else {
                throw WrongValue("\(quoted(text.utf8)): brackets are for IPv6 addresses")
            }
        } else if let colon = text.firstIndex(of: ":"), colon == text.lastIndex(of: ":") {
            ip = text[..<colon]
            port = try self.port(text[text.index(after: colon)...], of: text, mayChoosePort)
        }
        guard let address = SocketAddress(ip: String(ip), port: port) else {
            throw WrongValue("\(quoted(ip.utf8)) is not an IP address; give ADDR[:PORT], or [V6]:PORT")
        }
        return address
    }

    private static func port(_ digits: Substring, of text: String, _ mayBeZero: Bool) throws(WrongValue) -> UInt16 {
        guard !digits.isEmpty, digits.utf8.count <= 5, digits.utf8.allSatisfy(ASCII.isDigit),
            let port = UInt16(digits), port > 0 || mayBeZero
        else {
            throw WrongValue("\(quoted(text.utf8)): \(quoted(digits.utf8)) is no port; one is a number from 1 to 65535")
        }
        return port
    }

    /// `FILE` or `NAME=FILE`.
    static func zoneFile(_ text: String) throws(WrongValue) -> Configuration.ZoneFile {
        guard let equals = text.firstIndex(of: "="), !text[..<equals].contains("/") else {
            return Configuration.ZoneFile(name: nil, path: try path(text))
        }
        let path = try path(String(text[text.index(after: equals)...]))
        let name = String(text[..<equals])
        return Configuration.ZoneFile(name: name == "." ? .root : try domain(name), path: path)
    }

    /// Domains as people write them: `corp.example`, or several as `corp.example,lan.example` or `/corp.example/`.
    static func domains(_ text: String) throws(WrongValue) -> [Name] {
        var words = text[...]
        if words.hasPrefix("/"), words.hasSuffix("/"), words.count > 2 { words = words.dropFirst().dropLast() }
        var names: [Name] = []
        for word in words.split(separator: text.hasPrefix("/") ? "/" : ",", omittingEmptySubsequences: false) {
            let name = try domain(String(word))
            if !names.contains(name) { names.append(name) }
        }
        return names
    }

    /// A domain name, which stands for all names below it too. `.corp.example` and `~corp.example` mean the same.
    static func domain(_ text: String) throws(WrongValue) -> Name {
        var word = text.hasPrefix("~") ? text.dropFirst() : text[...]
        if word.hasPrefix("."), word.utf8.count > 1 { word = word.dropFirst() }
        let name: Name
        do { name = try Name(typed: word) } catch { throw WrongValue(error.description) }
        if name.isRoot { throw WrongValue("\(quoted(text.utf8)) is every name; name a domain, as corp.example") }
        if name.isWildcard {
            throw WrongValue("\(quoted(text.utf8)): leave out '*.'; a domain stands for all names below it too")
        }
        if SocketAddress(ip: String(word), port: 0) != nil {
            throw WrongValue(
                "\(quoted(text.utf8)) is an address, and no name; the names of 10.0.0.0/8 are those of 10.in-addr.arpa")
        }
        // Escaped characters are meant; others are typing errors.
        let isPlain = name.labels.joined().allSatisfy { byte in
            ASCII.isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(ASCII.lowercased(byte))
                || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
        }
        guard isPlain || word.contains("\\") else {
            throw WrongValue(
                "\(quoted(text.utf8)) holds characters that names of a domain don't have; give it as corp.example")
        }
        return name
    }

    static func path(_ text: String) throws(WrongValue) -> String {
        guard !text.isEmpty else { throw WrongValue("the path is empty") }
        guard !text.utf8.contains(0) else { throw WrongValue("the path holds a zero byte") }
        return text
    }

    /// `none`, `PATH`, `unix:PATH` or `tcp:ADDR:PORT`.
    static func addDnstap(_ text: String, _ destinations: inout [DnstapDestination]) throws(WrongValue) {
        if text == "none" { return }
        let destination: DnstapDestination
        if text.hasPrefix("unix:") {
            let path = try path(String(text.dropFirst(5)))
            guard path.utf8.count <= DnstapDestination.maximumSocketPath else {
                throw WrongValue(
                    "the path of a Unix socket has at most \(DnstapDestination.maximumSocketPath) bytes, and "
                        + "\(quoted(path.utf8)) has \(path.utf8.count)")
            }
            destination = .unix(path: path)
        } else if text.hasPrefix("tcp:") {
            let address = try address(String(text.dropFirst(4)), defaultPort: 0)
            guard address.port > 0 else { throw WrongValue("\(quoted(text.utf8)) has no port; give tcp:ADDR:PORT") }
            destination = .tcp(address)
        } else {
            destination = .file(path: try path(text))
        }
        guard !destinations.contains(destination) else { return }
        guard destinations.count < Configuration.Dnstap.maximumDestinations else {
            throw WrongValue("more than \(Configuration.Dnstap.maximumDestinations) destinations; leave some out")
        }
        destinations.append(destination)
    }

    /// `system`, `none`, or `[DOMAIN=]SERVER`.
    static func addUpstream(_ text: String, _ upstream: inout Configuration.Upstream) throws(WrongValue) {
        let others = upstream.servers.first { $0.domain.isRoot }
        if let rest = Configuration.Upstream.Rest(rawValue: text) {
            guard upstream.rest == nil || upstream.rest == rest, others == nil else {
                throw WrongValue(
                    "'\(rest)' says who is asked for names outside the domains, and so does "
                        + "'\(upstream.rest?.rawValue ?? others?.description ?? "")'; leave one out")
            }
            upstream.rest = rest
            return
        }
        for server in try upstreamServers(text) where !upstream.servers.contains(server) {
            if let rest = upstream.rest, server.domain.isRoot {
                throw WrongValue(
                    "\(quoted(text.utf8)) would be asked for names outside the domains, which '\(rest)' says already; "
                        + "leave one out, or give DOMAIN=SERVER")
            }
            guard upstream.servers.count < ForwardSettings.maximumServers else {
                throw WrongValue("more than \(ForwardSettings.maximumServers) upstream servers; leave some out")
            }
            upstream.servers.append(server)
        }
    }

    /// `[DOMAIN,...=]SERVER`, one for each domain.
    package static func upstreamServers(_ text: String) throws(WrongValue) -> [UpstreamServer] {
        var server = text[...]
        var routed: [Name] = [.root]
        if let equals = text.firstIndex(of: "="), !text[..<equals].contains("://") {
            server = text[text.index(after: equals)...]
            let words = String(text[..<equals])
            if words != "." { routed = try domains(words) }
        }
        do {
            let parsed = try UpstreamServer(parsing: String(server))
            return routed.map { parsed.serving($0) }
        } catch {
            throw WrongValue(error.description)
        }
    }

    static func flag(_ text: String) throws(WrongValue) -> Bool {
        switch text.lowercased() {
        case "yes", "true", "on": return true
        case "no", "false", "off": return false
        default: throw WrongValue("\(quoted(text.utf8)) is neither yes nor no")
        }
    }

    static func number(_ text: String, in range: ClosedRange<UInt64>) throws(WrongValue) -> UInt64 {
        guard let value = digits(text[...]) else { throw WrongValue("\(quoted(text.utf8)) is no whole number") }
        guard range.contains(value) else {
            throw WrongValue("\(quoted(text.utf8)) is not between \(range.lowerBound) and \(range.upperBound)")
        }
        return value
    }

    /// Bytes: `65536`, `64k`, `64M`, `1G`; units are powers of 1024, also when written `KiB`, `MB` and the like.
    static func size(_ text: String, in range: ClosedRange<Int>) throws(WrongValue) -> Int {
        let (number, unit) = split(text)
        let factors: [String: UInt64] = ["": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30]
        var letters = unit.lowercased()
        if letters.count > 1, letters.hasSuffix("ib") { letters.removeLast(2) }
        if letters.count > 1, letters.hasSuffix("b") { letters.removeLast() }
        guard let value = digits(number), let factor = factors[letters] else {
            throw WrongValue(
                "\(quoted(text.utf8)) is no size; one is a number of bytes, with k, M or G behind it if you like")
        }
        let (bytes, overflow) = value.multipliedReportingOverflow(by: factor)
        guard !overflow, let size = Int(exactly: bytes), size <= range.upperBound else {
            throw WrongValue("\(quoted(text.utf8)) is more than the most, \(range.upperBound) bytes")
        }
        guard size >= range.lowerBound else {
            throw WrongValue("\(quoted(text.utf8)) is less than the least, \(range.lowerBound) bytes")
        }
        return size
    }

    /// Milliseconds: `500ms`, `5s`, `2m`, `1h`, `1d`; a plain number is seconds.
    static func duration(_ text: String, in range: ClosedRange<UInt64>) throws(WrongValue) -> UInt64 {
        guard let milliseconds = TimeText.milliseconds(text) else {
            throw WrongValue("\(quoted(text.utf8)) is no time; one is a number of seconds, or as 500ms, 5s, 2m, 1h, 1d")
        }
        guard range.contains(milliseconds) else {
            throw WrongValue(
                "\(quoted(text.utf8)) is not between \(shown(milliseconds: range.lowerBound)) and "
                    + shown(milliseconds: range.upperBound))
        }
        return milliseconds
    }

    /// In the largest unit that gives an integer, in the form that `duration` reads.
    static func shown(milliseconds: UInt64) -> String {
        if milliseconds == 0 { return "0" }
        let units: [(String, UInt64)] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        guard let (name, unit) = units.first(where: { milliseconds % $0.1 == 0 }) else { return "\(milliseconds)ms" }
        return "\(milliseconds / unit)\(name)"
    }

    /// In the largest unit that gives an integer, in the form that `size` reads.
    static func shown(bytes: Int) -> String {
        let units = [("G", 1 << 30), ("M", 1 << 20), ("k", 1 << 10)]
        guard bytes > 0, let (name, unit) = units.first(where: { bytes % $0.1 == 0 }) else { return "\(bytes)" }
        return "\(bytes / unit)\(name)"
    }

    private static func split(_ text: String) -> (number: Substring, unit: Substring) {
        let end = text.firstIndex { !($0.isASCII && $0.isNumber) } ?? text.endIndex
        return (text[..<end], text[end...])
    }

    private static func digits(_ text: Substring) -> UInt64? {
        guard !text.isEmpty, text.utf8.allSatisfy(ASCII.isDigit) else { return nil }
        return UInt64(text)
    }
}
