import DNSWire
package import Platform

/// One arrow of the picture: who told whom what, and when.
package struct FlowStep: Sendable {
    package enum Participant: String, Sendable, CaseIterable {
        case user = "User"
        case browser = "Browser"
        case nameServer = "DNS Server"
        case webServer = "Web Server"
    }

    /// Since the start.
    package var time: Duration
    package var from: Participant
    package var to: Participant
    package var event: FlowEvent

    package init(_ time: Duration, _ from: Participant, _ to: Participant, _ event: FlowEvent) {
        self.time = time
        self.from = from
        self.to = to
        self.event = event
    }
}

/// What happened in a step.
///
/// Strings hold what was received, as it was: writers escape.
package enum FlowEvent: Sendable {
    /// Why a URL is taken by https without a plain request.
    package enum Upgrade: String, Sendable {
        /// RFC 9460 9.5.
        case httpsRecord = "HTTPS record"
        /// RFC 6797 8.3: a response of this very flow has said so.
        case strictTransport = "HSTS"
    }

    case visit(FlowURL)
    case upgrade(FlowURL, Upgrade)
    case query(name: String, type: String)
    case answer(LookupAnswer, name: String, type: String)
    /// There is no response to a query.
    case lookupFailure(String)
    /// What a browser makes of what it was told, where that is not plain.
    case note(String)
    case connect(SocketAddress, isEncrypted: Bool)
    /// A connection that can't be had, or that broke: what, and the mend.
    case connectionFailure(SocketAddress, String)
    case request(SocketAddress, target: String, version: String, isEncrypted: Bool)
    case response(WebResponse, url: FlowURL)
    case clientHello(SocketAddress, serverName: String?, protocols: [String])
    case serverHello(ServerHello)
    case certificate(CertificateReport)
    case finished(negotiated: String?)
    /// The end of a flow that came to no page: a loop, no address, too long.
    case failure(String)

    /// The step tells of something that went wrong.
    package var isProblem: Bool {
        switch self {
        case .lookupFailure, .connectionFailure, .failure: true
        case .certificate(let report): !report.isTrusted
        case .answer(let answer, _, _): answer.responseCode != .noError && answer.responseCode != .nxDomain
        default: false
        }
    }
}

/// A response to one request.
package struct WebResponse: Sendable {
    /// How the body ended.
    package enum Ending: String, Sendable {
        case complete
        /// More than is read here.
        case cut
        case timedOut = "timed out"
        case broken
    }

    package var status: Int
    /// Empty where the protocol has none (HTTP/2).
    package var reason: String
    /// `HTTP/1.1`, `HTTP/2`.
    package var version: String
    package var location: String?
    /// The Strict-Transport-Security field.
    package var strictTransport: String?
    /// Bytes of the body.
    package var length: Int
    package var ending: Ending

    package init(
        status: Int, reason: String, version: String, location: String? = nil, strictTransport: String? = nil,
        length: Int, ending: Ending = .complete
    ) {
        self.status = status
        self.reason = reason
        self.version = version
        self.location = location
        self.strictTransport = strictTransport
        self.length = length
        self.ending = ending
    }

    /// A redirect that a browser follows.
    package var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) && location != nil }
}

/// A walk from a URL to a page, or to where it ended.
package struct Flow: Sendable {
    package var url: FlowURL
    /// Who answered the lookups.
    package var lookup: String
    package var steps: [FlowStep]

    package init(url: FlowURL, lookup: String, steps: [FlowStep]) {
        self.url = url
        self.lookup = lookup
        self.steps = steps
    }

    /// It came to a response that is no redirect.
    package var reachedPage: Bool {
        if case .response(let response, _)? = steps.last?.event { return !response.isRedirect }
        return false
    }
}
