import DNSWire
import FoundationEssentials
import HTTPTypes
public import History
import Hummingbird
public import LookupLog
import NIOCore
import Resolution
public import Server
import ServiceLifecycle

/// What the control socket and the inspector tell and do, as HTTP with JSON: `Formats` in the documentation lists it.
///
/// All of it reads snapshots; no serving thread waits for any of it.
public struct ControlAPI: Sendable {
    let control: DaemonControl
    let live: LiveLookups
    /// Nil: not kept.
    let history: HistoryStore?

    public init(_ control: DaemonControl, live: LiveLookups, history: HistoryStore?) {
        self.control = control
        self.live = live
        self.history = history
    }

    /// Adds all routes below `/v1`, and `/metrics`.
    func addRoutes(to router: Router<BasicRequestContext>) {
        let api = router.group("v1")
        api.get("stats") { _, _ in Self.json(control.statistics) }
        api.post("reload") { _, _ in Self.json(await control.reload()) }
        api.get("lookups/live") { request, _ in try follow(request) }
        api.get("why") { request, _ in
            try await Self.answer {
                let parameters = APIParameters(request)
                guard let name = try parameters.name() else { throw APIFailure(.badRequest, "name is missing") }
                return await control.why(name, try parameters.type(), asks: parameters.flag("ask"))
            }
        }
        router.get("metrics") { _, _ in metrics() }
    }

    func metrics() -> Response {
        Response(
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

    /// The value as JSON, or the sentence that says why there is none.
    static func answer(_ value: () async throws -> some Encodable) async throws -> Response {
        do { return json(try await value()) } catch let failure as APIFailure {
            return self.failure(failure.reason, status: failure.status)
        }
    }

    /// `{"error": "..."}`: one sentence.
    static func failure(_ reason: String, status: HTTPResponse.Status = .badRequest) -> Response {
        json(["error": reason], status: status)
    }

    // MARK: Lookups as they happen

    /// Lines of JSON until the client goes; an empty line now and then, so that a client that is gone is noticed.
    private func follow(_ request: Request) throws -> Response {
        let subscription = live.subscribe(rate: 100_000) { _ in true }
        guard let subscription else {
            return Self.failure("\(LiveLookups.most) watch already; end one of them", status: .tooManyRequests)
        }
        return Response(
            status: .ok, headers: [.contentType: "application/x-ndjson", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                // The head goes out with the first byte: whoever waits for it knows that nothing is missed from then on.
                try await writer.write(ByteBuffer(string: "\n"))
                for await lines in subscription.cancelOnGracefulShutdown() {
                    try await writer.write(ByteBuffer(bytes: lines.bytes))
                }
                try await writer.finish(nil)
            })
    }
}
