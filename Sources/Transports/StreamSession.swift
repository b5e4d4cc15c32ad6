import DNSWire
import Lookup
import LookupLog
import Platform

/// The messages of one stream, whatever carries its bytes: takes them apart, has each answered as soon as its answer is
/// there, in any order, and says when to wait.
///
/// Answers gather in the responder's `output`. Who carries the bytes sends that and empties it after each call here, calls
/// `proceed` for as long as `canProceed` says so and the peer takes what is sent, reads while `wantsInput`, and closes
/// when the session `isFinished`.
///
/// - RFC: 7766 6.2, 7; 1035 4.2.2.
struct StreamSession {
    private let client: SocketAddress
    private let transport: Transport
    /// What has come and is not taken up: part of a message, or what a limit keeps waiting.
    private var waiting: [UInt8] = []
    /// Queries that wait for upstream.
    private(set) var parked = 0
    private var transfer: ZoneTransfer?
    /// The client sends no more, or no DNS.
    private var inputEnded = false
    /// A whole message, or what can't become one, is at the front of `waiting`.
    private var hasMessage = false

    init(client: SocketAddress, transport: Transport) {
        self.client = client
        self.transport = transport
    }

    // MARK: What the carrier asks

    /// Whether `proceed` has something to do.
    func canProceed(_ responder: StreamResponder) -> Bool {
        transfer != nil || hasMessage && mayTakeUp(responder)
    }

    /// Whether more bytes are welcome. While something waits they are not, so that what waits is bounded.
    func wantsInput(_ responder: StreamResponder) -> Bool {
        !inputEnded && !hasMessage && mayTakeUp(responder)
    }

    /// Nothing is owed to the client but what has been sent.
    var isIdle: Bool { parked == 0 && transfer == nil }

    /// All that was asked is answered, and nothing more will be.
    var isFinished: Bool { inputEnded && !hasMessage && isIdle }

    private func mayTakeUp(_ responder: StreamResponder) -> Bool {
        !responder.isEnding && transfer == nil && parked < responder.limits.maximumPipelined
    }

    // MARK: What happens

    /// Takes bytes in; whether a message was among them.
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

    /// The client has said all it will say. What it still waits for is answered.
    mutating func endInput() { inputEnded = true }

    /// Goes on with what had to wait; whether anything came of it.
    mutating func proceed(_ responder: StreamResponder, replyLater: () -> ParkedQuery.Reply) -> Bool {
        let hasSent = continueTransfer(responder)
        guard !waiting.isEmpty else { return hasSent }
        var bytes: [UInt8] = []
        swap(&bytes, &waiting)
        let done = bytes.withUnsafeBytes { answerMessages(in: $0, responder, replyLater) }
        // Given back as a whole when it is used up: an idle stream holds no memory.
        guard done < bytes.count else { return true }
        if done > 0 { bytes.removeFirst(done) }
        swap(&bytes, &waiting)
        return hasSent || done > 0
    }

    /// Takes the answer to a query that was parked; empty: there is none. The output has room.
    mutating func finishParked(_ reply: UnsafeRawBufferPointer, _ responder: StreamResponder) {
        parked -= 1
        if !reply.isEmpty { responder.output.append(reply) }
    }

    /// The stream is no more.
    mutating func end(_ responder: StreamResponder) {
        transfer?.log(to: responder.ring)
        transfer = nil
        waiting = []
        hasMessage = false
        inputEnded = true
    }

    // MARK: Messages

    /// Answers the whole messages at the front of `bytes` until one of the limits says to wait; returns the number of
    /// bytes that are done with.
    private mutating func answerMessages(
        in bytes: UnsafeRawBufferPointer, _ responder: StreamResponder, _ replyLater: () -> ParkedQuery.Reply
    ) -> Int {
        let request = Lookup.Request(client: client, transport: transport, arrival: Moment.now())
        var done = 0
        hasMessage = false
        while let base = bytes.baseAddress, bytes.count - done >= 2 {
            let length = Int(base.readUInt16(done))
            // No message is shorter than its header: whoever sends this does not speak DNS.
            guard length >= Header.length else {
                inputEnded = true
                return bytes.count
            }
            guard bytes.count - done >= 2 + length else { break }
            guard mayTakeUp(responder), responder.output.hasRoom else {
                hasMessage = true
                break
            }
            let message = UnsafeRawBufferPointer(start: base + done + 2, count: length)
            done += 2 + length
            switch responder.answer(message, request, replyLater: replyLater) {
            case .written, .nothing: break
            case .parked: parked += 1
            case .transfer(let transfer):
                self.transfer = transfer
                _ = continueTransfer(responder)
            }
        }
        return done
    }

    /// Writes the next messages of a zone transfer, as many as there is room for; whether there was one.
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
