import DNSWire
package import Platform

/// One arrow of the diagram: who told whom what, and when.
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
/// Strings are as received: writers must escape them.
package enum FlowEvent: Sendable {
    /// Why a URL is fetched by https without an unencrypted request.
    package enum Upgrade: String, Sendable {
        /// RFC 9460 9.5.
        case httpsRecord = "HTTPS record"
        /// RFC 6797 8.3: an earlier response of this flow said so.
        case strictTransport = "HSTS"
    }

    case visit(FlowURL)
    case upgrade(FlowURL, Upgrade)
    case query(name: String, type: String)
    case answer(LookupAnswer, name: String, type: String)
    /// A query got no response.
    case lookupFailure(String)
    /// What a browser concludes, if that is not obvious.
    case note(String)
    case connect(SocketAddress, isEncrypted: Bool)
    /// A connection failed or broke: what happened, and how to fix it.
    case connectionFailure(SocketAddress, String)
    case request(SocketAddress, target: String, version: String, isEncrypted: Bool)
    case response(WebResponse, url: FlowURL)
    case clientHello(SocketAddress, serverName: String?, protocols: [String])
    case serverHello(ServerHello)
    case certificate(CertificateReport)
    case finished(negotiated: String?)
    /// The flow ended without a page: a loop, no address, or a limit.
    case failure(String)

    /// Whether the step reports a failure.
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
        /// Longer than what is read here.
        case cut
        case timedOut = "timed out"
        case broken
    }

    package var status: Int
    /// Empty if the protocol has none (HTTP/2).
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

/// A walk from a URL to a page, or to the failure that ended it.
package struct Flow: Sendable {
    package var url: FlowURL
    /// The server or source that answered the lookups.
    package var lookup: String
    package var steps: [FlowStep]

    package init(url: FlowURL, lookup: String, steps: [FlowStep]) {
        self.url = url
        self.lookup = lookup
        self.steps = steps
    }

    /// It reached a response that is no redirect.
    package var reachedPage: Bool {
        if case .response(let response, _)? = steps.last?.event { return !response.isRedirect }
        return false
    }
}
