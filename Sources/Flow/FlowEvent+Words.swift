import DNSWire

extension FlowEvent {
    /// The step in words: its subject, and details if there are any.
    ///
    /// Not yet escaped for printing.
    var words: (subject: String, detail: String) {
        switch self {
        case .visit(let url): ("\(url)", "")
        case .upgrade(let url, let reason): ("\(url) at once, without a plain request: \(reason.rawValue)", "")
        case .query(let name, let type):
            ("\(type) \(name.count > 1 && name.hasSuffix(".") ? name.dropLast() : name[...])?", "")
        case .answer(let answer, let name, let type): answer.words(name, type)
        case .lookupFailure(let reason), .note(let reason), .failure(let reason): (reason, "")
        case .connect(let address, _): ("\(address)", "TCP connect")
        case .connectionFailure(let address, let reason): ("\(address)", reason)
        case .request(let address, let target, let version, _): ("\(address)", "GET \(target) \(version)")
        case .response(let response, _): (response.words, "")
        case .clientHello(let address, let name, let protocols):
            (
                "\(address)",
                "ClientHello (\(name.map { "SNI \($0), " } ?? "no SNI, ")ALPN \(protocols.joined(separator: " ")))"
            )
        case .serverHello(let hello): ("ServerHello \(hello)", "")
        case .certificate(let report): (report.words, "")
        case .finished(let negotiated): ("Finished; encrypted from here, ALPN \(negotiated ?? "none")", "")
        }
    }
}

extension LookupAnswer {
    fileprivate func words(_ name: String, _ type: String) -> (String, String) {
        var owner: Name?
        var found: [Record] = []
        if let asked = Name(name), let recordType = RecordType(mnemonic: type) {
            let (last, records) = data(asked, recordType)
            found = records
            if last != asked { owner = last }
        }
        let texts = found.map(\.text)
        let more = texts.count > 3 ? ", \(texts.count - 3) more" : ""
        let subject: String
        if !texts.isEmpty {
            subject = texts.prefix(3).joined(separator: ", ") + more
        } else {
            subject = responseCode == .noError ? "no data" : "\(responseCode)"
        }
        var details: [String] = []
        if let source { details.append(source + (rule.map { " \($0)" } ?? "")) }
        if let owner { details.append("by way of \(owner)") }
        if isMasked { details.append("masked") }
        if source == nil { details.append(isAuthoritative ? "authoritative" : "not authoritative") }
        if let first = found.first { details.append("TTL \(first.ttl)") }
        if isAuthenticated { details.append("validated") }
        return (subject, details.joined(separator: ", "))
    }
}

extension WebResponse {
    fileprivate var words: String {
        var words = ["\(status)" + (reason.isEmpty ? "" : " \(reason)")]
        if isRedirect, let location {
            words.append("Location: \(location)")
        } else {
            words[0] += " \(version)"
            switch ending {
            case .complete: words.append("\(length) bytes")
            case .cut: words.append("more than \(length) bytes, not read on")
            case .timedOut: words.append("\(length) bytes, and then no more in time")
            case .broken: words.append("\(length) bytes, and then the connection broke")
            }
        }
        if let strictTransport { words.append("HSTS \(strictTransport)") }
        return words.joined(separator: ", ")
    }
}

extension CertificateReport {
    fileprivate var words: String {
        guard let leaf = chain.first else { return "no certificate" }
        var words = "certificate \(leaf.subject) until \(leaf.lastDay)"
        let issuers = chain.count > 1 ? chain.dropFirst().map(\.subject) : [leaf.issuer]
        words += leaf.isSelfIssued ? ", self-signed" : ", issued by " + issuers.joined(separator: ", ")
        guard !problems.isEmpty else { return words + "; it verifies" }
        return words + "; it does not verify: " + problems.joined(separator: "; ") + ". A browser stops here and warns"
    }
}
