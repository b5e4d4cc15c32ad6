import DNSWire
import LookupLog
import Platform
import Upstream

@testable import Transports

/// Any bytes of a client on a stream, in any pieces.
enum StreamTarget {
    static let target = FuzzTarget(
        name: "stream", longest: 2000,
        seeds: {
            let queries = [
                QueryTarget.query("acme.org.", .a), QueryTarget.query("big.acme.org.", .txt, isSigned: true),
                QueryTarget.query("acme.org.", .axfr), QueryTarget.query("over.acme.org.", .https),
            ]
            return [[7] + queries.flatMap { [0, UInt8($0.count)] + $0 }, [0, 0, 12] + queries[0]]
        },
        prepare: {
            let store = ServedDataStore(ServedWorld.data(recursionAvailable: false))
            guard
                let forwarding = try? Forwarding(
                    settings: ForwardSettings(servers: []), store: store, log: nil)
            else { broken("no forwarding") }
            let responder = StreamResponder(store: store, forwarding: forwarding, ring: nil)
            return { input in
                var reader = InputReader(input)
                let step = Int(reader.byte()) + 1
                func both() -> (pieces: [UInt8], whole: [UInt8]) {
                    (
                        trial(reader.rest, step: step, responder),
                        trial(reader.rest, step: max(reader.rest.count, 1), responder)
                    )
                }
                var (pieces, whole) = both()
                // A server cookie contains the time, which may have advanced by a second in between.
                if pieces != whole { (pieces, whole) = both() }
                expect(pieces == whole, "in pieces of \(step): \(hex(pieces)), and not \(hex(whole))")
            }
        })

    /// Receives `bytes` in pieces of `step`, and returns the output.
    private static func trial(_ bytes: UnsafeRawBufferPointer, step: Int, _ responder: StreamResponder) -> [UInt8] {
        var session = StreamSession(client: ServedWorld.client, local: .none, transport: .tcp)
        var sent: [UInt8] = []
        func flush() {
            sent += responder.output.bytes
            responder.output.removeAll()
        }
        var reader = InputReader(bytes)
        while !reader.rest.isEmpty {
            expect(session.wantsInput(responder) || session.isFinished, "a session that neither reads nor ends")
            _ = session.receive(reader.bytes(step), responder) { broken("nothing is forwarded here") }
            flush()
            while session.canProceed(responder) {
                let before = sent.count
                _ = session.proceed(responder) { broken("nothing is forwarded here") }
                flush()
                expect(sent.count > before || !session.canProceed(responder), "a session that goes on without an end")
            }
        }
        session.endInput()
        expect(session.isFinished, "all is answered, and yet the session does not end")
        session.end(responder)
        checkFrames(sent)
        return sent
    }

    private static func checkFrames(_ sent: [UInt8]) {
        sent.withUnsafeBytes { sent in
            var reader = InputReader(sent)
            while !reader.rest.isEmpty {
                let length = Int(reader.byte()) << 8 | Int(reader.byte())
                let message = reader.bytes(length)
                expect(message.count == length, "a message that is cut short")
                _ = ResponseRules.sections(message, "over a stream")
            }
        }
    }
}
