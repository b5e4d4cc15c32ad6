import DNSWire
import LookupLog
import Resolution

/// A query that waits for upstream: its bytes, who asked, and the way back.
struct ParkedQuery: Sendable {
    /// How the answer gets to the client.
    enum Reply: Sendable {
        /// From the socket and the address that were asked.
        case datagram(DatagramSocket, from: LocalAddress?)
        /// Into the connection; empty bytes mean that there is no answer.
        case stream(@Sendable (UnsafeRawBufferPointer) -> Void)
    }

    let message: [UInt8]
    let request: QueryHandler.Request
    let reply: Reply
    /// What upstream has said for it so far.
    var upstream = UpstreamState.none

    func send(_ response: UnsafeRawBufferPointer) {
        switch reply {
        case .datagram(let socket, let local):
            if !response.isEmpty { socket.send(response, to: request.client, from: local) }
        case .stream(let write): write(response)
        }
    }
}

/// The slow lane: parks misses with the `ForwardEngine`, and when upstream has answered, handles them once more.
///
/// `park` and `prefetch` are called by serving threads; all else happens on the engine's thread.
final class Forwarding: Sendable {
    private let engine: ForwardEngine<ParkedQuery>?
    /// A lookup that hops between our data and upstream may ask this often (a chain is at most 16 long).
    private static let maximumFetches = Decision.maximumHops

    init(engine: ForwardEngine<ParkedQuery>?) {
        self.engine = engine
    }

    /// Asks upstream for `name`, which the answer to `message` needs.
    func park(
        _ message: UnsafeRawBufferPointer, _ request: QueryHandler.Request, reply: ParkedQuery.Reply, name: Name,
        question: Question
    ) {
        let query = ParkedQuery(message: Array(message), request: request, reply: reply)
    }

    func prefetch(_ name: Name, _ question: Question) {
        engine?.prefetch(FetchKey(name, question))
    }
}
