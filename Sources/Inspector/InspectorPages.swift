import DNSWire
import Daemon
import Glibc
import HTTPTypes
import History
import Hummingbird
import HummingbirdCore
import Lookup
import LookupLog
import NIOCore
import Platform
import ServiceLifecycle

/// The pages, drawn from snapshots for each request.
struct InspectorPages: Sendable {
    let api: ControlAPI
    /// Whether this page may change things: only if it is reachable from this machine alone.
    let mayChange: Bool
    private let live: LiveEvents
    var control: DaemonControl { api.control }

    /// Lookups per page, before they are grouped by navigation.
    static let pageSize = 100

    init(_ api: ControlAPI, mayChange: Bool) {
        self.api = api
        self.mayChange = mayChange
        let control = api.control
        live = LiveEvents(api.history) { Self.pulse(control).text.replacing("\n", with: "") }
    }

    func addRoutes(to router: Router<ClientContext>) {
        router.get("app.css") { _, _ in Self.asset(StyleSheet.bytes, "text/css") }
        router.get("app.js") { _, _ in Self.asset(PackageResources.app_js, "text/javascript") }
        router.get("") { request, client in await lookups(request, client) }
        router.get("lookup/:id") { request, client in await lookup(request, client) }
        router.get("names") { request, client in await names(request, client) }
        router.get("name") { _, client in await name(".", client) }
        router.get("name/:name") { _, client in await name(client.parameters.get("name") ?? "", client) }
        router.get("overrides") { request, _ in overrides(APIParameters(request)["q"] ?? "") }
        router.post("overrides") { request, _ in try await addOverride(request) }
        router.post("overrides/remove") { request, _ in try await removeOverride(request) }
        router.get("rules") { _, _ in rules() }
        router.post("rules") { request, _ in try await addRule(request) }
        router.post("rules/remove") { request, _ in try await removeRule(request) }
        router.post("rules/reset") { request, _ in
            _ = try await form(request)
            control.resetRules()
            return Self.see("/rules")
        }
        router.get("zones") { _, _ in page(.zones, title: "Zones", ZonesPage.body(control.zones())) }
        router.get("cache") { request, _ in cache(APIParameters(request)["q"] ?? "") }
        router.post("cache/flush") { request, _ in try await flush(request) }
        router.get("upstreams") { _, _ in upstreams() }
        router.get("health") { _, client in await health(client) }
        router.get("complete") { request, client in await complete(request, client) }
        router.get("events") { request, client in await events(request, client) }
        router.get("metrics") { _, _ in await api.metrics() }
    }

    // MARK: Lookups

    private func lookups(_ request: Request, _ client: ClientContext) async -> Response {
        let parameters = APIParameters(request)
        let query = parameters["q"] ?? ""
        let before = parameters["before"].flatMap { Int64($0) }
        var problem: APIFailure?
        var found: HistoryPage?
        // Read before the search: a lookup in between is announced twice rather than never.
        let newest = await newestKey(client)
        do throws(APIFailure) {
            found = try await search(query, before: before, client)
        } catch {
            problem = error
        }
        let status = Self.status(problem)
        let navigations = found.map { Navigation.group(LoggedLookup.all(of: $0)) } ?? []
        let losses = (found?.losses ?? []).map {
            LookupsPage.Loss(time: $0.time, count: UInt64(clamping: $0.count), reason: Self.words($0.reason))
        }
        let older = found?.next.map { "/?q=\(query.percentEncoded)&before=\($0)" }
        if request.headers[HTTPField.Name("X-Fragment")!] != nil {
            return Self.html(
                LookupsPage.list(navigations, losses: losses, filter: query, older: older, command: exampleQuery),
                status: status)
        }
        let body = LookupsPage.body(
            navigations, losses: losses, filter: query, problem: problem?.reason, older: older,
            newest: before == nil ? newest : nil, command: exampleQuery)
        return page(.lookups, title: query.isEmpty ? "Lookups" : query, status: status, body)
    }

    /// The status of a page that is shown in spite of `problem`: a mistyped filter is reported on the page, with status
    /// 200.
    private static func status(_ problem: APIFailure?) -> HTTPResponse.Status {
        problem?.status == .serviceUnavailable ? .serviceUnavailable : .ok
    }

