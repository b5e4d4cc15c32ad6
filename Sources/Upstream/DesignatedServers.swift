import DNSWire
import Lookup
public import Platform

/// The encrypted servers that a plain one announces as its own.
///
/// - RFC: 9462 4 (discovery by the plain server's address); 9461 (SVCB for DNS); 9460 2.2.
public enum DesignatedServers {
    private static let name = Name("_dns.resolver.arpa.")
    private static let maximumTried = 4

    public enum Outcome: Sendable, Hashable {
        case found(UpstreamServer)
        /// It announces none that we could ask.
        case none
        /// One is announced, and did not answer with a certificate for this address.
        case unverified
        /// The plain server did not answer.
        case unanswered
    }

    /// The best encrypted server that `server` announces at its own address, and that answers with a certificate for this
    /// address (RFC 9462 4.2). Each of its steps takes `timeout` microseconds at most. Blocks, unless `signal` ends.
    ///
    /// Announced servers at other addresses are left alone: their certificates would have to be checked for an address
    /// that the connection does not have.
    public static func find(
        for server: UpstreamServer, authorities: UpstreamServer.Authorities?, timeout: UInt64 = 2_000_000,
        until signal: WakeSignal? = nil, excluding isExcluded: (SocketAddress) -> Bool = { _ in false }
    ) -> Outcome {
        guard let name else { return .none }
        let key = FetchKey(name, Question(type: .svcb, mayForward: true))
        func ask(_ server: UpstreamServer) -> UpstreamAnswer? {
            DirectQueries.answers(to: [key], from: [server], timeout: timeout, until: signal)[0]
        }
        guard let answer = ask(server.serving(.root)) else { return .unanswered }
        var announced: [Announcement] = []
        answer.forEachRecord(.svcb) { if let one = Announcement($0) { announced.append(one) } }
        let usable = announced.filter { $0.covers(server.address) }.sorted { $0.priority < $1.priority }
            .flatMap { $0.servers(at: server.address) }.filter { !isExcluded($0.address) }
        for candidate in usable.prefix(maximumTried) where signal?.hasEnded != true {
            var candidate = candidate
            candidate.encryption?.authorities = authorities
            if ask(candidate) != nil { return .found(candidate.serving(server.domain)) }
        }
        return usable.isEmpty ? .none : .unverified
    }

    /// What one SVCB record says.
    struct Announcement {
        let priority: UInt16
        private var protocols: [String] = []
        private var port: UInt16?
        private var hints: [SocketAddress] = []
        private var path: String?

        private enum Key {
            static let mandatory: UInt16 = 0
            static let protocols: UInt16 = 1
            static let noDefault: UInt16 = 2
            static let port: UInt16 = 3
            static let ipv4: UInt16 = 4
            static let ipv6: UInt16 = 6
            static let path: UInt16 = 7
            static let known: Set<UInt16> = [protocols, noDefault, port, ipv4, ipv6, path]
        }

        /// Nil for an alias (priority 0), for malformed RDATA, and if we have to understand what we don't.
        init?(_ rdata: UnsafeRawBufferPointer) {
            var rest = rdata[...]
            guard let priority = Self.number(&rest), priority > 0 else { return nil }
            self.priority = priority
            // The target is the name of the server; its certificate is checked for its address.
            while true {
                guard let length = rest.popFirst(), length < 64, rest.count >= length else { return nil }
                if length == 0 { break }
                rest = rest.dropFirst(Int(length))
            }
            var last = -1
            while !rest.isEmpty {
                guard let key = Self.number(&rest), let length = Self.number(&rest), rest.count >= length,
                    Int(key) > last
                else { return nil }
                last = Int(key)
                let value = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(length)))
                rest = rest.dropFirst(Int(length))
                guard take(key, value) else { return nil }
            }
        }

        private mutating func take(_ key: UInt16, _ value: UnsafeRawBufferPointer) -> Bool {
            var rest = value[...]
            switch key {
            case Key.mandatory:
                while let one = Self.number(&rest) { if !Key.known.contains(one) { return false } }
            case Key.protocols:
                while let length = rest.popFirst() {
                    guard length > 0, rest.count >= length else { return false }
                    protocols.append(String(decoding: rest.prefix(Int(length)), as: UTF8.self))
                    rest = rest.dropFirst(Int(length))
                }
            case Key.port: port = Self.number(&rest)
            case Key.ipv4, Key.ipv6: hints += SocketAddress.list(value, isIPv6: key == Key.ipv6)
            case Key.path: path = String(decoding: value, as: UTF8.self)
            default: break
            }
            return rest.isEmpty || ![Key.mandatory, Key.port].contains(key)
        }

        private static func number(_ bytes: inout Slice<UnsafeRawBufferPointer>) -> UInt16? {
            guard let high = bytes.popFirst(), let low = bytes.popFirst() else { return nil }
            return UInt16(high) << 8 | UInt16(low)
        }

        /// Whether it is at `address`, as far as it says where it is.
        func covers(_ address: SocketAddress) -> Bool {
            hints.isEmpty || hints.contains { $0.ip == address.withPort(0).ip }
        }

        /// The servers that it describes, at `address`, the one over HTTPS first.
        func servers(at address: SocketAddress) -> [UpstreamServer] {
            func host(_ defaultPort: UInt16) -> String {
                address.isIPv6 ? "[\(address.ip)]:\(port ?? defaultPort)" : "\(address.ip):\(port ?? defaultPort)"
            }
            var texts: [String] = []
            if protocols.contains("h2"), let path, path.hasPrefix("/") { texts.append("https://\(host(443))\(path)") }
            if protocols.contains("dot") { texts.append("tls://\(host(853))") }
            return texts.compactMap { try? UpstreamServer(parsing: $0) }
        }
    }
}
