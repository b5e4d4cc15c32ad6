import DNSWire
package import Daemon
import FoundationEssentials
import HTTPTypes
package import History
import Hummingbird
package import LookupLog
import NIOCore
import NIOPosix
import ServiceLifecycle

/// The API of control socket and inspector, as HTTP with JSON; `Formats` in the documentation lists it.
///
/// It reads snapshots: no serving thread ever waits for it.
package struct ControlAPI: Sendable {
    let control: DaemonControl
    let live: LiveLookups
    /// Nil: lookups are not stored.
    let history: KeptHistory?
    let access: PageAccess

    package init(_ control: DaemonControl, live: LiveLookups, history: KeptHistory?, access: PageAccess) {
        self.access = access
        self.control = control
        self.live = live
        self.history = history
    }

    /// Adds all routes below `/v1`, and `/metrics`.
    func addRoutes(to router: Router<ClientContext>) {
        let api = router.group("v1")
        api.get("stats") { _, _ in
            await control.catchUp()
            return Self.json(control.statistics)
        }
        api.post("reload") { _, _ in Self.json(await control.reload()) }
        api.get("lookups") { request, client in
            await Self.refusing { () throws(APIFailure) in try await lookups(request, client) }
        }
        api.get("lookups/live") { request, client in
            await Self.refusing { () throws(APIFailure) in try await follow(request, client) }
        }
        api.get("why") { request, _ in
            try await Self.answer {
                let parameters = try APIParameters(request, of: "name", "type", "ask")
                guard let name = try parameters.name() else { throw APIFailure(.badRequest, "name is missing") }
                return await control.why(name, try parameters.type(), asks: parameters.flag("ask"))
            }
        }
        api.get("zones") { _, _ in Self.json(control.zones()) }
        api.get("hosts") { _, _ in Self.json(control.hostsFiles()) }
        api.get("hosts/lines") { request, _ in
            try await Self.answer {
                let parameters = try APIParameters(request, of: "match", "limit")
                return control.overrideLines(
                    matching: parameters["match"] ?? "", limit: try parameters.number("limit", in: 1...10_000, 100))
            }
        }
        api.get("problems") { _, _ in Self.json(control.problems()) }
        api.get("upstreams") { _, _ in Self.json(control.upstreams()) }
        api.get("cache") { request, _ in
            try await Self.answer {
                let parameters = try APIParameters(request, of: "match", "limit")
                return control.cacheEntries(
                    matching: parameters["match"] ?? "", limit: try parameters.number("limit", in: 1...10_000, 100))
            }
        }
        api.delete("cache") { request, _ in
            try await Self.answer {
                let parameters = try APIParameters(request, of: "name", "tree")
                return ["flushed": control.flushCache(try parameters.name(), tree: parameters.flag("tree"))]
            }
        }
        api.get("overrides") { _, _ in Self.json(control.overrides()) }
        api.post("overrides") { request, _ in
            try await Self.answer {
                let wanted: OverrideRequest = try await Self.body(
                    of: request, is: "an override is {\"name\": ..., \"addresses\": [...], \"seconds\": ...}, in JSON")
                return try Self.leasing { () throws(OverrideProblem) in
                    try control.addOverride(wanted.name, wanted.addresses, seconds: wanted.seconds)
                }
            }
        }
        api.delete("overrides") { request, _ in
            try await Self.answer {
                guard let name = try APIParameters(request, of: "name")["name"] else {
                    throw APIFailure(.badRequest, "name is missing")
                }
                return try Self.leasing { () throws(OverrideProblem) in try control.removeOverride(name) }
            }
        }
        api.get("rules") { _, _ in Self.json(control.rules()) }
        api.post("rules") { request, _ in
            try await Self.answer {
                let wanted: RuleRequest = try await Self.body(
                    of: request, is: "a rule is {\"rule\": ..., \"seconds\": ...}, in JSON")
                return try Self.leasing { () throws(OverrideProblem) in
                    try control.addRule(wanted.rule, seconds: wanted.seconds)
                }
            }
        }
        api.delete("rules") { request, _ in
            try await Self.answer {
                let parameters = try APIParameters(request, of: "number", "all")
                let number: Int? =
                    parameters.flag("all") ? nil : try parameters.number("number", in: 0...Int(Int32.max), 0)
                return try Self.leasing { () throws(OverrideProblem) in try control.removeRule(number) }
            }
        }
        api.post("rules/reset") { _, _ in
            control.resetRules()
            return Self.json(["reset": true])
        }
        api.get("views") { _, _ in Self.json(control.views()) }
        api.post("views") { request, _ in
            try await Self.answer {
                let wanted: ViewRequest = try await Self.body(
                    of: request,
                    is: "a view is {\"name\": ..., \"listen\": [...], \"clients\": [...], \"settings\": {...}, "
                        + "\"seconds\": ...}, in JSON")
                // It may read large files.
                let result = try await NIOThreadPool.singleton.runIfActive {
                    Result { () throws(OverrideProblem) in try control.addView(wanted) }
                }
                return try Self.leasing { () throws(OverrideProblem) in try result.get() }
            }
        }
        api.delete("views") { request, _ in
            try await Self.answer {
                guard let name = try APIParameters(request, of: "name")["name"] else {
                    throw APIFailure(.badRequest, "name is missing")
                }
                try Self.leasing { () throws(OverrideProblem) in try control.removeView(name) }
                return ["removed": name]
            }
        }
        api.post("page") { _, _ in
            guard let link = access.makeTicket() else {
                return Self.failure(
                    "this daemon serves no page: it was switched off, or its address is taken", status: .notFound)
            }
            return Self.json(["page": link])
        }
        router.get("metrics") { _, _ in await metrics() }
    }

    /// What the body of a request says; `form` describes it.
    private static func body<Body: Decodable>(of request: Request, is form: String) async throws(APIFailure) -> Body {
        do {
            let body = try await request.body.collect(upTo: 64 * 1024)
            return try JSONDecoder().decode(Body.self, from: Data(body.readableBytesView))
        } catch { throw APIFailure(.badRequest, form) }
    }

    private static func leasing<Lease>(_ change: () throws(OverrideProblem) -> Lease) throws(APIFailure) -> Lease {
        do { return try change() } catch { throw APIFailure(.badRequest, error.description) }
    }

    func metrics() async -> Response {
        await control.catchUp()
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: Metrics.text(control, history))))
    }

    // MARK: Answers

    static func json(_ value: some Encodable, status: HTTPResponse.Status = .ok) -> Response {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else {
            return failure("the answer can't be written as JSON", status: .internalServerError)
        }
        return Response(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: Array(data) + [0x0A])))
    }

    static func refusing(_ body: () async throws(APIFailure) -> Response) async -> Response {
        do { return try await body() } catch { return failure(error.reason, status: error.status) }
    }

    /// The value as JSON, or the error as a sentence.
    static func answer(_ value: () async throws -> some Encodable) async throws -> Response {
        do { return json(try await value()) } catch let failure as APIFailure {
            return self.failure(failure.reason, status: failure.status)
        }
    }

    /// `{"error": "..."}`: one sentence.
    static func failure(_ reason: String, status: HTTPResponse.Status = .badRequest) -> Response {
        json(["error": reason], status: status)
    }

    // MARK: Lookups

    /// Kept lookups, the oldest first, in one of the forms of `LookupExport`.
    private func lookups(_ request: Request, _ client: ClientContext) async throws(APIFailure) -> Response {
        let parameters = try APIParameters(request, of: "filter", "format", "colors", "limit")
        let history = try keptHistory()
        let form = try Self.form(parameters)
        let number = try parameters.number("limit", in: 0...1_000_000, 0)
        let limit = parameters["limit"] == nil ? nil : number
        let export = LookupExport(
            form: form, colors: parameters.flag("colors"), filter: try Self.filter(parameters), limit: limit)
        // Includes all lookups made before the request.
        await history.catchUp(with: control)
        let beginning = try await history.begin(export, client)
        return Response(
            status: .ok, headers: [.contentType: Self.contentType(form), .cacheControl: "no-store"],
            body: ResponseBody { writer in
                try await export.write(beginning, from: history.searches, for: await client.searcher) { bytes in
                    if !bytes.isEmpty { try await writer.write(ByteBuffer(bytes: bytes)) }
                }
                try await writer.finish(nil)
            })
    }

    /// The last kept lookups, then those that come, until the client goes.
    private func follow(_ request: Request, _ client: ClientContext) async throws(APIFailure) -> Response {
        let parameters = try APIParameters(request, of: "filter", "format", "colors", "last")
        let filter = try Self.filter(parameters)
        let form = try Self.form(parameters)
        guard let lines = LookupFormatter.Form(rawValue: form.rawValue) else {
            throw APIFailure(.badRequest, "\(form) is a file's form, which has an end: it can't be followed")
        }
        let last = try parameters.number("last", in: 0...1_000_000, 0)
        let colors = parameters.flag("colors")
        // Subscribe first, so that nothing is missed between stored and new lookups.
        guard let subscription = live.subscribe(lines, colors: colors, where: { filter.matches($0) }) else {
            throw APIFailure(.tooManyRequests, "\(LiveLookups.most) others follow the lookups already; end one of them")
        }
        let history = last > 0 ? history : nil
        let export = LookupExport(form: form, colors: colors, filter: filter, limit: last)
        await history?.catchUp(with: control)
        let beginning = try await history?.begin(export, client)
        return Response(
            status: .ok, headers: [.contentType: Self.contentType(form), .cacheControl: "no-store"],
            body: ResponseBody { writer in
                // Detects a client that disconnects while there is nothing to send.
                try await request.body.consumeWithCancellationOnInboundClose { _ in
                    // The head is sent with the first byte: a client that waits for it knows that it will miss nothing
                    // afterwards.
                    if form == .json { try await writer.write(ByteBuffer(string: "\n")) }
                    if history == nil {
                        var head = LookupFormatter(lines)
                        head.appendHeader()
                        if head.count > 0 { try await writer.write(ByteBuffer(bytes: head.take())) }
                    }
                    var shown: UInt64 = 0
                    if let history, let beginning {
                        shown = try await export.write(beginning, from: history.searches, for: await client.searcher) {
                            bytes in
                            if !bytes.isEmpty { try await writer.write(ByteBuffer(bytes: bytes)) }
                        }
                        // Lookups of an earlier daemon are numbered separately.
                        if shown > control.logged { shown = 0 }
                    }
                    for await lines in subscription.cancelOnGracefulShutdown() {
                        let bytes = lines.after(shown)
                        if !bytes.isEmpty { try await writer.write(ByteBuffer(bytes: bytes)) }
                    }
                }
                try await writer.finish(nil)
            })
    }

    private func keptHistory() throws(APIFailure) -> KeptHistory {
        guard let history else {
            throw APIFailure(
                .notFound, "this daemon keeps no history: start it with --history PATH, or follow what comes (--follow)"
            )
        }
        return history
    }

    static func filter(_ parameters: APIParameters) throws(APIFailure) -> LookupFilter {
        do { return try LookupFilter(words: parameters["filter"] ?? "") } catch {
            throw APIFailure(.badRequest, error.description)
        }
    }

    private static func form(_ parameters: APIParameters) throws(APIFailure) -> LookupExport.Form {
        guard let word = parameters["format"] else { return .json }
        guard let form = LookupExport.Form(rawValue: word) else {
            throw APIFailure(
                .badRequest,
                "format is none of \(LookupExport.Form.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return form
    }

    private static func contentType(_ form: LookupExport.Form) -> String {
        switch form {
        case .text: "text/plain; charset=utf-8"
        case .json: "application/x-ndjson"
        case .csv: "text/csv; charset=utf-8"
        case .pcapng: "application/x-pcapng"
        }
    }
}

/// The history and its writer.
package struct KeptHistory: Sendable {
    package let searches: HistorySearches
    package let writer: HistoryWriter
    package var store: HistoryStore { searches.store }

    package init(_ searches: HistorySearches, _ writer: HistoryWriter) {
        self.searches = searches
        self.writer = writer
    }

    fileprivate func begin(
        _ export: LookupExport, _ client: ClientContext
    ) async throws(APIFailure) -> LookupExport.Beginning {
        do { return try await export.begin(in: searches, for: await client.searcher) } catch {
            throw APIFailure(error)
        }
    }

    /// Lookups that have come so far and are in it, or never will be.
    var settled: UInt64 {
        let numbers = writer.statistics
        // Losses before the log have no number there.
        return UInt64(numbers.written + numbers.lost.reduce(0) { $0 + ($1.key == .log ? 0 : $1.value) })
    }

    /// Waits until it has all lookups answered before this call, for two seconds at most.
    func catchUp(with control: DaemonControl) async {
        await control.catchUp()
        let logged = control.logged
        for _ in 0..<50 where settled < logged {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
    }
}

extension APIFailure {
    init(_ problem: HistoryStore.Problem) {
        self.init(problem.isOfLoad ? .serviceUnavailable : .internalServerError, problem.description)
    }
}

/// An override that is to be leased.
package struct OverrideRequest: Codable, Sendable {
    package var name: String
    package var addresses: [String]
    /// Nil: until the daemon ends.
    package var seconds: UInt32?

    package init(name: String, addresses: [String], seconds: UInt32?) {
        self.name = name
        self.addresses = addresses
        self.seconds = seconds
    }
}

/// A rule that is to be leased.
package struct RuleRequest: Codable, Sendable {
    /// As a line of a rules file.
    package var rule: String
    /// Nil: until the daemon ends.
    package var seconds: UInt32?

    package init(rule: String, seconds: UInt32?) {
        self.rule = rule
        self.seconds = seconds
    }
}

/// Answers unknown requests with an error in JSON.
struct UnknownRequests: RouterMiddleware {
    func handle(
        _ request: Request, context: ClientContext,
        next: (Request, ClientContext) async throws -> Response
    ) async throws -> Response {
        do { return try await next(request, context) } catch let error as HTTPError where error.status == .notFound {
            return ControlAPI.failure(
                "\(request.method.rawValue) \(request.uri.path) is no request of this API", status: .notFound)
        }
    }
}
