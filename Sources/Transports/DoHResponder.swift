import Lookup
import LookupLog
import NIOCore
import Platform

/// Answers the requests of one connection: the part that HTTP/1.1 and HTTP/2 share.
struct DoHResponder {
    private let responder: StreamResponder
    let connection: EncryptedConnection

    init(_ loop: EncryptedLoop, _ connection: EncryptedConnection) {
        responder = loop.responder
        self.connection = connection
    }

    /// The response; nil: `finish` gets the message later, on this event loop (empty: no response).
    func answer(_ request: DoHRequest, finish: NIOLoopBound<([UInt8]) -> Void>) -> DoHResponse? {
        connection.touch()
        responder.refresh()
        let message: [UInt8]
        switch request.message() {
        case .failure(let status): return DoHResponse(failure: status)
        case .success(let bytes): message = bytes
        }
        let query = Lookup.Request(client: connection.client, transport: .doh, arrival: Moment.now())
        let loop = connection.channel.eventLoop
        let bound = NIOLoopBound(connection, eventLoop: loop)
        let answer = message.withUnsafeBytes {
            responder.answer($0, query, at: connection.local) {
                .stream { reply in
                    let copy = StreamReplyCopy(reply)
                    loop.execute {
                        copy.withReply { reply in
                            switch reply {
                            case .message(let bytes, _): finish.value(Array(bytes))
                            case .nothing: finish.value([])
                            case .close: bound.value.abort()
                            }
                        }
                    }
                }
            }
        }
        switch answer {
        case .written:
            defer { responder.output.removeAll() }
            return DoHResponse(message: UnsafeRawBufferPointer(rebasing: responder.output.bytes.dropFirst(2)))
        case .parked:
            connection.outstanding += 1
            return nil
        case .nothing, .transfer: return DoHResponse(failure: .badRequest)
        case .close:
            connection.abort()
            return nil
        }
    }

    /// The response with the answer to a parked query.
    func response(_ message: [UInt8]) -> DoHResponse {
        message.isEmpty ? DoHResponse(failure: .badRequest) : message.withUnsafeBytes { DoHResponse(message: $0) }
    }
}