    private func search(
        _ query: String, before: Int64? = nil, limit: Int = pageSize, _ client: ClientContext
    ) async throws(APIFailure) -> HistoryPage {
        guard let history = api.history else {
            throw APIFailure(.notFound, "This daemon keeps no lookups: start it with --history PATH.")
        }
        let filter: LookupFilter
        do { filter = try LookupFilter(words: query) } catch { throw APIFailure(.badRequest, error.description) }
        do {
            return try await history.searches.search(filter, before: before, limit: limit, for: await client.searcher)
        } catch { throw APIFailure(error) }
    }

    static func words(_ reason: HistoryLoss.Reason) -> String {
        switch reason {
        case .rate: "more came in a second than are kept (history.max-rate)"
        case .log: "they came faster than the log could take them"
        case .behind: "they came faster than they could be written"
        case .disk: "they could not be written to the disk"
        }
    }

    /// A command whose lookup would be the first row of an empty page.
    private var exampleQuery: String {
        guard let first = control.addresses.first?.address, let colon = first.lastIndex(of: ":") else {
            return "dig acme.org"
        }
        let host = first[..<colon].filter { $0 != "[" && $0 != "]" }
        return "dig @\(host) -p \(first[first.index(after: colon)...]) acme.org"
    }

    /// One visit, as a part of the list or as a page of its own.
    private func lookup(_ request: Request, _ client: ClientContext) async -> Response {
        let id = client.parameters.get("id").flatMap { Int64($0) }
        var found: HistoryPage?
        do throws(HistoryStore.Problem) {
            if let id { found = try await api.history?.searches.navigation(around: id, for: await client.searcher) }
        } catch  where error.isOfLoad {
            return page(nil, title: "Busy", status: .serviceUnavailable, Self.complaint(error))
        } catch {}
        guard let id, let found,
            // The row's own visit: the family has also what an alias led to.
            let navigation = Navigation.group(LoggedLookup.all(of: found).reversed()).first(where: { visit in
                visit.lookups.contains { $0.key == id }
            })
        else {
            return page(
                nil, title: "Not found", status: .notFound, "<p class=\"empty\">That lookup is not kept (any more).</p>"
            )
        }
        let detail = LookupsPage.detail(navigation)
        if request.headers[HTTPField.Name("X-Fragment")!] != nil { return Self.html(detail) }
        return page(.lookups, title: navigation.name, "<h1 class=\"name\">\(navigation.name)</h1>\(detail)")
    }

    // MARK: Names

    private func names(_ request: Request, _ client: ClientContext) async -> Response {
        let parameters = APIParameters(request)
        let query = parameters["q"] ?? ""
        if parameters.flag("why"), let name = try? APIParameters.name(query) {
            return Response(status: .seeOther, headers: [.location: LookupsPage.link("\(name)")])
        }
        var found: [String] = []
        do throws(HistoryStore.Problem) {
            found =
                try await api.history?.searches.names(startingWith: query, limit: 200, for: await client.searcher)
                ?? []
        } catch  where error.isOfLoad {
            return page(.names, title: "Names", status: .serviceUnavailable, Self.complaint(error))
        } catch {}
        return page(.names, title: "Names", NamePage.search(names: found, query: query))
    }

    private static func complaint(_ problem: HistoryStore.Problem) -> HTML {
        "<p class=\"bad\" role=\"alert\">\(problem.description)</p>"
    }

    private func name(_ text: String, _ client: ClientContext) async -> Response {
        let name: Name
        do throws(APIFailure) { name = try APIParameters.name(text.percentDecoded() ?? "") } catch {
            return page(.names, title: "No name", status: .badRequest, "<p class=\"empty\">\(error.reason)</p>")
        }
        var explanations: [Explanation] = []
        for type in [RecordType.a, .aaaa, .https] { explanations.append(await control.why(name, type)) }
        let recent: HTML
        do throws(APIFailure) {
            let found = try await search("name:\(name)", limit: 60, client)
            recent = LookupsPage.list(
                Navigation.group(LoggedLookup.all(of: found)), losses: [], filter: "", older: nil,
                command: exampleQuery)
        } catch {
            recent = "<p class=\"empty\">\(error.reason)</p>"
        }
        let forms = mayChange ? OverridesPage.form(name: "\(name)", back: LookupsPage.link("\(name)")) : ""
        return page(.names, title: "\(name)", NamePage.body(explanations, recent: recent, forms: forms))
    }

