import DNSWire
import Platform

@testable import Flow

/// Flows built step by step, at intervals of a tenth of a millisecond.
struct SampleFlow {
    var flow: Flow

    init(_ url: String = "http://acme.org/") throws {
        flow = Flow(url: try FlowURL(url), lookup: "127.0.0.53:53", steps: [])
        add(.user, .browser, .visit(flow.url))
    }

    static let address = SocketAddress(ip: "127.0.0.14", port: 80)!
    static let secure = SocketAddress(ip: "127.0.0.14", port: 443)!

    mutating func add(_ from: FlowStep.Participant, _ to: FlowStep.Participant, _ event: FlowEvent) {
        flow.steps.append(FlowStep(.microseconds(flow.steps.count * 100), from, to, event))
    }

    mutating func answer(
        _ type: RecordType, _ texts: [String], masked: Bool = false, hidden: String? = nil,
        rule: String? = "/etc/hosts:12"
    ) {
        add(.browser, .nameServer, .query(name: "acme.org.", type: "\(type)"))
        var answer = LookupAnswer(
            records: texts.map {
                LookupAnswer.Record(owner: Name("acme.org")!, type: type, ttl: 0, rdata: [], text: $0)
            }, responseCode: .noError)
        answer.source = rule == nil ? nil : "hosts"
        answer.rule = rule
        answer.isMasked = masked
        answer.hidden = hidden
        add(.nameServer, .browser, .answer(answer, name: "acme.org.", type: "\(type)"))
    }

    mutating func plain(_ response: WebResponse?, _ url: String = "http://acme.org/") throws {
        add(.browser, .webServer, .connect(Self.address, isEncrypted: false))
        add(.browser, .webServer, .request(Self.address, target: "/", version: "HTTP/1.1", isEncrypted: false))
        if let response { add(.webServer, .browser, .response(response, url: try FlowURL(url))) }
    }

    mutating func encrypted(
        _ response: WebResponse?, problems: [String] = [], subject: String = "CN=acme.org",
        _ url: String = "https://acme.org/"
    ) throws {
        add(.browser, .webServer, .connect(Self.secure, isEncrypted: true))
        add(
            .browser, .webServer,
            .clientHello(Self.secure, serverName: "acme.org", protocols: ["h2", "http/1.1"]))
        add(.webServer, .browser, .serverHello(ServerHello(version: 0x0304, cipherSuite: 0x1301)))
        let leaf = CertificateReport.Certificate(
            subject: subject, issuer: "CN=Test CA", names: ["acme.org"], notBefore: 0, notAfter: 1_797_984_000,
            isSelfIssued: false)
        add(.webServer, .browser, .certificate(CertificateReport(chain: [leaf], problems: problems)))
        add(.browser, .webServer, .finished(negotiated: "h2"))
        add(.browser, .webServer, .request(Self.secure, target: "/", version: "HTTP/2", isEncrypted: true))
        if let response { add(.webServer, .browser, .response(response, url: try FlowURL(url))) }
    }

    static func redirect(_ location: String) -> WebResponse {
        WebResponse(status: 301, reason: "Moved Permanently", version: "HTTP/1.1", location: location, length: 0)
    }

    static func page(_ strict: String? = nil, version: String = "HTTP/2") -> WebResponse {
        WebResponse(
            status: 200, reason: version == "HTTP/2" ? "" : "OK", version: version, strictTransport: strict, length: 27)
    }

    /// From the first lookup to the page, as in the documentation.
    static func whole(strict: String? = nil) throws -> Flow {
        var sample = try SampleFlow()
        sample.answer(.https, [], masked: true, hidden: "zones/acme.org.zone:15")
        sample.answer(.aaaa, [])
        sample.answer(.a, ["127.0.0.14"])
        try sample.plain(redirect("https://acme.org/"))
        try sample.encrypted(page(strict))
        return sample.flow
    }
}
