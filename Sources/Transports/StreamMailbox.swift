import Platform
import Synchronization

/// Messages from other threads to one stream worker.
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

    /// Wakes the worker, or ends it.
    let signal: WakeSignal
    private let mail = Mutex(Mail())

    init() throws(SystemError) { signal = try WakeSignal() }

    /// How the forwarding thread delivers upstream's answer to `connection`.
    func deferredReply(to connection: StreamHandle) -> ParkedQuery.Reply {
        .stream { self.post($0, to: connection) }
    }

    private func post(_ message: UnsafeRawBufferPointer, to connection: StreamHandle) {
        let reply = Reply(connection: connection, message: Array(message))
        let isFirst = mail.withLock { mail in
            mail.replies.append(reply)
            return mail.replies.count == 1
        }
        // One wake is enough for all messages in the box.
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