    /// Completes the word of a filter that is being typed.
    private func complete(_ request: Request, _ client: ClientContext) async -> Response {
        let word = APIParameters(request)["q"] ?? ""
        let start = word.hasPrefix("name:") ? String(word.dropFirst(5)) : word
        let names =
            (try? await api.history?.searches.names(startingWith: start, limit: 12, for: await client.searcher)) ?? []
        var found = LookupFilter.Kind.allCases.map { "\($0):" }.filter { $0.hasPrefix(word) && $0 != word }
        if let colon = word.firstIndex(of: ":"), let kind = LookupFilter.Kind(rawValue: String(word[..<colon])) {
            found += kind.usualValues.map { "\(kind):\($0)" }
                .filter { $0.lowercased().hasPrefix(word.lowercased()) }
        }
        return ControlAPI.json(found + names.map { "name:\($0)" })
    }

    // MARK: Sources

    private func overrides(_ query: String, problem: String? = nil) -> Response {
        let body = OverridesPage.body(
            control.hostsFiles(), control.overrideLines(matching: query, limit: 200), leases: control.overrides(),
            query: query, problem: problem, mayChange: mayChange)
        return page(.overrides, title: "Overrides", status: problem == nil ? .ok : .badRequest, body)
    }

    private func addOverride(_ request: Request) async throws -> Response {
        let form = try await form(request)
        let addresses = (form["addresses"] ?? "").split { $0 == " " || $0 == "," }.map(String.init)
        let seconds = form["seconds"].map { UInt32($0) ?? 0 }
        do { try control.addOverride(form["name"] ?? "", addresses, seconds: seconds) } catch {
            return overrides("", problem: error.description)
        }
        // Redirects only to our own pages.
        let back = form["back"].flatMap { $0 == "/name" || $0.hasPrefix("/name/") ? $0 : nil }
        return Self.see(back ?? "/overrides")
    }

    private func removeOverride(_ request: Request) async throws -> Response {
        do { try control.removeOverride(try await form(request)["name"] ?? "") } catch let error as OverrideProblem {
            return overrides("", problem: error.description)
        }
        return Self.see("/overrides")
    }

    private func rules(problem: String? = nil, typed: String = "") -> Response {
        let body = RulesPage.body(control.rules(), problem: problem, typed: typed, mayChange: mayChange)
        return page(.rules, title: "Rules", status: problem == nil ? .ok : .badRequest, body)
    }

    private func addRule(_ request: Request) async throws -> Response {
        let form = try await form(request)
        let typed = form["rule"] ?? ""
        do { try control.addRule(typed, seconds: form["seconds"].map { UInt32($0) ?? 0 }) } catch {
            return rules(problem: error.description, typed: typed)
        }
        return Self.see("/rules")
    }

    private func removeRule(_ request: Request) async throws -> Response {
        let number = (try await form(request)["number"]).flatMap { Int($0) } ?? 0
        do { try control.removeRule(number) } catch { return rules(problem: error.description) }
        return Self.see("/rules")
    }

    private func cache(_ query: String, note: String? = nil) -> Response {
        let body = CachePage.body(
            control.cacheEntries(matching: query, limit: 200), control.cacheStatistics, query: query, note: note,
            mayChange: mayChange)
        return page(.cache, title: "Cache", body)
    }

    private func flush(_ request: Request) async throws -> Response {
        let form = try await form(request)
        do throws(APIFailure) {
            let count = control.flushCache(try form.name(), tree: form.flag("tree"))
            return cache("", note: "\(Format.count(count, "answer")) forgotten.")
        } catch {
            return cache("", note: error.reason)
        }
    }

    private func upstreams() -> Response {
        let plots = control.totals.snapshot.upstreams.map { upstream in
            (server: upstream.server, plot: Chart.histogram(upstream.roundTrips, .upstream))
        }
        return page(.upstreams, title: "Upstreams", UpstreamsPage.body(control.upstreams(), roundTrips: plots))
    }

    /// The fields of one of our forms.
    private func form(_ request: Request) async throws -> APIParameters {
        guard mayChange else {
            throw HTTPError(.forbidden, message: "Only an inspector on a loopback address changes things.")
        }
        let body = try await request.body.collect(upTo: 16 * 1024)
        return APIParameters(String(buffer: body))
    }

    private static func see(_ path: String) -> Response {
        Response(status: .seeOther, headers: [.location: path])
    }

    // MARK: Health

