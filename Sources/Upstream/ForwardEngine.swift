public import DNSWire
public import Lookup
public import Platform
import Synchronization

/// Asks upstream, for the whole process, on one thread: the one that has its `ForwardLane`.
///
/// Any thread hands a question over with `fetch` and goes on. The lane joins it to an equal one in flight or asks the
/// best server (`ForwardCore` decides), and calls `completion` on its own thread once there is an end, with everyone who
/// waited. The completion may call `fetch` again. Times are monotonic, in microseconds.
public final class ForwardEngine<Waiter: Sendable, Answer: Sendable>: Sendable {
    /// Makes an answer of a message that has passed the strict walk, or nil when it can't be used. The ID and the
    /// question have been compared.
    public typealias Check = @Sendable (FetchKey, UnsafeRawBufferPointer, MessageReader.Summary) -> Answer?
    /// With the time of the round. After `.late` those that are left in the list go on waiting; after the other events
    /// all are done with.
    public typealias Completion = @Sendable (FetchKey, inout [Waiter], FetchEvent<Answer>, UInt64) -> Void
    /// Is told of each message to and from upstream.
    public typealias Watch = @Sendable (UpstreamMessage) -> Void

    let check: Check
    let completion: Completion
    let roundEnds: @Sendable () -> Void
    let watch: Watch?
    /// Calls the lane: for its network's `wait`.
    public let wake: WakeSignal
    let mailbox: Mutex<Mailbox>
    let published: Mutex<[UpstreamStatus]>

    /// One question, and who waits for the answer.
    struct Request: Sendable {
        var key: FetchKey
        /// Nil: nobody, the answer is for the cache.
        var waiter: Waiter?
        var deadline: UInt64
    }

    struct Mailbox: Sendable {
        var requests: [Request] = []
        var settings: ForwardSettings
        /// The settings have been replaced, and the lane has not seen it yet.
        var isChanged = false
        /// The lane sleeps, or is about to: a request has to wake it.
        var needsWake = true
        /// When to give up on what is in flight; nil while the lane is to run.
        var stopAt: UInt64?
    }

    /// `roundEnds` is called on the lane's thread after each round: what completions have gathered can be sent. `watch` is
    /// called there, too.
    public init(
        settings: ForwardSettings, check: @escaping Check, completion: @escaping Completion,
        roundEnds: @escaping @Sendable () -> Void = {}, watch: Watch? = nil
    ) throws(SystemError) {
        wake = try WakeSignal()
        mailbox = Mutex(Mailbox(settings: settings.bounded))
        self.check = check
        self.completion = completion
        self.roundEnds = roundEnds
        self.watch = watch
        published = Mutex(ForwardCore(settings).status())
    }

    /// How it asks, and whom: as it was made, or as `replace` has last said.
    public var settings: ForwardSettings { mailbox.withLock { $0.settings } }

    /// How long a client is kept waiting, in microseconds.
    public var patience: UInt64 { mailbox.withLock { $0.settings.patience } }

    /// From now on it asks other servers, or in another way. What is in flight is asked anew. From any thread.
    public func replace(_ settings: ForwardSettings) {
        mailbox.withLock { mailbox in
            mailbox.settings = settings.bounded
            mailbox.isChanged = true
        }
        wake.wake()
    }

    /// Asks for `waiter`, until `deadline` at most. From any thread.
    ///
    /// False when too many wait already, or the engine is stopping; then nothing is called back.
    public func fetch(_ key: FetchKey, for waiter: Waiter, deadline: UInt64) -> Bool {
        post(Request(key: key, waiter: waiter, deadline: deadline))
    }

    /// Asks for the cache's sake: the completion gets the answer and no waiters. From any thread.
    @discardableResult
    public func prefetch(_ key: FetchKey, now: UInt64) -> Bool {
        post(Request(key: key, waiter: nil, deadline: now + patience))
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

    /// Lets what is in flight come to its end until `deadline`, fails the rest, and ends the lane's `run`.
    public func stop(deadline: UInt64 = 0) {
        mailbox.withLock { $0.stopAt = deadline }
        wake.wake()
    }

    /// How each server does, in the order of the settings; at most a tenth of a second old while there is traffic.
    public var status: [UpstreamStatus] { published.withLock { $0 } }
}
