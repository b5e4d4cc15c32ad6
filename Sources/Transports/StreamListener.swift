import Glibc
package import LookupLog
package import Platform
import Synchronization

/// Serves DNS over TCP, with threads of its own. Uses the same `QueryHandler` as UDP.
///
/// - RFC: 7766; 1035 4.2.2 for the length prefix; 7828 for keepalive.
package final class StreamListener: Sendable {
    private let store: ServedDataStore
    private let forwarding: Forwarding
    private let makeRing: @Sendable () -> LookupRing?
    /// Shared with the encrypted transports.
    package let budget = StreamBudget()
    /// One per thread.
    private let mailboxes: [StreamMailbox]
    private let threads = ThreadGroup()
    private let open = Mutex<[Bound]>([])

    package init(
        threads: Int, store: ServedDataStore, forwarding: Forwarding,
        makeRing: @escaping @Sendable () -> LookupRing?
    ) throws(SystemError) {
        self.store = store
        self.forwarding = forwarding
        self.makeRing = makeRing
        var mailboxes: [StreamMailbox] = []
        for _ in 0..<threads { mailboxes.append(try StreamMailbox()) }
        self.mailboxes = mailboxes
    }

    /// A listening address.
    package struct Bound: Sendable {
        package let address: SocketAddress
        /// By thread.
        fileprivate let sockets: [ListeningSocket]
    }

    /// Binds and listens on `address`. For port 0, the result has the port that the system chose.
    ///
    /// - Parameter early: the machine need not have the address yet; it is served once it has.
    package func listen(on address: SocketAddress, early: Bool = false) throws(SystemError) -> Bound {
        let (address, sockets) = try ListeningSocket.bind(address, count: mailboxes.count, early: early)
        return serve(Bound(address: address, sockets: sockets))
    }

    /// Serves a socket that is already listening.
    package func listen(inherited socket: InheritedSockets.Socket) {
        ListeningSocket.setInherited(on: socket.descriptor)
        let shared = ListeningSocket(descriptor: socket.descriptor, isInherited: true)
        _ = serve(Bound(address: socket.address, sockets: mailboxes.map { _ in shared }))
    }

    private func serve(_ bound: Bound) -> Bound {
        open.withLock { $0.append(bound) }
        for (mailbox, socket) in zip(mailboxes, bound.sockets) { mailbox.order(.open(socket)) }
        return bound
    }

    /// Stops accepting on `bound`.
    package func close(_ bound: Bound) {
        open.withLock { $0.removeAll { $0.address == bound.address } }
        for (mailbox, socket) in zip(mailboxes, bound.sockets) { mailbox.order(.close(socket)) }
    }

    /// Stops accepting; open connections are still served.
    package func close() {
        for bound in open.withLock({ $0 }) { close(bound) }
    }

    /// Starts the threads.
    package func start() {
        for mailbox in mailboxes {
            threads.start("tcp") { [self] in
                do {
                    let responder = StreamResponder(store: store, forwarding: forwarding, ring: makeRing())
                    var worker = try StreamWorker(mailbox: mailbox, responder: responder, budget: budget)
                    try worker.run()
                } catch {
                    Report.line("a TCP thread ended: \(error)")
                    exit(ServiceFailure.Code.problem.rawValue)
                }
            }
        }
    }

    /// Takes no new queries, sends outstanding answers, closes all connections and ends the threads.
    package func shutDown() async {
        for mailbox in mailboxes { mailbox.signal.end() }
        await threads.join()
    }

    /// Makes idle threads release old data.
    package func refresh() {
        for mailbox in mailboxes { mailbox.signal.wake() }
    }
}
