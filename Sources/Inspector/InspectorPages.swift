import FoundationEssentials
import Glibc
import HTTPTypes
import Hummingbird
import LookupLog
import NIOCore
import Server
import ServiceLifecycle

/// The pages, drawn from snapshots at each request.
struct InspectorPages: Sendable {
    private let api: ControlAPI
    /// Whoever reaches the page may also change things: only where it is reached from this machine alone.
    private let mayChange: Bool
    private var control: DaemonControl { api.control }

    init(_ api: ControlAPI, mayChange: Bool) {
        self.api = api
        self.mayChange = mayChange
    }

    func addRoutes(to router: Router<BasicRequestContext>) {
        router.get("app.css") { _, _ in Self.asset(PackageResources.app_css, "text/css") }
        router.get("app.js") { _, _ in Self.asset(PackageResources.app_js, "text/javascript") }
        router.get("health") { _, _ in health() }
        router.get("events") { request, _ in events(request) }
        router.get("metrics") { _, _ in api.metrics() }
    }

    // MARK: Pages

    private func health() -> Response {
        let now = Self.now
        let body = HealthPage.body(
            control.statistics, control.totals.seconds(900, now: now), now: now, history: [])
        return page(.health, title: "Health", body)
    }

    // MARK: What all have in common

    static var now: UInt64 { UInt64(time(nil)) }

    private var pulse: HTML {
        let now = Self.now
        return Chart.pulse(control.totals.seconds(61, now: now), now: now, lost: control.statistics.lookupsLost)
    }

    func page(_ tab: Tab?, title: String, status: HTTPResponse.Status = .ok, _ body: HTML) -> Response {
        let addresses = control.statistics.addresses.map { "\($0.address) \($0.transports)" }
        return Self.html(
            Layout.page(tab, title: title, addresses: addresses, pulse: pulse, body), status: status)
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

    /// Server-sent events: the pulse of the header each second, and how many lookups have come.
    private func events(_ request: Request) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
            body: ResponseBody { writer in
                var seen = control.totals.snapshot.lookups
                try await writer.write(ByteBuffer(string: "retry: 2000\n\n"))
                let seconds = AsyncTimer(every: .milliseconds(500)).cancelOnGracefulShutdown()
                var beat = 0
                for await _ in seconds {
                    var text = ""
                    let all = control.totals.snapshot.lookups
                    if all != seen {
                        text += "event: lookups\ndata: \(all - seen)\n\n"
                        seen = all
                    }
                    if beat.isMultiple(of: 2) {
                        text += "event: pulse\ndata: \(pulse.text.replacing("\n", with: ""))\n\n"
                    }
                    beat += 1
                    if !text.isEmpty { try await writer.write(ByteBuffer(string: text)) }
                }
                try await writer.finish(nil)
            })
    }
}

/// Ticks until it is let go of.
struct AsyncTimer: AsyncSequence, Sendable {
    let interval: Duration

    init(every interval: Duration) { self.interval = interval }

    struct AsyncIterator: AsyncIteratorProtocol {
        let interval: Duration

        mutating func next() async -> Void? {
            do { try await Task.sleep(for: interval) } catch { return nil }
            return ()
        }
    }

    func makeAsyncIterator() -> AsyncIterator { AsyncIterator(interval: interval) }
}
