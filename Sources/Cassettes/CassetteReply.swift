import DNSWire
import Glibc
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
    /// The largest file that is read: the text of what is not full may be longer than was reckoned.
    package static let largestFile = 4 * maximumSize
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
        replies.keys.map { (order: $0.order, key: $0) }.sorted { left, right in
            left.order.withUnsafeBytes { left in
                right.order.withUnsafeBytes { right in
                    // Both have bytes: those of the type.
                    let order = memcmp(left.baseAddress!, right.baseAddress!, min(left.count, right.count))
                    return order == 0 ? left.count < right.count : order < 0
                }
            }
        }.map(\.key)
    }
}

extension FetchKey {
    /// Bytes that sort as the names do in canonical order (RFC 4034 6.1), then as types and flags do.
    fileprivate var order: [UInt8] {
        var starts: [Int] = []
        var start = 0
        while name[start] != 0 {
            starts.append(start)
            start += Int(name[start]) + 1
        }
        var order: [UInt8] = []
        order.reserveCapacity(name.count + 4)
        for start in starts.reversed() {
            for byte in name[(start + 1)...(start + Int(name[start]))] {
                // A label's end sorts before any of its bytes.
                if byte < 2 { order.append(1) }
                order.append(byte < 2 ? byte + 1 : byte)
            }
            order.append(0)
        }
        order += [0, UInt8(type.rawValue >> 8), UInt8(truncatingIfNeeded: type.rawValue)]
        order.append((dnssecOK ? 2 : 0) | (checkingDisabled ? 1 : 0))
        return order
    }

    /// The same question with other flags.
    func with(dnssecOK: Bool, checkingDisabled: Bool) -> FetchKey {
        FetchKey(
            Name(uncheckedWire: name),
            Question(type: type, dnssecOK: dnssecOK, checkingDisabled: checkingDisabled))
    }
}
