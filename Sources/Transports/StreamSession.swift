import DNSWire
import Lookup
import LookupLog
import Platform

/// The messages of one stream, independent of its transport: splits the bytes into messages, answers each as soon as
/// possible, in any order, and says when to wait.
///
/// Answers collect in the responder's `output`. The caller, which transports the bytes, sends and empties it after each
/// call, calls `proceed` while `canProceed` is true and the client takes data, reads while `wantsInput` is true, and
/// closes when the session `isFinished`.
///
/// - RFC: 7766 6.2, 7; 1035 4.2.2.
struct StreamSession {
    private let client: SocketAddress
    /// Where the client has connected to.
    private let local: SocketAddress
    private let transport: Transport
    /// Unprocessed input: part of a message, or messages that a limit holds back.
    private var waiting: [UInt8] = []
    /// Queries that wait for upstream.
    private(set) var parked = 0
    private var parkedBytes = 0
    private var transfer: ZoneTransfer?
    /// The client sends no more, or what it sends is not DNS.
    private var inputEnded = false
    /// A rule closes the connection now.
    private(set) var isAborted = false
    /// `waiting` starts with a whole message, or with bytes that can't become one.
    private var hasMessage = false

    init(client: SocketAddress, local: SocketAddress, transport: Transport) {
        self.client = client
        self.local = local
        self.transport = transport
    }

    // MARK: State for the transport

    /// Bytes of unprocessed input, and of the queries that wait for upstream.
    var heldBytes: Int { waiting.capacity + parkedBytes }

    /// Whether `proceed` has something to do.
    func canProceed(_ responder: StreamResponder) -> Bool {
        transfer != nil || hasMessage && acceptsQueries(responder)
    }

    /// Whether to read more. Not while messages wait, so that their number is bounded.
    func wantsInput(_ responder: StreamResponder) -> Bool {
        !inputEnded && !hasMessage && acceptsQueries(responder)
    }

    /// No answer is outstanding, apart from bytes not yet sent.
    var isIdle: Bool { parked == 0 && transfer == nil }

    /// Everything is answered, and no more queries will come.
    var isFinished: Bool { inputEnded && !hasMessage && isIdle }

    private func acceptsQueries(_ responder: StreamResponder) -> Bool {
        !responder.isEnding && transfer == nil && parked < responder.limits.maximumPipelined
    }

    // MARK: Events

    /// Processes received bytes; returns whether they had a message.
    mutating func receive(
        _ bytes: UnsafeRawBufferPointer, _ responder: StreamResponder, replyLater: () -> ParkedQuery.Reply
    ) -> Bool {
        guard !inputEnded else { return false }
        guard waiting.isEmpty else {
            waiting.append(contentsOf: bytes)
            return proceed(responder, replyLater: replyLater)
        }
        let done = answerMessages(in: bytes, responder, replyLater)
        if done < bytes.count { waiting = Array(bytes[done...]) }
        return done > 0
    }

    /// The client has sent everything. Its outstanding queries are still answered.
    mutating func endInput() { inputEnded = true }

    /// Continues with what had to wait; returns whether there was progress.
    mutating func proceed(_ responder: StreamResponder, replyLater: () -> ParkedQuery.Reply) -> Bool {
        let hasSent = continueTransfer(responder)
        guard !waiting.isEmpty else { return hasSent }
        var bytes: [UInt8] = []
        swap(&bytes, &waiting)
        let done = bytes.withUnsafeBytes { answerMessages(in: $0, responder, replyLater) }
        // Freed as a whole when used up, so that an idle stream holds no memory.
        guard done < bytes.count else { return true }
        if done > 0 { bytes.removeFirst(done) }
        swap(&bytes, &waiting)
        return hasSent || done > 0
    }

    /// Takes the answer to a parked query. The output must have room.
    mutating func finishParked(_ reply: StreamReply, _ responder: StreamResponder) {
        // Which of them it answers is not known; the mean is right in the end.
        parkedBytes -= parkedBytes / parked
        parked -= 1
        switch reply {
        case .message(let message, let rate):
            responder.output.append(message)
            responder.output.slow(to: rate)
        case .nothing: break
        case .close: abort()
        }
    }

    private mutating func abort() {
        isAborted = true
        inputEnded = true
        hasMessage = false
    }

    /// The stream is closed.
    mutating func end(_ responder: StreamResponder) {
        transfer?.log(to: responder.ring)
        transfer = nil
        waiting = []
        hasMessage = false
        inputEnded = true
    }

    // MARK: Messages

    /// Answers whole messages at the front of `bytes` until a limit says to wait; returns the number of bytes
    /// processed.
    private mutating func answerMessages(
        in bytes: UnsafeRawBufferPointer, _ responder: StreamResponder, _ replyLater: () -> ParkedQuery.Reply
    ) -> Int {
        let request = Lookup.Request(client: client, transport: transport, arrival: Moment.now())
        var done = 0
        hasMessage = false
        while let base = bytes.baseAddress, bytes.count - done >= 2 {
            let length = Int(base.readUInt16(done))
            // A message is never shorter than its header: this client does not speak DNS.
            guard length >= Header.length else {
                inputEnded = true
                return bytes.count
            }
            guard bytes.count - done >= 2 + length else { break }
            guard acceptsQueries(responder), responder.output.hasRoom else {
                hasMessage = true
                break
            }
            let message = UnsafeRawBufferPointer(start: base + done + 2, count: length)
            done += 2 + length
            switch responder.answer(message, request, at: local, replyLater: replyLater) {
            case .written, .nothing: break
            case .close:
                abort()
                return bytes.count
            case .parked:
                parked += 1
                parkedBytes += message.count
            case .transfer(let transfer):
                self.transfer = transfer
                _ = continueTransfer(responder)
            }
        }
        return done
    }

    /// Writes as many of a zone transfer's next messages as fit; returns whether there was one.
    private mutating func continueTransfer(_ responder: StreamResponder) -> Bool {
        guard var transfer else { return false }
        while responder.output.hasRoom, !transfer.isFinished {
            responder.output.commit(transfer.next(into: responder.output.room))
        }
        if transfer.isFinished { transfer.log(to: responder.ring) }
        self.transfer = transfer.isFinished ? nil : transfer
        return true
    }
}
