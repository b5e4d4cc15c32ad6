public import DNSWire

/// What went wrong between us and an upstream server.
public enum UpstreamFault: UInt8, Sendable, Hashable, Error, CaseIterable {
    /// No socket, no route, or the port is closed.
    case unreachable
    /// The server ended the connection with questions open.
    case closed
    /// The connection was silent for too long.
    case silent
    /// The server broke the TLS handshake off, or it can't be understood.
    case handshake
    case untrusted
    case expired
    case otherName
    /// The address of the server's host is not known yet.
    case unresolved
    /// Our file of trusted certificates can't be read.
    case noAuthorities
    /// HTTP status 429 or 5xx.
    case overloaded
    /// Any other HTTP status but 200, redirects among them: they are not followed.
    case httpStatus
    /// An HTTP response whose content is no DNS message.
    case contentType

    /// For people: what the server did.
    public var text: StaticString {
        switch self {
        case .unreachable: "upstream could not be reached"
        case .closed: "upstream closed the connection"
        case .silent: "upstream's connection was silent"
        case .handshake: "the TLS handshake with upstream failed"
        case .untrusted: "upstream's certificate is not from a trusted authority"
        case .expired: "upstream's certificate has expired or is not valid yet"
        case .otherName: "upstream's certificate is for another name"
        case .unresolved: "the address of upstream's host is not known"
        case .noAuthorities: "the file of trusted certificates (upstream.ca) can't be read"
        case .overloaded: "upstream's HTTP server is overloaded or broken"
        case .httpStatus: "upstream's HTTP server does not answer DNS at this path"
        case .contentType: "upstream's HTTP response is no DNS message"
        }
    }

    /// - RFC: 8914 4.23, 4.24.
    var extendedError: ExtendedError { self == .silent ? .noReachableAuthority : .networkError }

    /// It says something of the server, not of one connection: it will not be better a moment later.
    var isVerdict: Bool {
        switch self {
        case .untrusted, .expired, .otherName, .noAuthorities, .httpStatus, .contentType: true
        case .unreachable, .unresolved, .closed, .silent, .handshake, .overloaded: false
        }
    }
}

/// What an exchange reports besides messages.
public enum ExchangeEvent: Sendable, Hashable {
    /// The channel is ready; how long that took, in microseconds.
    case opened(UpstreamChannel, microseconds: UInt32)
    /// The channel is of no more use. It was not opened, is not writable, or the server has closed it.
    case failed(UpstreamChannel, UpstreamFault)
    /// The channel takes no more queries; what is outstanding on it is still answered.
    case retiring(UpstreamChannel)
    /// The query with this ID gets no answer; the channel can go on.
    case refused(UpstreamChannel, id: UInt16, UpstreamFault)
}

/// Events of an exchange that wait to be taken: each channel fails once, since a channel opened after that is another
/// one.
struct ExchangeEvents {
    private var events: [ExchangeEvent] = []

    mutating func note(_ event: ExchangeEvent) {
        if case .failed(let channel, _) = event {
            let isKnown = events.contains { if case .failed(channel, _) = $0 { true } else { false } }
            if isKnown { return }
        }
        events.append(event)
    }

    mutating func fail(_ channel: UpstreamChannel, _ fault: UpstreamFault = .unreachable) {
        note(.failed(channel, fault))
    }

    /// The channel is closed: what has happened to it must not meet a later one with its number.
    mutating func drop(_ channel: UpstreamChannel) {
        guard !events.isEmpty else { return }
        events.removeAll {
            switch $0 {
            case .opened(channel, _), .failed(channel, _), .retiring(channel), .refused(channel, _, _): true
            default: false
            }
        }
    }

    mutating func take() -> [ExchangeEvent] {
        if events.isEmpty { return [] }
        defer { events.removeAll() }
        return events
    }
}
