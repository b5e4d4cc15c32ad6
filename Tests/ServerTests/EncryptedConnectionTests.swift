import DNSWire
import NIOCore
import NIOEmbedded
import NIOHPACK
import NIOHTTP1
import NIOHTTP2
import Synchronization
import Testing
import Upstream

@testable import Platform
@testable import Transports

/// TLS connections may stay open for days, so nothing may accumulate on them. The test controls their clock.
@Suite("An encrypted connection")
struct EncryptedConnectionTests {
    private struct Trial {
        private let world: StreamWorld
        let loop: EncryptedLoop
        let channel = ClientChannel()
        let connection: EncryptedConnection

        /// Idle connections are closed after ten seconds.
        init(_ budget: StreamBudget = StreamBudget()) throws {
            world = try StreamWorld()
            loop = EncryptedLoop(responder: world.responder, budget: budget)
            try channel.base.connect(to: NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: 853)).wait()
            connection = try #require(loop.open(channel))
        }

        /// Fails parked queries, which hold all of it.
        func endForwarding() throws {
            world.forwarding.stop(within: 0)
            try world.forwarding.makeLane().run()
            channel.base.embeddedEventLoop.run()
        }

        func pass(_ time: TimeAmount) { channel.base.embeddedEventLoop.advanceTime(by: time) }

