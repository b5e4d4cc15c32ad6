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
        var started: UInt64
        var deadline: UInt64
        var staleAt: UInt64
        var retryAt: UInt64 = .max
        /// Waits until then for a turn at a server that is down; 0: it has been sent.
        var heldUntil: UInt64 = 0
        var route: Int
        var waiters: Int
        /// One bit per server: tried in this round; asked ever; over a stream; has answered unusably.
        var tried: UInt64 = 0
        var asked: UInt64 = 0
        var streamed: UInt64 = 0
        var rejected: UInt64 = 0
        var round = 0
        var sends = 0
        var refusals = 0
        /// The fault of a connection does not count while this is below its bound: the question is sent anew.
        var losses = 0
        /// How often it was sent anew because a connection that worked had ended.
        var resends = 0
        /// Its place among those that wait for a turn: numbers of flights are used again.
        var ticket: UInt64 = 0
        var isLate = false
        /// A server that changed the case of the question, which is asked without random case since; -1: none.
        var foldedBy = -1
        /// The server whose error may be due to EDNS, and the lower level at which to ask it again; -1: none.
        var doubted = -1
        var doubtedLevel = EDNSLevel.none
        /// The server whose answer was cut short, and which may be asked over TCP; -1: none.
        var cutShort = -1
        /// The outstanding attempts, linked by `next`.
        var attempts = -1
        /// The attempt that, when overdue, makes the next server be asked.
        var latest = -1
        var isOpen = true
        /// An error message, in case nothing better arrives.
        var fallback: [UInt8] = []
        /// How much it tells the client: SERVFAIL, and above all a reason.
        var fallbackWorth = 0
        var fallbackReply = UpstreamReply(
            server: 0, address: SocketAddress(high: 0, low: 0, port: 0, isIPv6: false), transport: .udp,
            microseconds: 0, setup: .none, isReduced: false)
        var error = ExtendedError.noReachableAuthority
        var errorText: StaticString = "no upstream answered in time"

        init(key: FetchKey, route: Int, waiters: Int, now: UInt64, deadline: UInt64, staleAt: UInt64) {
            self.key = key
            self.route = route
            self.waiters = waiters
            started = now
            self.deadline = max(deadline, now)
            self.staleAt = staleAt
        }

        /// The attempts that were made for it before count only while they are outstanding.
        mutating func fail(_ error: ExtendedError, _ text: StaticString) {
            self.error = error
            errorText = text
        }
    }

    struct Attempt {
        /// -1 for an orphan; -2 for a free slot.
        var flight: Int
        var server: Int
        var channel: UpstreamChannel
        var id: UInt16
        var caseMask: UInt64
        var sent: UInt64
        var level: EDNSLevel
        /// The server's level failed with an error for this question, not by silence.
        var isAfterError = false
        /// It is a retry, whose answer is not retried again.
        var isSecondTry: Bool
        /// A copy at a level that the server did not answer before: an error is no news.
        var isLevelProbe: Bool
        /// The flight has asked this server before: its silence says nothing new of the server.
        var isRepeat: Bool
        /// It waited for its connection, so its time says nothing of the server.
        var waitedForConnection: Bool
        var wasLate = false
        var next = -1
        /// Distinguishes this attempt from earlier ones in its slot.
        var generation: UInt32 = 0
    }

    struct Server {
        var health = ServerHealth()
        var ability = ServerAbility()
        var cookies: CookieJar
        var templates = UpstreamQueries()
        var queries: UInt64 = 0
        var answers: UInt64 = 0
        var timeouts: UInt64 = 0
        /// Unusable answers, and network errors.
        var errors: UInt64 = 0
        var lastError: UpstreamFault?
        /// Questions that it has answered over TCP after it did not over UDP, since it last answered over UDP.
        var onlyOverStream = 0
    }

    struct Route {
        var suffix: [UInt8]
        /// Of the questions that it is for.
        var partition: UInt16
        var servers: [Int]
    }
}

extension ForwardCore.Attempt {
    var isOrphan: Bool { flight == -1 }
    var isStream: Bool { channel.transport != .udp }
}
