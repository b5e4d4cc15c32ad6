import Platform
import Testing

@testable import Inspector

@Suite("Tickets and cookies of the page")
struct PageAccessTests {
    private let access = PageAccess(users: [0, 1000], controlPath: nil)

    private func ticket(now: UInt64 = 0) -> String {
        let link = access.makeTicket(now: now) ?? ""
        return String(link.split(separator: "=").last ?? "")
    }

    @Test("There are none while no page is served")
    func closed() {
        #expect(access.makeTicket() == nil)
    }

    @Test("The link's address can be opened, also if the page is on all addresses")
    func address() throws {
        access.open(at: SocketAddress(ip: "0.0.0.0", port: 8053)!)
        #expect(access.makeTicket()?.hasPrefix("http://127.0.0.1:8053/?ticket=") == true)
        access.open(at: SocketAddress(ip: "::", port: 80)!)
        #expect(access.makeTicket()?.hasPrefix("http://[::1]:80/?ticket=") == true)
        access.open(at: SocketAddress(ip: "192.0.2.1", port: 8054)!)
        #expect(access.makeTicket()?.hasPrefix("http://192.0.2.1:8054/?ticket=") == true)
        #expect(access.cookie == "stub53-8054")
    }

    @Test("A ticket is valid once, for a minute")
    func once() throws {
        access.open(at: SocketAddress(ip: "127.0.0.1", port: 8053)!)
        let (first, second) = (ticket(), ticket())
        #expect(first.count == 32 && first != second)
        #expect(access.exchange(first, user: 7, now: 59_999_999) != nil)
        #expect(access.exchange(first, user: 7, now: 59_999_999) == nil)
        #expect(access.exchange(second, user: 7, now: 60_000_000) == nil)
        #expect(access.exchange("", user: 7, now: 0) == nil)
    }

    @Test("The newest sixteen tickets are valid")
    func bounded() throws {
        access.open(at: SocketAddress(ip: "127.0.0.1", port: 8053)!)
        let tickets = (0..<17).map { _ in ticket() }
        #expect(access.exchange(tickets[0], user: nil, now: 1) == nil)
        #expect(access.exchange(tickets[1], user: nil, now: 1) != nil)
        #expect(access.exchange(tickets[16], user: nil, now: 1) != nil)
    }

    @Test("A cookie is valid for the user who exchanged the ticket")
    func cookie() throws {
        access.open(at: SocketAddress(ip: "127.0.0.1", port: 8053)!)
        let known = try #require(access.exchange(ticket(), user: 7, now: 1))
        let unknown = try #require(access.exchange(ticket(), user: nil, now: 1))
        #expect(access.admits(cookie: known, of: 7) && access.admits(cookie: unknown, of: nil))
        #expect(!access.admits(cookie: known, of: 8) && !access.admits(cookie: known, of: nil))
        #expect(!access.admits(cookie: unknown, of: 7) && !access.admits(cookie: "", of: nil))
    }

    @Test("Only the users given need no ticket, where no control socket has a group")
    func users() async {
        #expect(await access.admits(1000))
        #expect(await !access.admits(1001))
    }
}
