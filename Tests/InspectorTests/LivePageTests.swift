import HTTPTypes
import LookupLog
import NIOCore
import NIOEmbedded
import NIOHTTPTypes
import Synchronization
import Testing

@testable import Inspector

@Suite("Connections to the page")
struct PageConnectionTests {
    /// A connection of a client whose user is not known, on a clock that the test moves.
    private final class Connection {
        let channel = EmbeddedChannel()

        init(_ client: String, _ shares: ConnectionShares?) throws {
            channel.localAddress = try SocketAddress(ipAddress: "192.0.2.80", port: 8053)
            channel.remoteAddress = try SocketAddress(ipAddress: client, port: 1024)
            try channel.pipeline.syncOperations.addHandler(ClientWatch(shares))
            try channel.connect(to: try SocketAddress(ipAddress: client, port: 1024)).wait()
        }

        func request() throws {
            let head = HTTPRequest(method: .post, scheme: "http", authority: "192.0.2.80", path: "/overrides")
            try channel.writeInbound(HTTPRequestPart.head(head))
        }

        func end() throws { try channel.writeInbound(HTTPRequestPart.end(nil)) }

        func respond() throws {
            try channel.writeOutbound(HTTPResponsePart.head(HTTPResponse(status: .ok)))
            try channel.writeOutbound(HTTPResponsePart.end(nil))
        }

        func pass(_ time: TimeAmount) { channel.embeddedEventLoop.advanceTime(by: time) }

        // An open channel would hold itself.
        deinit {
            channel.close(promise: nil)
            channel.embeddedEventLoop.run()
        }

        var isOpen: Bool {
            channel.embeddedEventLoop.run()
            return channel.isActive
        }
    }

    @Test("of one client replace idle ones, and are refused when none is idle; other clients have their own")
    func shares() throws {
        let shares = ConnectionShares(most: 2)
        let first = try Connection("198.51.100.1", shares)
        let second = try Connection("198.51.100.1", shares)
        #expect(first.isOpen && second.isOpen)
        try first.request()
        try first.end()
        // A request that has only begun is no reason to keep the connection.
        try second.request()
        let third = try Connection("198.51.100.1", shares)
        #expect(first.isOpen && !second.isOpen && third.isOpen)
        try third.request()
        try third.end()
        #expect(try !Connection("198.51.100.1", shares).isOpen)
        #expect(try Connection("198.51.100.2", shares).isOpen)
        try first.respond()
        #expect(try Connection("198.51.100.1", shares).isOpen)
        #expect(!first.isOpen && third.isOpen)
        third.channel.close(promise: nil)
        #expect(!third.isOpen)
        #expect(try Connection("198.51.100.1", shares).isOpen)
    }

    @Test("are closed if they send many requests without waiting for answers")
    func pipelined() throws {
        let connection = try Connection("198.51.100.1", nil)
        for _ in 0..<40 {
            try connection.request()
            try connection.end()
            try connection.respond()
        }
        for _ in 0..<16 {
            try connection.request()
            try connection.end()
        }
        #expect(connection.isOpen)
        try connection.request()
        #expect(!connection.isOpen)
    }

    @Test("are closed if their request does not end")
    func endlessRequest() throws {
        let connection = try Connection("198.51.100.1", nil)
        try connection.request()
        for _ in 0..<29 {
            connection.pass(.seconds(1))
            try connection.channel.writeInbound(HTTPRequestPart.body(ByteBuffer(string: "x")))
        }
        #expect(connection.isOpen)
        connection.pass(.seconds(1))
        #expect(!connection.isOpen)
        let other = try Connection("198.51.100.1", nil)
        try other.request()
        try other.channel.writeInbound(HTTPRequestPart.end(nil))
        other.pass(.hours(1))
        #expect(other.isOpen)
    }

    @Test("are closed if the client takes nothing of an answer; over the control socket it may take its time")
    func unreadAnswer() throws {
        let connection = try Connection("198.51.100.1", ConnectionShares(most: 2))
        let patient = try Connection("198.51.100.1", nil)
        for each in [connection, patient] {
            each.channel.isWritable = false
            each.channel.pipeline.fireChannelWritabilityChanged()
            each.pass(.seconds(119))
            #expect(each.isOpen)
        }
        connection.channel.isWritable = true
        connection.channel.pipeline.fireChannelWritabilityChanged()
        connection.pass(.seconds(119))
        #expect(connection.isOpen)
        connection.channel.isWritable = false
        connection.channel.pipeline.fireChannelWritabilityChanged()
        connection.pass(.seconds(120))
        patient.pass(.hours(1))
        #expect(!connection.isOpen && patient.isOpen)
    }
}

@Suite("News for open pages")
struct LiveEventTests {
    @Test("are made once for all of them, and at once for a new one")
    func shared() async throws {
        let drawn = Atomic(0)
        let live = LiveEvents(nil) { "pulse \(drawn.add(1, ordering: .relaxed).newValue)" }
        var pages: [AsyncStream<LiveEvents.News>.Iterator] = []
        for number in 0..<40 {
            let page = try #require(await live.subscribe("client \(number / 8)", "", LookupFilter()))
            pages.append(page.makeAsyncIterator())
        }
        // The first is the page's own; the next ones all get alike.
        var texts: Set<String> = []
        for index in pages.indices {
            var seen: [String] = []
            while seen.count < 2 {
                if case .pulse(let text)? = await pages[index].next() { seen.append(text) }
            }
            texts.insert(seen[1])
        }
        #expect(texts.count == 1, "\(texts)")
    }

    @Test("are for so many pages of one client, and so many over all, until one is closed")
    func bounded() async throws {
        let live = LiveEvents(nil) { "" }
        func open(_ client: String) async -> AsyncStream<LiveEvents.News>? {
            await live.subscribe(client, "", LookupFilter())
        }
        var pages: [AsyncStream<LiveEvents.News>] = []
        for client in 0..<LiveEvents.most / LiveEvents.mostOfClient {
            for _ in 0..<LiveEvents.mostOfClient { pages.append(try #require(await open("\(client)"))) }
            #expect(await open("\(client)") == nil)
        }
        #expect(pages.count == LiveEvents.most)
        #expect(await open("another") == nil)
        pages.removeFirst()
        var page: AsyncStream<LiveEvents.News>?
        while page == nil {
            await Task.yield()
            page = await open("another")
        }
    }
}
