import DNSWire
import Foundation
import TestSupport
import Testing

@testable import Daemon
@testable import Pipeline
@testable import Platform
@testable import Transports

/// Messages on a stream, without sockets.
@Suite("A stream of messages")
struct StreamSessionTests {
    /// Short and long answers, an error, a transfer, a message that gets no answer (QR is set), and the longest
    /// message.
    private static let pipelined: [UInt8] = {
        var response = Packet("acme.org.", flags: 0x8000)
        response.id = 3
        var padded = Packet("acme.org.")
        padded.id = 8
        let room = 65_535 - padded.wire.count - 11 - 4
        padded.additional = [Packet.opt([(12, [UInt8](repeating: 0, count: room))])]
        return StreamWorld.framed("acme.org.", id: 1) + StreamWorld.framed("long.acme.org.", .txt, id: 2)
            + StreamWorld.framed(response.wire) + StreamWorld.framed("none.acme.org.", id: 4)
            + StreamWorld.framed([0, 5] + [UInt8](repeating: 0xFF, count: 10))
            + StreamWorld.framed("acme.org.", .axfr, id: 6) + StreamWorld.framed("ns.acme.org.", id: 7)
            + StreamWorld.framed(padded.wire) + StreamWorld.framed("acme.org.", id: 9)
    }()

    private func answers(_ world: StreamWorld, cutAt cuts: some Sequence<Int>) -> [UInt8] {
        var trial = StreamTrial(world)
        var start = 0
        for cut in cuts {
            trial.bring(Array(Self.pipelined[start..<cut]))
            start = cut
        }
        trial.bring(Array(Self.pipelined[start...]))
        trial.session.endInput()
        #expect(trial.session.isFinished)
        return trial.sent
    }

