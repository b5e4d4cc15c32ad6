import DNSWire
import Platform

/// Where an attacker on the path could keep this flow, or the next one to the same place, from being encrypted.
package struct DowngradeVerdict: Sendable {
    package enum Answer: String, Sendable {
        /// In this very flow.
        case possible
        /// Not in this flow, but in one that starts with http.
        case elsewhere = "not in this flow"
        case no
        /// The flow ended too early to tell.
        case unknown = "not judged"
    }

    package private(set) var answer: Answer
    /// Sentences: what is vulnerable.
    package private(set) var reasons: [String] = []
    /// Sentences: what would fix it.
    package private(set) var mends: [String] = []

    package init(_ flow: Flow) {
        let evidence = Evidence(flow)
        guard evidence.connected else {
            answer = .unknown
            reasons.append("The flow ended before a web server was asked.")
            return
        }
        answer = evidence.isPlain ? .possible : .no
        judgePlain(evidence)
        judgeEncrypted(evidence)
        mend(evidence)
    }

    // MARK: Judging

    private mutating func judgePlain(_ evidence: Evidence) {
        guard let first = evidence.plain.first else {
            if let upgraded = evidence.upgradedByRecord {
                reasons.append(
                    "No plain request leaves: the HTTPS record sends the browser straight to https://\(upgraded).")
            }
            return
        }
        let missing = "no HTTPS record, no HSTS"
        guard let response = first.response else {
            reasons.append(
                "The first request is plain (\(missing)): an attacker on the path can answer it in the server's place.")
            return
        }
        if evidence.leadsFromHTTPSToHTTP {
            reasons.append(
                "A redirect leads from https to plain http: from there on everything can be read and changed.")
        }
        if first.leadsToHTTPS {
            reasons.append(
                "The first request is plain (\(missing)): an attacker on the path can hold back the redirect.")
        } else if response.isRedirect, evidence.plain.count > 1 {
            reasons.append(
                "The redirect of \(first.url) leads to plain http again: each plain request is one more to hold back.")
        } else if !response.isRedirect {
            reasons.append(
                "There is no redirect: \(first.url) is answered in plain, and everyone on the path can read and change it."
            )
        } else {
            reasons.append("The first request is plain (\(missing)): an attacker on the path can change its answer.")
        }
    }

    private mutating func judgeEncrypted(_ evidence: Evidence) {
        if evidence.hasBadCertificate {
            reasons.append("The certificate does not verify: who clicks the warning away may be speaking to anyone.")
        }
        guard let host = evidence.encryptedHost else { return }
        if evidence.strictTransport == nil {
            if answer == .no, evidence.upgradedByRecord == nil {
                answer = .elsewhere
                let record = evidence.hasRecord ? "" : "no HTTPS record, "
                reasons.append("Typed as http://\(host)/ it could be: \(record)no HSTS.")
            } else {
                reasons.append("\(host) sends no HSTS: the next visit by http starts as openly as this one.")
            }
        } else if answer == .no, evidence.upgradedByRecord == nil, !evidence.hasRecord {
            answer = .elsewhere
            reasons.append("A first visit as http://\(host)/ could be (no HTTPS record); HSTS covers those after it.")
        }
    }

    // MARK: Mending

    private mutating func mend(_ evidence: Evidence) {
        if !evidence.hasRecord {
            if let hidden = evidence.hidden {
                mends.append(
                    "\(hidden) has an HTTPS record; hosts.https: synthesize would send the browser straight to https.")
            } else if evidence.isOverridden {
                mends.append("hosts.https: synthesize would give the override an HTTPS record: straight to https.")
            } else if let owner = evidence.recordOwner {
                mends.append(
                    "An HTTPS record (\(owner) HTTPS 1 . alpn=h2) would send the browser straight to https.")
            }
        }
        if let host = evidence.encryptedHost, evidence.strictTransport == nil {
            mends.append("Strict-Transport-Security: max-age=31536000 from https://\(host)/ would cover later visits.")
        }
        if let first = evidence.plain.first, let response = first.response, !response.isRedirect {
            mends.append(
                "A redirect (301) of \(first.url) to \(first.url.secured) is the least that a server should send.")
        }
    }
}

/// The evidence in a flow's steps.
private struct Evidence {
    struct Request {
        var url: FlowURL
        var response: WebResponse?

        var leadsToHTTPS: Bool {
            guard let response, response.isRedirect, let next = try? url.following(response.location ?? "") else {
                return false
            }
            return next.scheme == .https
        }
    }

    /// A connection to a web server was made or attempted.
    var connected = false
    /// Unencrypted requests, answered or not.
    var plain: [Request] = []
    var isPlain: Bool { !plain.isEmpty }
    var leadsFromHTTPSToHTTP = false
    var hasBadCertificate = false
    /// The host and port of the last encrypted response.
    var encryptedHost: String?
    /// Its HSTS field, if a browser would honour it.
    var strictTransport: StrictTransport?
    /// Where an HTTPS record led without an unencrypted request.
    var upgradedByRecord: String?
    /// The first name has an HTTPS record.
    var hasRecord = false
    var hidden: String?
    var isOverridden = false
    /// The owner name of the first HTTPS query.
    var recordOwner: String?

    init(_ flow: Flow) {
        var url = flow.url
        var isTrusted = true
        for step in flow.steps {
            switch step.event {
            case .visit(let next): url = next
            case .upgrade(let next, let reason):
                url = next
                if reason == .httpsRecord { upgradedByRecord = next.authority + next.target }
            case .answer(let answer, let name, "HTTPS"):
                guard recordOwner == nil, let asked = Name(name) else { continue }
                recordOwner = name
                hasRecord = !answer.data(asked, .https).records.isEmpty
                hidden = answer.hidden
                isOverridden = answer.source == "hosts"
            case .connect(_, let isEncrypted):
                connected = true
                if !isEncrypted, plain.last?.url != url { plain.append(Request(url: url)) }
            case .certificate(let report):
                isTrusted = report.isTrusted
                if !isTrusted { hasBadCertificate = true }
            case .response(let response, let asked):
                if asked.scheme == .http {
                    if plain.last?.url == asked { plain[plain.count - 1].response = response }
                } else {
                    note(response, asked, isTrusted: isTrusted)
                }
            default: break
            }
        }
    }

    private mutating func note(_ response: WebResponse, _ url: FlowURL, isTrusted: Bool) {
        encryptedHost = url.authority
        // A browser honours HSTS only over a connection without errors, and never for an address (RFC 6797 8.1).
        let field = isTrusted && url.address == nil ? response.strictTransport.flatMap(StrictTransport.init) : nil
        strictTransport = field.flatMap { $0.maxAge > 0 ? $0 : nil }
        if response.isRedirect, let next = try? url.following(response.location ?? ""), next.scheme == .http {
            leadsFromHTTPSToHTTP = true
        }
    }
}
