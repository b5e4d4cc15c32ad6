import Daemon
import Glibc
import HTTPTypes
import History
import Hummingbird
import HummingbirdCore
import NIOCore
import NIOPosix
package import Platform
import ServiceLifecycle
import Transports

/// The inspector page, over HTTP.
///
/// Any user of this machine and any web site open in the browser may send requests here. Therefore the server answers
/// only the users of `PageAccess`, and only requests that name it by address or as `localhost` (which excludes DNS
/// rebinding); it accepts changes only from its own pages, can't be framed, and loads nothing from elsewhere.
package final class InspectorServer: DaemonCompanion {
    private let address: Platform.SocketAddress
    private let isOptional: Bool
    private let pages: InspectorPages
    private let readiness = Readiness()

    package init(_ address: Platform.SocketAddress, isOptional: Bool, _ api: ControlAPI) {
        self.address = address
        self.isOptional = isOptional
        pages = InspectorPages(api, mayChange: address.isLoopback)
    }

    package func ready() async -> [String]? { await readiness.wait() }

    package func run() async throws {
        // Also if the service ends before it starts, so that the waiter is released.
        defer { readiness.fail() }
        let router = Router(context: ClientContext.self)
        router.add(middleware: BrowserGuard(access: pages.api.access))
        pages.addRoutes(to: router)
        let (address, readiness, access) = (address, readiness, pages.api.access)
        let most = OpenFiles.mostPageConnections
        let shares = ConnectionShares(most: max(1, most / 4))
        let application = Application(
            router: router, server: ClientContext.server(shares),
            configuration: .init(
                address: .hostname(address.ip, port: Int(address.port)), serverName: "stub53",
                availableConnectionsDelegate: MaximumAvailableConnections(most, logger: ControlServer.silent)),
            onServerRunning: { channel in
                await channel.pauseWhenExhausted()
                let port = channel.localAddress?.port ?? Int(address.port)
                let bound = address.withPort(UInt16(clamping: port))
                access.open(at: bound)
                readiness.end(["inspector  http://\(bound)"])
            },
            logger: ControlServer.silent)
        do {
            try await application.runUntilShutdown { [pages] in pages.api.history?.searches.end() }
        } catch {
            guard let code = (error as? IOError)?.errnoCode else {
                readiness.fail()
                throw error
            }
            let reason = "\(address): \(String(cString: strerror(code)))"
            guard isOptional else {
                readiness.fail()
                throw ServiceFailure(
                    .problem, "the inspector can't be served at \(reason); give --inspector another address, or off")
            }
            readiness.end(["inspector  off: \(reason); give --inspector another address"])
            try? await gracefulShutdown()
        }
    }
}

/// Rejects requests of other users, and those that other sites' pages can send; sets security headers.
struct BrowserGuard: RouterMiddleware {
    let access: PageAccess

    func handle(
        _ request: Request, context: ClientContext,
        next: (Request, ClientContext) async throws -> Response
    ) async throws -> Response {
        guard let host = request.head.authority, Self.isOurs(host) else {
            return Self.refusal(
                .misdirectedRequest,
                "This server is asked for by its address, as http://127.0.0.53:8053; by no other name.\n")
        }
        guard request.uri.string.utf8.count <= Self.longestTarget else {
            return Self.refusal(.uriTooLong, "The address is longer than any of this server's.\n")
        }
        // Subresource requests from other sites are only a burden. Following a link is fine.
        if ["cross-site", "same-site"].contains(request.headers[Self.fetchSite]),
            request.headers[Self.fetchMode] != "navigate" || request.headers[Self.fetchTarget] != "document"
        {
            return Self.refusal(.forbidden, "This server is for its own pages.\n")
        }
        if request.method != .get, request.method != .head {
            // Browsers name the origin of a form; other clients have no reason to use this.
            guard request.headers[.origin] == "http://\(host)" else {
                return Self.refusal(.forbidden, "Changes are made from the inspector's own pages.\n")
            }
        }
        var response = try await response(request, context, next)
        response.headers[.contentSecurityPolicy] =
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
            + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        response.headers[.xContentTypeOptions] = "nosniff"
        // Not "no-referrer", which would make browsers omit the origin of a form.
        response.headers[HTTPField.Name("Referrer-Policy")!] = "same-origin"
        response.headers[HTTPField.Name("Cross-Origin-Resource-Policy")!] = "same-origin"
        if response.headers[.cacheControl] == nil { response.headers[.cacheControl] = "no-store" }
        return response
    }

