extension Flow {
    /// The flow as one JSON object.
    package var json: String {
        let verdict = DowngradeVerdict(self)
        return JSONValue.object([
            ("url", .string("\(url)")),
            ("lookup", .string(lookup)),
            ("outcome", .string(reachedPage ? "response" : "error")),
            ("steps", .array(steps.map(\.json))),
            (
                "downgrade",
                .object([
                    ("verdict", .string(verdict.answer.rawValue)),
                    ("reasons", .array(verdict.reasons.map { .string($0) })),
                    ("mends", .array(verdict.mends.map { .string($0) })),
                ])
            ),
        ]).text() + "\n"
    }
}

extension FlowStep {
    fileprivate var json: JSONValue {
        .object(
            [
                ("ms", .milliseconds(time)), ("from", .string(from.rawValue)), ("to", .string(to.rawValue)),
                ("event", .string(event.kind)),
            ] + event.members)
    }
}

extension FlowEvent {
    fileprivate var kind: String {
        switch self {
        case .visit: "visit"
        case .upgrade: "upgrade"
        case .query: "query"
        case .answer: "answer"
        case .lookupFailure: "lookup-failure"
        case .note: "note"
        case .connect: "connect"
        case .connectionFailure: "connection-failure"
        case .request: "request"
        case .response: "response"
        case .clientHello: "client-hello"
        case .serverHello: "server-hello"
        case .certificate: "certificate"
        case .finished: "finished"
        case .failure: "failure"
        }
    }

    fileprivate var members: [(String, JSONValue)] {
        switch self {
        case .visit(let url): [("url", .string("\(url)"))]
        case .upgrade(let url, let reason): [("url", .string("\(url)")), ("reason", .string(reason.rawValue))]
        case .query(let name, let type): [("name", .string(name)), ("type", .string(type))]
        case .answer(let answer, let name, let type):
            [("name", .string(name)), ("type", .string(type))] + answer.members
        case .lookupFailure(let reason), .failure(let reason): [("reason", .string(reason))]
        case .note(let text): [("text", .string(text))]
        case .connect(let address, let isEncrypted):
            [("address", .string("\(address)")), ("encrypted", .bool(isEncrypted))]
        case .connectionFailure(let address, let reason):
            [("address", .string("\(address)")), ("reason", .string(reason))]
        case .request(let address, let target, let version, let isEncrypted):
            [
                ("address", .string("\(address)")), ("method", .string("GET")), ("target", .string(target)),
                ("protocol", .string(version)), ("encrypted", .bool(isEncrypted)),
            ]
        case .response(let response, let url): [("url", .string("\(url)"))] + response.members
        case .clientHello(let address, let name, let protocols):
            [
                ("address", .string("\(address)")), ("sni", .optional(name)),
                ("alpn", .array(protocols.map { .string($0) })),
            ]
        case .serverHello(let hello):
            [("version", .string(hello.versionText)), ("cipher", .string(hello.cipherText))]
        case .certificate(let report): report.members
        case .finished(let negotiated): [("alpn", .optional(negotiated))]
        }
    }
}

extension LookupAnswer {
    fileprivate var members: [(String, JSONValue)] {
        [
            ("rcode", .string("\(responseCode)")),
            ("answers", .array(records.map { .string("\($0.owner) \($0.ttl) IN \($0.type) \($0.text)") })),
            ("source", .optional(source)), ("rule", .optional(rule)), ("masked", .bool(isMasked)),
            ("hidden", .optional(hidden)), ("authoritative", .bool(isAuthoritative)),
            ("validated", .bool(isAuthenticated)),
        ]
    }
}

extension WebResponse {
    fileprivate var members: [(String, JSONValue)] {
        [
            ("status", .number(status)), ("reason", .string(reason)), ("protocol", .string(version)),
            ("location", .optional(location)), ("strict-transport-security", .optional(strictTransport)),
            ("bytes", .number(length)), ("body", .string(ending.rawValue)),
        ]
    }
}

extension CertificateReport {
    fileprivate var members: [(String, JSONValue)] {
        let chain = chain.map { certificate in
            JSONValue.object([
                ("subject", .string(certificate.subject)), ("issuer", .string(certificate.issuer)),
                ("names", .array(certificate.names.map { .string($0) })),
                ("from", .string(certificate.firstDay)), ("until", .string(certificate.lastDay)),
            ])
        }
        return [
            ("verifies", .bool(isTrusted)), ("problems", .array(problems.map { .string($0) })),
            ("chain", .array(chain)),
        ]
    }
}
