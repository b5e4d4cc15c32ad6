public import DNSWire
public import Lookup
public import Platform
import Synchronization

/// Asks upstream for the whole process, on one thread: the one that owns its `ForwardLane`.
///
/// Any thread can call `fetch`, which does not block. The lane joins the question to an equal one in flight or asks the
/// best server (`ForwardCore` decides), and at the end calls `completion` on its own thread with all waiters. The
/// completion may call `fetch` again. Times are monotonic, in microseconds.
public final class ForwardEngine<Waiter: Sendable, Answer: Sendable>: Sendable {
    /// Makes an answer from a message that has passed the strict walk; nil if it is unusable. ID and question have been
    /// compared already.
    public typealias Check = @Sendable (FetchKey, UnsafeRawBufferPointer, MessageReader.Summary) -> Answer?
    /// Gets the time of the round. After `.late`, waiters left in the list keep waiting; after other events all are
    /// done.
    public typealias Completion = @Sendable (FetchKey, inout [Waiter], FetchEvent<Answer>, UInt64) -> Void
    /// Gets each message to and from upstream.
    public typealias Watch = @Sendable (UpstreamMessage) -> Void

    let check: Check
    let completion: Completion
    let roundEnds: @Sendable () -> Void
    let watch: Watch?
    let serverLost: @Sendable () -> Void
    /// Asked before any server, and told what they say.
    let cassette: (any UpstreamCassette)?
    /// Wakes the lane from its network's `wait`.
    public let wake: WakeSignal
    let mailbox: Mutex<Mailbox>
    let published: Mutex<[UpstreamStatus]>

    /// One question, and the waiter for its answer.
    struct Request: Sendable {
        var key: FetchKey
        /// Nil: the answer is for the cache only.
        var waiter: Waiter?
        var deadline: UInt64
    }

    struct Mailbox: Sendable {
        var requests: [Request] = []
        var settings: ForwardSettings
        /// The settings were replaced, or are to be applied anew; the lane has not noticed yet.
        var isChanged = false
        /// What was learnt about the servers no longer holds.
        var forgets = false
        /// The lane sleeps or is about to: a request must wake it.
        var needsWake = true
        /// When to give up on what is in flight; nil while the lane keeps running.
        var stopAt: UInt64?
    }

    /// `roundEnds` is called on the lane's thread after each round, to send what completions have gathered. `watch` is
    /// called there too, and `serverLost` when a server has gone down.
    public init(
        settings: ForwardSettings, check: @escaping Check, completion: @escaping Completion,
        roundEnds: @escaping @Sendable () -> Void = {}, watch: Watch? = nil,
        serverLost: @escaping @Sendable () -> Void = {}, cassette: (any UpstreamCassette)? = nil
    ) throws(SystemError) {
        wake = try WakeSignal()
        mailbox = Mutex(Mailbox(settings: settings.bounded))
        self.check = check
        self.completion = completion
        self.roundEnds = roundEnds
        self.watch = watch
        self.serverLost = serverLost
        self.cassette = cassette
        published = Mutex(ForwardCore(settings).status(0))
    }

    /// The current settings.
    public var settings: ForwardSettings { mailbox.withLock { $0.settings } }

    /// How long a client is kept waiting, in microseconds.
    public var clientTimeout: UInt64 { mailbox.withLock { $0.settings.clientTimeout } }

    /// Replaces servers and settings; what is known of servers that stay is kept. Questions in flight are asked again.
    /// From any thread.
    public func replace(_ settings: ForwardSettings) {
        mailbox.withLock { mailbox in
            mailbox.settings = settings.bounded
            mailbox.isChanged = true
        }
        wake.wake()
    }

    /// Forgets what was learnt about servers, and closes connections to them: the network is another one. Questions in
    /// flight are asked again. From any thread.
    public func networkChanged() {
        mailbox.withLock { mailbox in
            mailbox.isChanged = true
            mailbox.forgets = true
        }
        wake.wake()
    }

    /// Asks for `waiter`, giving up at `deadline`. From any thread.
    ///
    /// False if too many wait already, or if the engine is stopping; then nothing is called back.
    public func fetch(_ key: FetchKey, for waiter: Waiter, deadline: UInt64) -> Bool {
        post(Request(key: key, waiter: waiter, deadline: deadline))
    }

    /// Asks on behalf of the cache: the completion gets the answer and no waiters. From any thread.
    @discardableResult
    public func prefetch(_ key: FetchKey, now: UInt64) -> Bool {
        post(Request(key: key, waiter: nil, deadline: now + clientTimeout))
    }

    private func post(_ request: Request) -> Bool {
        let (accepted, wakes) = mailbox.withLock { mailbox -> (Bool, Bool) in
            guard mailbox.requests.count < mailbox.settings.maximumFlights, mailbox.stopAt == nil else {
                return (false, false)
            }
            mailbox.requests.append(request)
            defer { mailbox.needsWake = false }
            return (true, mailbox.needsWake)
        }
        if wakes { wake.wake() }
        return accepted
    }

    /// Lets questions in flight finish until `deadline`, fails the rest, and ends the lane's `run`.
    public func stop(deadline: UInt64 = 0) {
        mailbox.withLock { $0.stopAt = deadline }
        wake.wake()
    }

    /// Each server's health, in the order of the settings; at most a tenth of a second old while there is traffic.
    public var status: [UpstreamStatus] { published.withLock { $0 } }
}
