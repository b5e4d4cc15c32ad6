import Platform
import Synchronization

/// Messages from other threads to one stream worker.
final class StreamMailbox: Sendable {
    /// A late answer.
    struct Reply: Sendable {
        let connection: StreamHandle
        let copy: StreamReplyCopy
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

    private func post(_ reply: StreamReply, to connection: StreamHandle) {
        let reply = Reply(connection: connection, copy: StreamReplyCopy(reply))
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