        var isOpen: Bool {
            channel.base.embeddedEventLoop.run()
            return !loop.isEmpty
        }
    }

    @Test("accumulates no callbacks, however long it stays open and answers are outstanding")
    func longLived() throws {
        let trial = try Trial()
        let connection = trial.connection
        for _ in 0..<1000 {
            connection.touch()
            connection.outstanding += 1
            trial.pass(.seconds(60))
            connection.outstanding -= 1
            trial.pass(.milliseconds(50))
        }
        #expect(trial.isOpen)
        #expect(trial.channel.callbacks.load(ordering: .relaxed) == 1)
        trial.pass(.seconds(10))
        #expect(!trial.isOpen)
    }

    @Test("is closed after its idle time, not before, and not while an answer is outstanding")
    func idle() throws {
        let trial = try Trial()
        let connection = trial.connection
        trial.pass(.milliseconds(9_999))
        connection.touch()
        trial.pass(.milliseconds(9_999))
        #expect(trial.isOpen)
        connection.outstanding = 2
        trial.pass(.hours(1))
        connection.outstanding = 1
        trial.pass(.hours(1))
        #expect(trial.isOpen)
        // After a late answer the client has a moment.
        connection.outstanding = 0
        trial.pass(.milliseconds(99))
        #expect(trial.isOpen)
        trial.pass(.milliseconds(1))
        #expect(!trial.isOpen)
        // An answer that arrives now is ignored, and no timer is left.
        connection.outstanding = 1
        connection.outstanding = 0
        trial.pass(.hours(1))
    }

    @Test("is closed at shutdown as soon as no answer is outstanding")
    func end() throws {
        let trial = try Trial()
        let connection = trial.connection
        connection.outstanding = 1
        trial.loop.end()
        trial.pass(.seconds(1))
        #expect(trial.isOpen)
        connection.outstanding = 0
        #expect(!trial.isOpen)
    }

    @Test("keeps no request of an ended HTTP/2 stream, whoever ended it")
    func abandonedStreams() throws {
        let trial = try Trial()
        let connection = trial.connection
        let handler = DoHOverHTTP2(trial.loop, connection)
        try trial.channel.pipeline.syncOperations.addHandler(handler)
        let head: HPACKHeaders = [":method": "POST", ":path": "/dns-query", "content-type": "application/dns-message"]
        for number in 0..<1000 {
            let stream = HTTP2StreamID(2 * number + 1)
            try trial.channel.base.writeInbound(HTTP2Frame(streamID: stream, payload: .headers(.init(headers: head))))
            let bytes = IOData.byteBuffer(ByteBuffer(repeating: 0, count: 100))
            try trial.channel.base.writeInbound(HTTP2Frame(streamID: stream, payload: .data(.init(data: bytes))))
            #expect(handler.streams.count == 1)
            // By us, after a client's error: there is no frame from the client.
            let end = StreamClosedEvent(streamID: stream, reason: .protocolError)
            trial.channel.pipeline.fireUserInboundEventTriggered(end)
        }
        #expect(handler.streams.isEmpty)
        connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
    }

    // MARK: What a connection may hold

    private static let head: HPACKHeaders = [
        ":method": "POST", ":path": "/dns-query", "content-type": "application/dns-message",
    ]

    /// Sends a part of a request's body.
    private func send(_ count: Int, on stream: HTTP2StreamID, ends: Bool = false, _ trial: Trial) throws {
        let bytes = IOData.byteBuffer(ByteBuffer(repeating: 0, count: count))
        try trial.channel.base.writeInbound(
            HTTP2Frame(streamID: stream, payload: .data(.init(data: bytes, endStream: ends))))
    }

    private func open(_ stream: HTTP2StreamID, _ trial: Trial) throws {
        try trial.channel.base.writeInbound(HTTP2Frame(streamID: stream, payload: .headers(.init(headers: Self.head))))
    }

    /// The streams that were reset, and with which code.
    private func resets(_ trial: Trial) throws -> [(HTTP2StreamID, HTTP2ErrorCode)] {
        var found: [(HTTP2StreamID, HTTP2ErrorCode)] = []
        while let frame = try trial.channel.base.readOutbound(as: HTTP2Frame.self) {
            if case .rstStream(let code) = frame.payload { found.append((frame.streamID, code)) }
        }
        return found
    }

    @Test("has unfinished requests of a bounded size; more are refused, and small ones are not")
    func unfinishedBodies() throws {
        let budget = StreamBudget()
        let trial = try Trial(budget)
        let handler = DoHOverHTTP2(trial.loop, trial.connection)
        try trial.channel.pipeline.syncOperations.addHandler(handler)
        var refused: [(HTTP2StreamID, HTTP2ErrorCode)] = []
        for number in 0..<99 {
            let stream = HTTP2StreamID(2 * number + 1)
            try open(stream, trial)
            for _ in 0..<4 { try send(16_000, on: stream, trial) }
            refused += try resets(trial)
        }
        let limit = StreamLimits().maximumMemory / StreamLimits.clientShare
        #expect(budget.held > limit / 2 && budget.held <= limit)
        #expect(refused.count > 20 && refused.allSatisfy { $0.1 == .refusedStream })
        #expect(handler.streams.count == 99 - refused.count)
        // Another connection of this client has a little memory of its own.
        let other = try Trial(budget)
        let second = DoHOverHTTP2(other.loop, other.connection)
        try other.channel.pipeline.syncOperations.addHandler(second)
        try open(1, other)
        try send(512, on: 1, other)
        #expect(try resets(other).isEmpty && second.streams.count == 1)
        other.connection.channel.close(promise: nil)
        #expect(!other.isOpen)
        trial.connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
        #expect(budget.held == 0)
    }

    @Test("is rid of a request that does not end, while others come and go")
    func endlessRequest() throws {
        let trial = try Trial()
        let handler = DoHOverHTTP2(trial.loop, trial.connection)
        try trial.channel.pipeline.syncOperations.addHandler(handler)
        try open(1, trial)
        for second in 1...25 {
            trial.pass(.seconds(1))
            // Nobody takes the time from one byte to the next for progress.
            if handler.streams[1] != nil { try send(1, on: 1, trial) }
            let stream = HTTP2StreamID(2 * second + 1)
            try open(stream, trial)
            try send(3, on: stream, ends: true, trial)
            trial.channel.pipeline.fireUserInboundEventTriggered(StreamClosedEvent(streamID: stream, reason: nil))
        }
        #expect(trial.isOpen)
        #expect(handler.streams.isEmpty)
        #expect(try resets(trial).map(\.0) == [1])
        trial.connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
    }

    @Test("gives up an answer that nobody takes, and waits for a client that takes its time")
    func untakenAnswer() throws {
        let trial = try Trial()
        let handler = DoHOverHTTP2(trial.loop, trial.connection)
        try trial.channel.pipeline.syncOperations.addHandler(handler)
        let query = IOData.byteBuffer(ByteBuffer(bytes: StreamWorld.framed("long.acme.org.", .txt, id: 1).dropFirst(2)))
        for stream in [1, 3] as [HTTP2StreamID] {
            try open(stream, trial)
            try trial.channel.base.writeInbound(
                HTTP2Frame(streamID: stream, payload: .data(.init(data: query, endStream: true))))
        }
        // One is taken; no event says that the other has been.
        trial.channel.pipeline.fireUserInboundEventTriggered(StreamClosedEvent(streamID: 1, reason: nil))
        for _ in 0..<55 {
            trial.connection.touch()
            trial.pass(.seconds(1))
        }
        #expect(trial.isOpen && handler.streams.count == 1)
        for _ in 0..<15 {
            trial.connection.touch()
            trial.pass(.seconds(1))
        }
        #expect(trial.isOpen && handler.streams.isEmpty)
        #expect(try resets(trial).map(\.0) == [3])
        trial.connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
    }

    @Test("returns the connection's flow control window also for requests that it has refused")
    func refusedWindow() throws {
        let trial = try Trial()
        try trial.channel.pipeline.syncOperations.addHandler(DoHOverHTTP2(trial.loop, trial.connection))
        var returned = 0
        for left in [60_000, 50_000, 49_151, 65_535] {
            trial.channel.pipeline.fireUserInboundEventTriggered(
                NIOHTTP2WindowUpdatedEvent(
                    streamID: .rootStream, inboundWindowSize: left, outboundWindowSize: nil))
            trial.channel.pipeline.fireChannelReadComplete()
            while let frame = try trial.channel.base.readOutbound(as: HTTP2Frame.self) {
                if case .windowUpdate(let size) = frame.payload, frame.streamID == .rootStream { returned += size }
            }
        }
        #expect(returned == 16_384)
        trial.connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
    }

    @Test("is closed when its client leaves more answers unread than it may")
    func unreadAnswers() throws {
        let budget = StreamBudget()
        let trial = try Trial(budget)
        let size = 1 << 20
        let promises = (0..<4).map { _ in trial.connection.promiseAnswer(of: size - 1024) }
        #expect(trial.isOpen)
        // What has left counts no longer.
        for promise in promises { promise?.succeed() }
        #expect(trial.isOpen && budget.held == 0)
        let unread = (0..<5).map { _ in trial.connection.promiseAnswer(of: size) }
        #expect(!trial.isOpen)
        #expect(budget.held == 0)
        for promise in unread { promise?.fail(ChannelError.ioOnClosedChannel) }
    }

    @Test("over HTTP/2 has also errors counted until its client takes them")
    func untakenErrors() throws {
        let budget = StreamBudget()
        let trial = try Trial(budget)
        let pipeline = trial.channel.pipeline.syncOperations
        try pipeline.addHandler(DoHOverHTTP2(trial.loop, trial.connection))
        for number in 0..<100 {
            let stream = HTTP2StreamID(2 * number + 1)
            let head: HPACKHeaders = [":method": "GET", ":path": "/none"]
            pipeline.fireChannelRead(
                NIOAny(HTTP2Frame(streamID: stream, payload: .headers(.init(headers: head, endStream: true)))))
            pipeline.fireUserInboundEventTriggered(StreamClosedEvent(streamID: stream, reason: nil))
        }
        // Not sent yet.
        #expect(budget.held > 100 * 256)
        pipeline.fireChannelReadComplete()
        #expect(budget.held == 0)
        trial.connection.channel.close(promise: nil)
        #expect(!trial.isOpen)
    }

    @Test("over HTTP/1.1 is closed when its request is larger than what is left")
    func largeHTTP1Request() throws {
        let budget = StreamBudget()
        let trial = try Trial(budget)
        try trial.channel.pipeline.syncOperations.addHandler(DoHOverHTTP1(trial.loop, trial.connection))
        let greedy = try Trial(budget)
        #expect(greedy.connection.hold(StreamLimits().maximumMemory / StreamLimits.clientShare))
        let head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/dns-query")
        try trial.channel.base.writeInbound(HTTPServerRequestPart.head(head))
        try trial.channel.base.writeInbound(HTTPServerRequestPart.body(ByteBuffer(repeating: 0, count: 1000)))
        #expect(trial.isOpen)
        try trial.channel.base.writeInbound(HTTPServerRequestPart.body(ByteBuffer(repeating: 0, count: 10_000)))
        #expect(!trial.isOpen)
        greedy.connection.channel.close(promise: nil)
        #expect(!greedy.isOpen && budget.held == 0)
    }

    @Test("over HTTP/1.1 answers requests in order, and is closed if too many wait")
    func pipelinedHTTP1Requests() throws {
        let trial = try Trial()
        try trial.channel.pipeline.syncOperations.addHandler(DoHOverHTTP1(trial.loop, trial.connection))
        func ask(_ name: String, _ id: UInt16) throws {
            var head = HTTPRequestHead(version: .http1_1, method: .POST, uri: "/dns-query")
            head.headers.add(name: "content-type", value: "application/dns-message")
            try trial.channel.base.writeInbound(HTTPServerRequestPart.head(head))
            let bytes = ByteBuffer(bytes: StreamWorld.framed(name, id: id).dropFirst(2))
            try trial.channel.base.writeInbound(HTTPServerRequestPart.body(bytes))
            try trial.channel.base.writeInbound(HTTPServerRequestPart.end(nil))
        }
        func answers() throws -> [UInt16] {
            var found: [UInt16] = []
            while let part = try trial.channel.base.readOutbound(as: HTTPServerResponsePart.self) {
                if case .body(.byteBuffer(var bytes)) = part { found.append(bytes.readInteger() ?? 0) }
            }
            return found
        }
        for id in 1...40 as ClosedRange<UInt16> { try ask("acme.org.", id) }
        #expect(try answers() == Array(1...40))
        // Upstream never answers in this test; what is behind it waits.
        try ask("parked.example.", 41)
        for id in 42...57 as ClosedRange<UInt16> { try ask("acme.org.", id) }
        #expect(try answers().isEmpty && trial.isOpen)
        try ask("acme.org.", 58)
        #expect(!trial.isOpen)
        try trial.endForwarding()
    }
}