    @Test("gives the same answers wherever its bytes are split")
    func segments() throws {
        let world = try StreamWorld()
        let whole = answers(world, cutAt: [])
        let messages = StreamWorld.messages(whole)
        #expect(messages.map { $0[1] }.filter { $0 != 6 } == [1, 2, 4, 7, 8, 9])
        let transfer = messages.filter { $0[1] == 6 }
        #expect(transfer.reduce(0) { $0 + Int($1[7]) } == StreamWorld.transferred)
        // In two parts, split at each byte except inside the padding.
        let count = Self.pipelined.count
        for cut in Array(1..<400) + Array((count - 200)..<count) where answers(world, cutAt: [cut]) != whole {
            Issue.record("other answers when cut at \(cut)")
        }
        // Each byte alone, except the padding.
        let single = Array(1..<400) + Array((count - 200)..<count)
        #expect(answers(world, cutAt: single) == whole)
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let most = Int.random(in: 1...40, using: &random)
            let cuts = Set((0..<most).map { _ in Int.random(in: 1..<count, using: &random) }).sorted()
            if answers(world, cutAt: cuts) != whole { Issue.record("other answers with seed \(seed), cut at \(cuts)") }
        }
    }

    @Test("waits at the limit of parked queries, reads no more, and continues where it was")
    func parked() throws {
        var limits = StreamLimits()
        limits.maximumPipelined = 2
        var trial = StreamTrial(try StreamWorld(limits: limits))
        trial.bring(
            StreamWorld.framed("a.example.net.", id: 1) + StreamWorld.framed("acme.org.", id: 2)
                + StreamWorld.framed("b.example.net.", id: 3) + StreamWorld.framed("acme.org.", id: 4)
                + StreamWorld.framed("c.example.net.", id: 5) + Array(StreamWorld.framed("acme.org.", id: 6).dropLast())
        )
        #expect(trial.ids == [2] && trial.session.parked == 2 && !trial.wantsInput)
        // The answer to the second query comes first.
        trial.finish([0, 3] + [UInt8](repeating: 0, count: 10))
        #expect(trial.ids == [2, 3, 4] && trial.session.parked == 2 && !trial.wantsInput)
        // An empty answer frees a place too.
        trial.finish([])
        #expect(trial.ids == [2, 3, 4] && trial.session.parked == 1 && trial.wantsInput)
        trial.bring([1])
        #expect(trial.ids == [2, 3, 4, 6])
        trial.session.endInput()
        #expect(!trial.session.isFinished && !trial.wantsInput)
        trial.finish([0, 5] + [UInt8](repeating: 0, count: 10))
        #expect(trial.ids == [2, 3, 4, 6, 5] && trial.session.isFinished)
    }

    @Test("writes no more than fits until that has been sent")
    func room() throws {
        let world = try StreamWorld()
        var session = world.session()
        // About 24,000 bytes each.
        let queries = (0..<40).flatMap { StreamWorld.framed("long.acme.org.", .txt, id: UInt16($0)) }
        _ = queries.withUnsafeBytes { session.receive($0, world.responder, replyLater: { .stream { _ in } }) }
        var sent: [UInt8] = []
        var pieces = 0
        while true {
            #expect(!world.responder.output.isEmpty && world.responder.output.bytes.count <= 131_074)
            sent += world.responder.output.bytes
            world.responder.output.removeAll()
            pieces += 1
            guard session.canProceed(world.responder) else { break }
            #expect(!session.wantsInput(world.responder))
            _ = session.proceed(world.responder, replyLater: { .stream { _ in } })
        }
        #expect(pieces > 7)
        let messages = StreamWorld.messages(sent)
        #expect(messages.map { $0[1] } == (0..<40).map { UInt8($0) })
        #expect(messages.allSatisfy { $0.count > 24_000 && $0[7] == 1 })
        #expect(session.wantsInput(world.responder))
    }

    @Test(
        "ends after an impossible message, once the rest is answered",
        arguments: [[0, 0], [0, 11] + [UInt8](repeating: 0, count: 11)] as [[UInt8]])
    func nonsense(_ bytes: [UInt8]) throws {
        var trial = StreamTrial(try StreamWorld())
        trial.bring(
            StreamWorld.framed("a.example.net.", id: 1) + StreamWorld.framed("acme.org.", id: 2) + bytes
                + StreamWorld.framed("acme.org.", id: 3))
        trial.bring(StreamWorld.framed("acme.org.", id: 4))
        #expect(trial.ids == [2] && !trial.wantsInput && !trial.session.isFinished)
        trial.finish([0, 1] + [UInt8](repeating: 0, count: 10))
        #expect(trial.ids == [2, 1] && trial.session.isFinished)
    }

    @Test("takes no new queries at shutdown, but sends outstanding answers")
    func ending() throws {
        var trial = StreamTrial(try StreamWorld())
        trial.bring(StreamWorld.framed("a.example.net.", id: 1))
        trial.world.responder.isEnding = true
        #expect(!trial.wantsInput && !trial.session.isIdle)
        trial.bring(StreamWorld.framed("acme.org.", id: 2))
        #expect(trial.ids.isEmpty)
        trial.finish([0, 1] + [UInt8](repeating: 0, count: 10))
        #expect(trial.ids == [1] && trial.session.isIdle)
    }

    @Test("ends if the client leaves in the middle of a message", arguments: 0..<20)
    func cut(_ length: Int) throws {
        var trial = StreamTrial(try StreamWorld())
        trial.bring(Array(StreamWorld.framed("acme.org.", id: 1).prefix(length)))
        #expect(trial.wantsInput)
        trial.session.endInput()
        #expect(trial.session.isFinished && trial.sent.isEmpty)
    }
}

@Suite("Limits on connections")
struct StreamLimitsTests {
    @Test(
        "leave descriptors to files, upstream, the page and the control socket",
        arguments: [(1 << 20, 1000, 200), (1867, 1000, 200), (1024, 384, 192), (256, 48, 24), (64, 8, 8)])
    func fitting(_ openFiles: Int, _ connections: Int, _ pageConnections: Int) {
        #expect(StreamLimits().fitting(openFiles).maximumConnections == connections)
        #expect(OpenFiles.mostPageConnections(of: openFiles) == pageConnections)
    }

    @Test("are never raised")
    func lower() {
        var limits = StreamLimits()
        limits.maximumConnections = 3
        #expect(limits.fitting(1 << 20).maximumConnections == 3)
    }
}
