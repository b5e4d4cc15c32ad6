import Platform
import Synchronization

/// What other threads have for one stream worker.
final class StreamMailbox: Sendable {
    /// An answer from upstream; empty: there is none.
    struct Reply: Sendable {
        let connection: StreamHandle
        let message: [UInt8]
    }

    enum Order: Sendable {
        case open(ListeningSocket)
        case close(ListeningSocket)
    }

    struct Mail: Sendable {
        var replies: [Reply] = []
        var orders: [Order] = []
    }

    /// Wakes the worker; its end is the worker's.
    let signal: WakeSignal
    private let mail = Mutex(Mail())

    init() throws(SystemError) { signal = try WakeSignal() }

    /// How upstream's answer gets to that connection from the forward thread.
    func way(to connection: StreamHandle) -> ParkedQuery.Reply {
        .stream { self.post($0, to: connection) }
    }

    private func post(_ message: UnsafeRawBufferPointer, to connection: StreamHandle) {
        let reply = Reply(connection: connection, message: Array(message))
        let isFirst = mail.withLock { mail in
            mail.replies.append(reply)
            return mail.replies.count == 1
        }
        // Who wakes for the first finds the rest.
        if isFirst { signal.wake() }
    }

    func order(_ order: Order) {
        mail.withLock { $0.orders.append(order) }
        signal.wake()
    }

    func take() -> Mail {
        mail.withLock { mail in
            defer { mail = Mail() }
            return mail
        }
    }
}
