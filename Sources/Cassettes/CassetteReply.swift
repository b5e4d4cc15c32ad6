import DNSWire
package import Lookup
package import Platform

/// One reply of a cassette to a question.
package struct CassetteReply: Sendable, Equatable {
    /// The message as in a `RecordedMessage`; empty: no server gave a usable answer.
    package var message: [UInt8]
    /// How long upstream took.
    package var microseconds: UInt32
    package var transport: UpstreamTransport
    /// How often it came in sequence, its TTLs aside.
    package var times = 1
    /// Its line in the file; 0: it is in none yet.
    package var line = 0
    /// How it is written; nil: not made yet.
    var text: CassetteText.Message?

    package init(message: [UInt8], microseconds: UInt32, transport: UpstreamTransport) {
        self.message = message
        self.microseconds = microseconds
        self.transport = transport
    }

    package var isSilence: Bool { message.isEmpty }

    package static func == (left: Self, right: Self) -> Bool {
        left.message == right.message && left.microseconds == right.microseconds && left.transport == right.transport
            && left.times == right.times
    }
}

/// The content of a cassette: for each question the replies, in the order in which they came.
package struct CassetteTape: Sendable {
    package internal(set) var replies: [FetchKey: [CassetteReply]] = [:]
    /// An estimate of its file's size, in bytes.
    private(set) var size = 0

    /// What a file may have, and so what is recorded.
    package static let maximumSize = 64 << 20
    /// Bytes of a reply besides its message, which stands there twice.
    private static let overhead = 256

    package init() {}

    package var isEmpty: Bool { replies.isEmpty }
    /// Its questions.
    package var count: Int { replies.count }

    /// Appends a reply, or counts it if it is the last one again; false if the tape is full.
    @discardableResult
    package mutating func append(_ reply: CassetteReply, to key: FetchKey) -> Bool {
        if let last = replies[key]?.last, RecordedMessage.isSame(last.message, reply.message) {
            replies[key]![replies[key]!.count - 1].times += 1
            return true
        }
        return take(reply, for: key)
    }

    /// Appends a reply as it is; false if the tape is full.
    mutating func take(_ reply: CassetteReply, for key: FetchKey) -> Bool {
        let bytes = Self.overhead + key.name.count * 4 + reply.message.count * 4
        guard size + bytes <= Self.maximumSize else { return false }
        size += bytes
        replies[key, default: []].append(reply)
        return true
    }

    /// In canonical order of names, then by type, then without and with DO and CD.
    var sortedKeys: [FetchKey] {
        replies.keys.map { (name: Name(uncheckedWire: $0.name), key: $0) }.sorted { left, right in
            if left.name != right.name { return left.name < right.name }
            return left.key.order < right.key.order
        }.map(\.key)
    }
}

extension FetchKey {
    fileprivate var order: Int { Int(type.rawValue) << 2 | (dnssecOK ? 2 : 0) | (checkingDisabled ? 1 : 0) }

    /// The same question with other flags.
    func with(dnssecOK: Bool, checkingDisabled: Bool) -> FetchKey {
        FetchKey(
            Name(uncheckedWire: name),
            Question(type: type, dnssecOK: dnssecOK, checkingDisabled: checkingDisabled))
    }
}