    private func response(
        _ request: Request, _ context: ClientContext, _ next: (Request, ClientContext) async throws -> Response
    ) async throws -> Response {
        // Numbers only, for collectors, which run as users of their own.
        if request.uri.path == "/metrics" { return try await next(request, context) }
        let user = await context.user
        let isIn = await isAdmitted(request, user)
        if request.method == .get, request.uri.path == "/", let ticket = APIParameters(request)["ticket"] {
            if let cookie = access.exchange(ticket, user: user) {
                // Lax: the link is opened from elsewhere, and what follows it would go without a strict cookie.
                return Response(
                    status: .seeOther,
                    headers: [
                        .location: "/", .setCookie: "\(access.cookie)=\(cookie); Path=/; HttpOnly; SameSite=Lax",
                    ])
            }
            // A link opened again by who is in already.
            if isIn { return Response(status: .seeOther, headers: [.location: "/"]) }
            return Self.refusal(.forbidden, "This link was used before, or is too old: run 'stub53 page' again.\n")
        }
        if isIn { return try await next(request, context) }
        return Self.refusal(
            .forbidden,
            "This page is for the user who runs stub53, for root, and for the group of its control socket. As one of "
                + "them, run 'stub53 page', which gives a link for any browser.\n")
    }

    private func isAdmitted(_ request: Request, _ user: uid_t?) async -> Bool {
        if let user, await access.admits(user) { return true }
        let name = access.cookie
        for header in request.headers[values: .cookie].prefix(16) {
            for pair in header.split(separator: ";").prefix(64) {
                let parts = pair.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == name else { continue }
                if access.admits(cookie: String(parts[1]), of: user) { return true }
            }
        }
        return false
    }

    /// The longest request target in bytes; it includes the filter.
    private static let longestTarget = 8192
    private static let fetchSite = HTTPField.Name("Sec-Fetch-Site")!
    private static let fetchMode = HTTPField.Name("Sec-Fetch-Mode")!
    private static let fetchTarget = HTTPField.Name("Sec-Fetch-Dest")!

    /// Whether `host` is an IP address or `localhost`, with or without a port: an attacker's domain name is neither.
    static func isOurs(_ host: String) -> Bool {
        var name = host[...]
        if name.hasPrefix("[") {
            guard let end = name.firstIndex(of: "]") else { return false }
            let rest = name[name.index(after: end)...]
            guard rest.isEmpty || isPort(rest) else { return false }
            name = name[name.index(after: name.startIndex)..<end]
            return name.contains(":") && Platform.SocketAddress(ip: String(name), port: 1) != nil
        }
        if let colon = name.firstIndex(of: ":") {
            guard isPort(name[colon...]) else { return false }
            name = name[..<colon]
        }
        return name.lowercased() == "localhost"
            || (!name.contains(":") && Platform.SocketAddress(ip: String(name), port: 1) != nil)
    }

    private static func isPort(_ text: Substring) -> Bool {
        let digits = text.dropFirst()
        return text.hasPrefix(":") && !digits.isEmpty && digits.utf8.count <= 5
            && digits.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
    }

    private static func refusal(_ status: HTTPResponse.Status, _ text: String) -> Response {
        Response(
            status: status, headers: [.contentType: "text/plain; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}
