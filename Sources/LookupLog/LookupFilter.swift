public import DNSWire
public import Lookup
public import Platform

/// Selects lookups: at least one condition of each kind must hold.
///
/// Users write it as words (`LookupFilter+Words.swift`). The log thread checks every lookup against subscribers'
/// filters, and the history all that it stores.
public struct LookupFilter: Sendable, Hashable {
    /// The result of a lookup: a response code, a kind (`NODATA`, `referral` and so on), or `private`.
    public enum Code: Sendable, Hashable {
        case code(ResponseCode)
        case kind(AnswerKind)
        /// A private address for a public name, passed on or refused.
        case privateAddress
    }

    /// A client.
    public enum Client: Sendable, Hashable {
        /// The address with any port.
        case address(SocketAddress)
        case process(Int32)
        /// The command's name in lower case; `*` matches any bytes.
        case command([UInt8])
    }

    public var names: [NamePattern] = []
    public var types: [RecordType] = []
    public var sources: [SourceKind] = []
    public var codes: [Code] = []
    public var clients: [Client] = []
    public var transports: [Transport] = []
    /// Names of views.
    public var views: [String] = []
    /// Microseconds since 1970: lookups at this time or later.
    public var since: UInt64?
    /// Microseconds since 1970: lookups before this time.
    public var until: UInt64?

    /// Matches every lookup.
    public init() {}

    public var isEmpty: Bool { self == LookupFilter() }

    /// Whether the filter selects the lookup. Does not allocate.
    public func matches(_ record: LookupRecord) -> Bool {
        if let since, record.time < since { return false }
        if let until, record.time >= until { return false }
        if !types.isEmpty, !record.hasQuestion || !types.contains(record.type) { return false }
        if !sources.isEmpty, !sources.contains(record.source) { return false }
        if !transports.isEmpty, !transports.contains(record.transport) { return false }
        if !views.isEmpty, !views.contains(record.view) { return false }
        if !clients.isEmpty, !matchesClient(record) { return false }
        if !codes.isEmpty, !matches(record.responseCode, record.answerKind, isPrivate: record.privateAnswer != .none) {
            return false
        }
        return names.isEmpty || matchesName(record)
    }

    /// Whether one of `codes` is this response code, this kind, or, if it `isPrivate`, `.privateAddress`.
    public func matches(_ code: ResponseCode?, _ kind: AnswerKind, isPrivate: Bool) -> Bool {
        codes.contains { wanted in
            switch wanted {
            case .code(let wanted): wanted == code
            case .kind(let wanted): wanted == kind
            case .privateAddress: isPrivate
            }
        }
    }

    private func matchesName(_ record: LookupRecord) -> Bool {
        guard record.hasQuestion else { return false }
        let message = record.message
        return MessageReader.endOfName(message, at: Header.length) != nil
            && names.contains { $0.matches(nameIn: message, at: Header.length) }
    }

    private func matchesClient(_ record: LookupRecord) -> Bool {
        let address = record.client
        var process: ClientProcess??
        for client in clients {
            if case .address(let wanted) = client {
                if Self.same(wanted, address) { return true }
            } else {
                if process == nil { process = .some(record.process) }
                if let known = process ?? nil, matches(client, known) { return true }
            }
        }
        return false
    }

    /// Whether the filter selects this client address and process.
    public func matches(client address: SocketAddress, _ process: ClientProcess?) -> Bool {
        clients.contains { client in
            if case .address(let wanted) = client { return Self.same(wanted, address) }
            return process.map { matches(client, $0) } ?? false
        }
    }

    private static func same(_ wanted: SocketAddress, _ address: SocketAddress) -> Bool {
        let address = address.unmapped
        return wanted.low == address.low && wanted.high == address.high && wanted.isIPv6 == address.isIPv6
            && (wanted.scope == 0 || wanted.scope == address.scope)
    }

    private func matches(_ client: Client, _ process: ClientProcess) -> Bool {
        switch client {
        case .address: return false
        case .process(let pid): return pid == process.pid
        case .command(let pattern):
            return withUnsafeTemporaryAllocation(byteCount: 64, alignment: 1) { text in
                var count = 0
                for byte in process.command.utf8.prefix(64) {
                    text[count] = ASCII.lowercased(byte)
                    count += 1
                }
                return NamePattern.glob(pattern, UnsafeRawBufferPointer(rebasing: text[..<count]))
            }
        }
    }
}