    private func health(_ client: ClientContext) async -> Response {
        let now = SystemClock.wall() / 1_000_000
        let statistics = control.statistics
        var history: [(String, String)] = [("Kept", "no: start with --history PATH")]
        if let kept = api.history {
            let numbers = kept.writer.statistics
            let store = try? await kept.searches.statistics(for: await client.searcher)
            history = [
                ("File", kept.store.path),
                (
                    "Kept",
                    store.map { "\($0.lookups) lookups, \(Format.size($0.bytes))" } ?? "too many searches to count them"
                ),
                ("Written since the start", "\(numbers.written)"),
                (
                    "Not kept",
                    numbers.lost.values.reduce(0, +) == 0
                        ? "none"
                        : numbers.lost.filter { $0.value > 0 }.map { "\($0.value): \(Self.words($0.key))" }
                            .sorted().joined(separator: "; ")
                ),
            ]
        }
        let body = HealthPage.body(statistics, control.totals.seconds(900, now: now), now: now, history: history)
        return page(.health, title: "Health", body)
    }

    // MARK: Shared parts

    private static func pulse(_ control: DaemonControl) -> HTML {
        let now = SystemClock.wall() / 1_000_000
        return Chart.pulse(control.totals.seconds(61, now: now), now: now, lost: control.lookupsLost)
    }

    func page(_ tab: Tab?, title: String, status: HTTPResponse.Status = .ok, _ body: HTML) -> Response {
        let addresses = control.addresses.map(\.summary)
        return Self.html(
            Layout.page(tab, title: title, addresses: addresses, pulse: Self.pulse(control), body), status: status)
    }

    static func html(_ html: HTML, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status, headers: [.contentType: "text/html; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: html.text)))
    }

    private static func asset(_ bytes: [UInt8], _ type: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "\(type); charset=utf-8", .cacheControl: "max-age=60"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    // MARK: Live

    /// Server-sent events: the pulse of the header each second, and how many lookups have come that fit the page.
    private func events(_ request: Request, _ client: ClientContext) async -> Response {
        let parameters = APIParameters(request)
        let words = parameters["q"] ?? ""
        let filter = try? LookupFilter(words: words)
        // A reconnecting browser says which event it received last.
        let start = (request.headers[HTTPField.Name("Last-Event-ID")!] ?? parameters["after"]).flatMap { Int64($0) }
        let news = await live.subscribe(
            await client.name, filter == nil ? "" : words, filter ?? LookupFilter())
        guard let news else {
            return Response(
                status: .serviceUnavailable,
                body: ResponseBody(byteBuffer: ByteBuffer(string: "Too many pages are open.\n")))
        }
        return Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                try await writer.write(ByteBuffer(string: "retry: 2000\n\n"))
                // What the page shows. A number from an earlier file may be larger than all of this one.
                let end = (try? await api.history?.searches.newest(for: await client.searcher)) ?? start ?? 0
                var newest = min(start ?? end, end)
                func tell(_ count: Int, _ to: Int64) async throws {
                    newest = to
                    guard count > 0 else { return }
                    try await writer.write(ByteBuffer(string: "id: \(to)\nevent: lookups\ndata: \(count)\n\n"))
                }
                if newest < end, let count = await count(filter ?? LookupFilter(), newest, end, client) {
                    try await tell(count, end)
                }
                for await news in news.cancelOnGracefulShutdown() {
                    switch news {
                    case .pulse(let html):
                        try await writer.write(ByteBuffer(string: "event: pulse\ndata: \(html)\n\n"))
                    case .lookups(let count, let from, let to) where to > newest:
                        // News that began before the page, or after some that it has missed, are counted for it alone.
                        let own =
                            from == newest ? count : await self.count(filter ?? LookupFilter(), newest, to, client)
                        // Some have come: how many is not known while there are too many searches.
                        try await tell(own ?? count, to)
                    case .lookups: break
                    }
                }
                try await writer.finish(nil)
            })
    }

    /// Lookups that fit, above `after` up to `end`; nil if there are too many searches.
    private func count(_ filter: LookupFilter, _ after: Int64, _ end: Int64, _ client: ClientContext) async -> Int? {
        let found = try? await api.history?.searches.search(
            filter, before: end + 1, after: max(after, 0), limit: LiveEvents.longestCount, for: await client.searcher)
        return found?.lookups.count
    }

    private func newestKey(_ client: ClientContext) async -> Int64 {
        (try? await api.history?.searches.newest(for: await client.searcher)) ?? 0
    }
}
