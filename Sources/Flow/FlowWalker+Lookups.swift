import DNSWire
import NIOPosix
import Platform

/// The destination of a URL: what to connect to, and whether by https.
struct Destination: Sendable {
    /// The URL that is requested.
    var url: FlowURL
    /// With ports, best first.
    var addresses: [SocketAddress]
}

struct LookupKey: Hashable {
    var name: Name
    var type: RecordType
}

extension FlowWalker {
    /// The result of an origin's HTTPS records.
    private struct Service {
        /// The name whose addresses are used.
        var target: Name
        /// The best record in ServiceMode; nil if there is only an alias.
        var record: ServiceRecord?
    }

    /// Makes a browser's lookups: HTTPS, then AAAA and A. Nil if the flow ends here; the steps say why.
    mutating func find(_ url: FlowURL) async -> Destination? {
        if let address = url.address { return Destination(url: url, addresses: [address]) }
        guard let name = url.name else {
            fail("\(url.host) is no domain name")
            return nil
        }
        if name.labels.last?.map(ASCII.lowercased) == Array("localhost".utf8) {
            note(.browser, .browser, .note("\(url.host) is this machine; browsers look it up nowhere (RFC 6761 6.3)"))
            let own = ["::1", "127.0.0.1"].compactMap { SocketAddress(ip: $0, port: url.port) }
            return Destination(url: url, addresses: own)
        }
        let service = await service(of: name, port: url.secured.port)
        var destination = Destination(url: url, addresses: [])
        if service != nil, url.scheme == .http {
            destination.url = url.secured
            note(.browser, .browser, .upgrade(url.secured, .httpsRecord))
        }
        let port = service?.record?.port ?? destination.url.port
        let target = service?.target ?? name
        var codes: [ResponseCode] = []
        for type in [RecordType.aaaa, .a] {
            guard let answer = await ask(target, type) else {
                if unansweredLookups > 1 { break }
                continue
            }
            codes.append(answer.responseCode)
            destination.addresses += answer.addresses(target, type, port: port)
        }
        use(service?.record?.hints.map { $0.withPort(port) } ?? [], &destination)
        if destination.addresses.isEmpty {
            fail(Self.words(target, codes, unansweredLookups: unansweredLookups))
            return nil
        }
        return destination
    }

    private static func words(_ name: Name, _ codes: [ResponseCode], unansweredLookups: Int) -> String {
        guard let code = codes.last else { return "without a response to its lookups there is nowhere to connect to" }
        switch code {
        case .noError: return "\(name) has no address: there is nowhere to connect to"
        case .nxDomain: return "\(name) does not exist (NXDOMAIN): there is nowhere to connect to"
        default: return "\(name) could not be looked up (\(code)): there is nowhere to connect to"
        }
    }

    /// Hints replace missing addresses (RFC 9460 7.3); if there are both, they should agree.
    private mutating func use(_ hints: [SocketAddress], _ destination: inout Destination) {
        guard !hints.isEmpty else { return }
        if destination.addresses.isEmpty {
            note(.browser, .browser, .note("without an address, the hints of the HTTPS record stand in"))
            destination.addresses = hints
            return
        }
        let strangers = hints.filter { !destination.addresses.contains($0) }
        guard !strangers.isEmpty else { return }
        let list = strangers.map(\.ip).joined(separator: ", ")
        note(
            .browser, .browser,
            .note("the HTTPS record hints at \(list), which is no address of the name: Firefox would go there"))
    }

    /// Follows the HTTPS records of an origin; nil if none is usable.
    ///
    /// - RFC: 9460 2.4.2 (AliasMode), 2.4.3 (ServiceMode), 9.1 (names for other ports).
    private mutating func service(of name: Name, port: UInt16) async -> Service? {
        var owner = name
        if port != 443 {
            guard let prefixed = name.prepending(label: Array("_https".utf8))?.prepending(label: Array("_\(port)".utf8))
            else { return nil }
            owner = prefixed
        }
        var alias: Service?
        for _ in 0...walk.limits.aliases {
            guard let answer = await ask(owner, .https) else { return alias }
            let (end, data) = answer.data(owner, .https)
            let records = data.compactMap { ServiceRecord(rdata: $0.rdata) }
            if records.count < data.count {
                note(.browser, .browser, .note("an HTTPS record breaks the rules of RFC 9460 and is left out"))
            }
            if let next = records.first(where: \.isAlias) {
                guard !next.target.isRoot else {
                    note(
                        .browser, .browser, .note("the HTTPS record says that there is no such service (alias to '.')"))
                    return nil
                }
                owner = next.target
                alias = Service(target: owner)
                continue
            }
            for record in records {
                guard let reason = record.reasonAgainst else { continue }
                note(.browser, .browser, .note("an HTTPS record is left out: \(reason)"))
            }
            guard let best = records.filter({ $0.reasonAgainst == nil }).min(by: { $0.priority < $1.priority }) else {
                return alias
            }
            if best.offersECH {
                note(.browser, .browser, .note("Encrypted ClientHello is offered; it is not used here"))
            }
            // A CNAME leads to the same addresses; a browser has already asked for those of the name itself.
            let isOwn = best.target.isRoot && owner == name
            return Service(target: isOwn ? name : best.target.isRoot ? end : best.target, record: best)
        }
        note(
            .browser, .browser,
            .note("more than \(walk.limits.aliases) aliases of HTTPS records; they are not followed on"))
        return nil
    }

    // MARK: The DNS server

    /// Asks once per name and type; nil if there is no response.
    private mutating func ask(_ name: Name, _ type: RecordType) async -> LookupAnswer? {
        let key = LookupKey(name: name, type: type)
        if let known = answers[key] { return known }
        note(.browser, .nameServer, .query(name: "\(name)", type: "\(type)"))
        let lookup = walk.lookup
        let result: Result<LookupAnswer, LookupFailure>
        do {
            // A lookup blocks, so it runs on a thread of the pool.
            result = try await NIOThreadPool.singleton.runIfActive {
                Result<LookupAnswer, LookupFailure> { () throws(LookupFailure) in try lookup.ask(name, type) }
            }
        } catch {
            result = .failure(LookupFailure("the lookup could not be made: \(error)"))
        }
        switch result {
        case .success(let answer):
            unansweredLookups = 0
            answers[key] = answer
            note(.nameServer, .browser, .answer(answer, name: "\(name)", type: "\(type)"))
            return answer
        case .failure(let failure):
            unansweredLookups += 1
            answers[key] = .some(nil)
            note(.nameServer, .browser, .lookupFailure(failure.description))
            return nil
        }
    }
}
