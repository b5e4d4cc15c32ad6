import NIOCore
import Platform

/// One walk: acts as a browser does, and notes each step.
struct FlowWalker {
    let walk: FlowWalk
    private(set) var steps: [FlowStep] = []
    /// Answers so far; a browser caches them for longer than a flow takes.
    var answers: [LookupKey: LookupAnswer?] = [:]
    /// Consecutive lookups without a response.
    var unansweredLookups = 0
    private let start = ContinuousClock.now
    private var visited: Set<FlowURL> = []
    /// Hosts that sent HSTS, and whether it includes subdomains.
    private var strictHosts: [String: Bool] = [:]

    init(walk: FlowWalk) { self.walk = walk }

    mutating func note(
        _ from: FlowStep.Participant, _ to: FlowStep.Participant, _ event: FlowEvent,
        at time: ContinuousClock.Instant = .now
    ) {
        steps.append(FlowStep(time - start, from, to, event))
    }

    /// A step's time limit, which never exceeds the rest of the total.
    private var limit: Duration { max(min(walk.limits.step, walk.limits.total - (.now - start)), .milliseconds(1)) }
    private var isOverTime: Bool { .now - start >= walk.limits.total }

    mutating func run(_ first: FlowURL) async {
        var url = first
        var redirects = 0
        note(.user, .browser, .visit(url))
        while true {
            guard !isOverTime else { return fail("after \(walk.limits.total.words) the flow has come to no page") }
            guard visited.insert(url).inserted else {
                return fail("a redirect loop: \(url) was asked for before (no cookies are kept here)")
            }
            if url.scheme == .http, isStrict(url.host) {
                url = url.secured
                note(.browser, .browser, .upgrade(url, .strictTransport))
                visited.insert(url)
            }
            guard let destination = await find(url) else { return }
            if destination.url != url {
                url = destination.url
                visited.insert(url)
            }
            guard let response = await fetch(destination) else { return }
            guard response.isRedirect, let location = response.location else { return }
            redirects += 1
            guard redirects <= walk.limits.redirects else {
                return fail("more than \(walk.limits.redirects) redirects: a browser gives up")
            }
            do {
                url = try url.following(location)
            } catch {
                return fail("the redirect leads nowhere: \(error)")
            }
        }
    }

    mutating func fail(_ reason: String) { note(.browser, .user, .failure(reason)) }

    // MARK: The web server

    /// Nil if there is no response; the steps say why.
    private mutating func fetch(_ destination: Destination) async -> WebResponse? {
        let url = destination.url
        var security: WebConnection.Security?
        if url.scheme == .https {
            security = WebConnection.Security(
                context: walk.security, host: url.host, serverName: url.address == nil ? url.host : nil)
        }
        for address in destination.addresses.prefix(walk.limits.addresses) where !isOverTime {
            note(.browser, .webServer, .connect(address, isEncrypted: security != nil))
            let connection: WebConnection
            do {
                connection = try await WebConnection.open(address, security: security, limit: limit)
            } catch {
                note(.webServer, .browser, .connectionFailure(address, error.reason))
                continue
            }
            return await exchange(connection, address, url)
        }
        return nil
    }

    private mutating func exchange(
        _ connection: WebConnection, _ address: Platform.SocketAddress, _ url: FlowURL
    ) async -> WebResponse? {
        var handshake: Handshake?
        if url.scheme == .https {
            guard let done = await connection.secured(), tell(done, address, url) else {
                connection.close()
                return nil
            }
            handshake = done
        }
        let version = handshake?.multiplexer == nil ? "HTTP/1.1" : "HTTP/2"
        note(
            .browser, .webServer,
            .request(address, target: url.target, version: version, isEncrypted: handshake != nil))
        do {
            let response = try await connection.get(
                url, agent: walk.agent, over: handshake?.multiplexer, limit: limit, mostBytes: walk.limits.bytes)
            note(.webServer, .browser, .response(response, url: url))
            if handshake?.certificate?.report.isTrusted == true { keep(response, url) }
            return response
        } catch {
            note(.webServer, .browser, .connectionFailure(address, error.reason))
            return nil
        }
    }

    /// Adds the handshake's steps; false if it failed.
    private mutating func tell(
        _ handshake: Handshake, _ address: Platform.SocketAddress, _ url: FlowURL
    ) -> Bool {
        if let time = handshake.clientHello {
            let name = url.address == nil ? url.host : nil
            note(
                .browser, .webServer, .clientHello(address, serverName: name, protocols: FlowWalk.protocols), at: time)
        }
        if let (hello, time) = handshake.serverHello { note(.webServer, .browser, .serverHello(hello), at: time) }
        if let (report, time) = handshake.certificate { note(.webServer, .browser, .certificate(report), at: time) }
        if let failure = handshake.failure {
            note(.webServer, .browser, .connectionFailure(address, failure))
            return false
        }
        note(.browser, .webServer, .finished(negotiated: handshake.negotiated))
        return true
    }

    // MARK: HSTS

    private mutating func keep(_ response: WebResponse, _ url: FlowURL) {
        guard url.address == nil, let field = response.strictTransport.flatMap(StrictTransport.init) else { return }
        strictHosts[url.host] = field.maxAge > 0 ? field.includesSubdomains : nil
    }

    /// - RFC: 6797 8.2.
    private func isStrict(_ host: String) -> Bool {
        strictHosts.contains { known, includesSubdomains in
            known == host || includesSubdomains && host.hasSuffix("." + known)
        }
    }
}
