import DNSWire
import Lookup
import Platform

/// The decisions and the state of `ForwardCore`. Times in microseconds.
extension ForwardCore {
    enum Action: Sendable {
        /// If it is a port, it must be unpredictable.
        case open(UpstreamChannel, server: Int)
        case close(UpstreamChannel)
        case send(OutgoingMessage)
        case late(flight: Int)
        /// The flight has ended; its number stays valid until `release`.
        case finished(flight: Int, Conclusion)
    }

    enum Conclusion: Sendable, Equatable {
        /// The message that `accept` approved.
        case answered(UpstreamReply)
        /// The only result is this error message; see `lastResort(of:)`.
        case lastResort(UpstreamReply)
        case failed(ExtendedError, StaticString)

        static func == (left: Conclusion, right: Conclusion) -> Bool {
            switch (left, right) {
            case (.answered(let a), .answered(let b)), (.lastResort(let a), .lastResort(let b)): a == b
            case (.failed(let a, _), .failed(let b, _)): a == b
            default: false
            }
        }
    }

    enum Start {
        /// The question is in flight.
        case flight(Int)
        /// The question can't be asked.
        case failed(ExtendedError, StaticString)
    }

    struct Flight {
        var key: FetchKey
        var deadline: UInt64
        var staleAt: UInt64
        var retryAt: UInt64
        var route: Int
        var waiters: Int
        /// One bit per server tried in this round.
        var tried: UInt64 = 0
        var round = 0
        var sends = 0
        var refusals = 0
        var isLate = false
        /// A server answered, but unusably.
        var wasRejected = false
        /// The outstanding attempts, linked by `next`.
        var attempts = -1
        /// The attempt that, when overdue, makes the next server be asked.
        var latest = -1
        var isOpen = true
        /// An error message, in case nothing better arrives.
        var fallback: [UInt8] = []
        var fallbackReply = UpstreamReply(
            server: 0, address: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp,
            microseconds: 0)
        var error = ExtendedError.noReachableAuthority
        var errorText: StaticString = "no upstream answered in time"
    }

    struct Attempt {
        /// -1 for an orphan; -2 for a free slot.
        var flight: Int
        var server: Int
        var channel: UpstreamChannel
        var id: UInt16
        var caseMask: UInt64
        var sent: UInt64
        var edns: Bool
        /// It is a retry, whose answer is not retried again.
        var isSecondTry: Bool
        var wasLate = false
        var next = -1
        /// Distinguishes this attempt from earlier ones in its slot.
        var generation: UInt32
    }

    struct Server {
        var health = ServerHealth()
        var cookies: CookieJar
        var streamOutstanding = 0
        var streamIsOpen = false
        var streamHasAnswered = false
        var streamUsed: UInt64 = 0
        /// Since when nothing has arrived although something is outstanding.
        var streamSilentSince: UInt64 = 0
        var queries: UInt64 = 0
        var answers: UInt64 = 0
        var timeouts: UInt64 = 0
        /// Unusable answers, and network errors.
        var errors: UInt64 = 0
    }

    struct Route {
        var suffix: [UInt8]
        var servers: [Int]
    }
}

extension ForwardCore.Attempt {
    var isOrphan: Bool { flight == -1 }
    var isStream: Bool { channel.transport == .tcp }
}
