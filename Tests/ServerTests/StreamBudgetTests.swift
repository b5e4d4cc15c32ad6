import Testing

@testable import Platform
@testable import Transports

/// What one client may take of connections and memory.
@Suite("The budget of streams")
struct StreamBudgetTests {
    private let budget = StreamBudget()
    private var limits = StreamLimits()

    init() {
        limits.maximumConnections = 10
        limits.maximumPerClient = 4
        limits.maximumMemory = 100_000
    }

    private func open(_ address: String) throws -> StreamShare? {
        budget.open(try #require(SocketAddress(ip: address, port: 1234)), limits)
    }

    @Test("admits so many of one client, so many over all, and others again when some have left")
    func connections() throws {
        var first = try (0..<6).map { _ in try open("192.0.2.1") }
        #expect(first.map { $0 != nil } == [true, true, true, true, false, false])
        let others = try (2..<10).map { try open("192.0.2.\($0)") }
        #expect(others.count { $0 != nil } == 6)
        first = []
        #expect(try open("192.0.2.99") != nil)
        withExtendedLifetime(others) {}
    }

    @Test(
        "takes addresses of one network for one client, where one host has the network to itself",
        arguments: [
            ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true), ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
            ("192.0.2.1", "192.0.2.2", false), ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("fe80::1%1", "fe80::2%1", false),
        ])
    func clients(one: String, other: String, isSame: Bool) throws {
        let shares = try (0..<4).map { _ in try open(one) }
        #expect(shares.allSatisfy { $0 != nil })
        #expect(try (open(other) == nil) == isSame)
    }

    @Test("lends one client a quarter of the memory, takes it back, and leaves each connection a little")
    func memory() throws {
        let share = try #require(try open("192.0.2.1"))
        let second = try #require(try open("192.0.2.1"))
        #expect(share.hold(4096 + 25_000, limits))
        #expect(!second.hold(4097, limits) && second.hold(4096, limits))
        #expect(budget.held == 25_000)
        // Then each only half of what the others leave.
        let others = try (2...5).map { try #require(try open("192.0.2.\($0)")) }
        #expect(others.map { $0.hold(4096 + 25_000, limits) } == [true, true, false, false])
        #expect(others[2].hold(4096 + 12_500, limits) && !others[3].hold(4096 + 6_251, limits))
        #expect(share.hold(5096, limits) && budget.held == 63_500)
        #expect(others[3].hold(4096 + 18_250, limits))
        #expect(share.hold(0, limits) && second.hold(0, limits) && budget.held == 80_750)
        #expect(second.hold(5000, limits))
    }

    @Test("has it all back when a connection is closed")
    func close() throws {
        var share = try open("192.0.2.1")
        #expect(share?.hold(20_000, limits) == true)
        share = nil
        #expect(budget.held == 0)
        let again = try #require(try open("192.0.2.1"))
        #expect(again.hold(4096 + 25_000, limits))
    }
}
