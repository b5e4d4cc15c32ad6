import DNSWire
import Glibc
import NIOPosix
import Platform
import Synchronization

/// Decides who may use the page: whoever may open the control socket, which guards the same things.
///
/// These are root, the user who started the daemon (also with sudo), and members of the control socket's group. They
/// are known by the owner of their end of the connection. Where the kernel does not know it, or for another user, a
/// ticket that `stub53 page` got over the control socket does: a browser exchanges it for a cookie.
package final class PageAccess: Sendable {
    private let users: Set<uid_t>
    private let controlPath: String?
    private let state = Mutex(State())

    private struct State {
        /// The page's address, once it is served.
        var page: String?
        var cookie = "stub53"
        var tickets: [Ticket] = []
        var sessions: [Session] = []
        var members: [uid_t: Membership] = [:]
    }

    private struct Ticket {
        var secret: Secret
        /// Monotonic, in microseconds.
        var end: UInt64
    }

    private struct Session {
        var secret: Secret
        /// Who exchanged the ticket: cookies also go to servers of other users on other ports. Nil: not known.
        var user: uid_t?
    }

    private struct Membership {
        var isMember: Bool
        /// Monotonic, in microseconds.
        var end: UInt64
    }

    /// 128 random bits.
    private struct Secret {
        let high: UInt64
        let low: UInt64

        init() {
            var generator = SystemRandomNumberGenerator()
            (high, low) = (generator.next(), generator.next())
        }

        var text: String {
            Base16.text([high, low].flatMap { word in withUnsafeBytes(of: word.bigEndian) { Array($0) } })
        }

        /// In the same time for every wrong text of this length.
        func isEqual(to other: String) -> Bool {
            let (own, other) = (Array(text.utf8), Array(other.utf8))
            guard own.count == other.count else { return false }
            return zip(own, other).reduce(0) { $0 | ($1.0 ^ $1.1) } == 0
        }
    }

    /// How long a ticket is valid, in microseconds.
    private static let ticketLife: UInt64 = 60_000_000
    private static let mostTickets = 16
    private static let mostSessions = 64
    /// How long a user's groups are remembered, in microseconds.
    private static let memory: UInt64 = 60_000_000
    private static let mostMembers = 256

    /// Made before the daemon gives up root's rights, while it is known who started it.
    ///
    /// - Parameter controlPath: the control socket, whose group may use the page; nil: there is none.
    package convenience init(controlPath: String?) {
        var users: Set<uid_t> = [0, getuid(), geteuid()]
        // Only root is believed: the variable is part of the environment.
        if geteuid() == 0, let user = getenv("SUDO_UID").flatMap({ uid_t(String(cString: $0)) }) { users.insert(user) }
        self.init(users: users, controlPath: controlPath)
    }

    init(users: Set<uid_t>, controlPath: String?) {
        self.users = users
        self.controlPath = controlPath
    }

    // MARK: Users

    /// Whether a user may use the page without a ticket.
    func admits(_ user: uid_t) async -> Bool {
        if users.contains(user) { return true }
        guard let controlPath else { return false }
        let now = SystemClock.monotonic()
        if let known = state.withLock({ $0.members[user] }), now < known.end { return known.isMember }
        // The database of users may be on another machine.
        let isMember =
            (try? await NIOThreadPool.singleton.runIfActive { FileGroup.mayWrite(controlPath, user: user) }) ?? false
        state.withLock { state in
            if state.members.count >= Self.mostMembers { state.members.removeAll(keepingCapacity: true) }
            state.members[user] = Membership(isMember: isMember, end: now + Self.memory)
        }
        return isMember
    }

    // MARK: Tickets

    /// The page is served at this address.
    func open(at address: SocketAddress) {
        state.withLock { state in
            // On all addresses: this machine's own is one of them.
            let own = SocketAddress(ip: address.isIPv6 ? "::1" : "127.0.0.1", port: address.port) ?? address
            state.page = "http://\(address.isUnspecified ? own : address)"
            state.cookie = "stub53-\(address.port)"
        }
    }

    /// The cookie's name. Cookies go to all ports of an address, and so to other daemons.
    var cookie: String { state.withLock { $0.cookie } }

    /// The page's address with a new ticket, valid once and for a minute; nil while there is no page.
    func makeTicket(now: UInt64 = SystemClock.monotonic()) -> String? {
        let ticket = Ticket(secret: Secret(), end: now + Self.ticketLife)
        return state.withLock { state in
            guard let page = state.page else { return nil }
            state.tickets.removeAll { $0.end <= now }
            if state.tickets.count >= Self.mostTickets { state.tickets.removeFirst() }
            state.tickets.append(ticket)
            return "\(page)/?ticket=\(ticket.secret.text)"
        }
    }

    /// The cookie in exchange for a ticket; nil if it is not valid (any more).
    func exchange(_ ticket: String, user: uid_t?, now: UInt64 = SystemClock.monotonic()) -> String? {
        let session = Session(secret: Secret(), user: user)
        return state.withLock { state in
            guard let index = state.tickets.firstIndex(where: { $0.end > now && $0.secret.isEqual(to: ticket) }) else {
                return nil
            }
            state.tickets.remove(at: index)
            if state.sessions.count >= Self.mostSessions { state.sessions.removeFirst() }
            state.sessions.append(session)
            return session.secret.text
        }
    }

    /// Whether a cookie is valid for this user; until the daemon ends.
    func admits(cookie: String, of user: uid_t?) -> Bool {
        state.withLock { state in
            state.sessions.contains { $0.user == user && $0.secret.isEqual(to: cookie) }
        }
    }
}
