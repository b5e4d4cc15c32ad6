import DNSWire
package import Lookup

/// A response as cassettes hold it: without what differs in each exchange or belongs to two parties alone.
///
/// Its ID is 0, the question's letters are small, and the additional section has only an OPT record, where there is an
/// extended error or an extended RCODE to tell: no cookie, no padding.
package enum RecordedMessage {
    /// The form to hold of a message that answers `key`; nil if the message is malformed or answers something else.
    package static func normalize(_ message: UnsafeRawBufferPointer, _ key: FetchKey) -> [UInt8]? {
        guard let summary = MessageReader.walk(message), isAnswer(message, summary, key) else { return nil }
        var bytes = Array(message[..<summary.end])
        bytes.put(0, at: 0)
        bytes.replaceSubrange(Header.length..<(Header.length + key.name.count), with: key.name)
        bytes.put(UInt16(truncatingIfNeeded: summary.authority), at: 8)
        bytes.put(0, at: 10)
        guard let opt = summary.opt else { return bytes }
        let error = MessageReader.option(EDNS.Option.extendedError, opt, message)
        appendOPT(&bytes, upperCode: UInt8(opt.ttl >> 24), error: error.map { Array($0) })
        return bytes
    }

    /// Whether it is a response to this question, which must be written out in full.
    static func isAnswer(
        _ message: UnsafeRawBufferPointer, _ summary: MessageReader.Summary, _ key: FetchKey
    ) -> Bool {
        let end = Header.length + key.name.count
        guard let base = message.baseAddress, base.readUInt16(4) == 1, summary.questionEnd == end + 4 else {
            return false
        }
        let flags = Header.Flags(rawValue: base.readUInt16(2))
        return flags.contains(.response) && flags.opcode == .query && base.readUInt16(end) == key.type.rawValue
            && base.readUInt16(end + 2) == RecordClass.in.rawValue
            && message[Header.length..<end].elementsEqual(key.name) { ASCII.lowercased($0) == $1 }
    }

    /// Makes a message of parts; nil if it has more than 65,535 bytes.
    static func make(
        _ key: FetchKey, _ code: ResponseCode, _ flags: Header.Flags, answers: [[UInt8]], authority: [[UInt8]],
        error: [UInt8]?
    ) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: Header.length)
        let word = Header.Flags.response.rawValue | flags.rawValue | code.rawValue & 0xF
        guard answers.count <= 65_535, authority.count <= 65_535 else { return nil }
        for (offset, value) in [(2, word), (4, 1), (6, UInt16(answers.count)), (8, UInt16(authority.count))] {
            bytes.put(value, at: offset)
        }
        bytes += key.name
        bytes.append(key.type.rawValue)
        bytes.append(RecordClass.in.rawValue)
        for record in answers + authority {
            bytes += record
            guard bytes.count <= 65_535 else { return nil }
        }
        appendOPT(&bytes, upperCode: UInt8(truncatingIfNeeded: code.rawValue >> 4), error: error)
        return bytes.count <= 65_535 ? bytes : nil
    }

    /// The query for `key`, with ID 0.
    static func query(_ key: FetchKey) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Header.length)
        let flags: Header.Flags = key.checkingDisabled ? [.recursionDesired, .checkingDisabled] : .recursionDesired
        bytes.put(flags.rawValue, at: 2)
        bytes.put(1, at: 4)
        bytes.put(1, at: 10)
        bytes += key.name
        bytes.append(key.type.rawValue)
        bytes.append(RecordClass.in.rawValue)
        bytes += [0]
        bytes.append(RecordType.opt.rawValue)
        bytes.append(UInt16(EDNS.payloadSize))
        bytes.append(0 as UInt16)
        bytes.append(key.dnssecOK ? UInt16(EDNS.dnssecOK) : 0)
        bytes.append(0 as UInt16)
        return bytes
    }

    /// The same with an extended error: SERVFAIL, to tell clients why.
    static func failure(_ key: FetchKey, _ error: ExtendedError, _ text: String) -> [UInt8] {
        // An error's text is never that long.
        make(
            key, .serverFailure, .recursionAvailable, answers: [], authority: [],
            error: [UInt8(error.rawValue >> 8), UInt8(truncatingIfNeeded: error.rawValue)] + text.utf8) ?? []
    }

    static func record(owner: [UInt8], type: RecordType, ttl: UInt32, rdata: [UInt8]) -> [UInt8] {
        var bytes = owner
        bytes.append(type.rawValue)
        bytes.append(RecordClass.in.rawValue)
        bytes.append(UInt16(truncatingIfNeeded: ttl >> 16))
        bytes.append(UInt16(truncatingIfNeeded: ttl))
        bytes.append(UInt16(truncatingIfNeeded: rdata.count))
        return bytes + rdata
    }

    private static func appendOPT(_ bytes: inout [UInt8], upperCode: UInt8, error: [UInt8]?) {
        guard upperCode != 0 || error != nil else { return }
        bytes.put(1, at: 10)
        bytes += [0]
        bytes.append(RecordType.opt.rawValue)
        bytes.append(UInt16(EDNS.payloadSize))
        bytes += [upperCode, 0, 0, 0]
        bytes.append(UInt16(truncatingIfNeeded: error.map { 4 + $0.count } ?? 0))
        guard let error else { return }
        bytes.append(EDNS.Option.extendedError)
        bytes.append(UInt16(truncatingIfNeeded: error.count))
        bytes += error
    }

    /// Whether two such messages differ in TTLs at most.
    static func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        guard left.count == right.count else { return false }
        if left == right { return true }
        return withoutTTLs(left) == withoutTTLs(right)
    }

    private static func withoutTTLs(_ message: [UInt8]) -> [UInt8] {
        var bytes = message
        message.withUnsafeBytes { message in
            guard let summary = MessageReader.walk(message) else { return }
            var cursor = summary.records
            for _ in 0..<(summary.answers + summary.authority) {
                guard let record = MessageReader.record(message, at: cursor) else { return }
                // TTL and length stand before the RDATA.
                bytes.put(0, at: record.rdata - 6)
                bytes.put(0, at: record.rdata - 4)
                cursor = record.end
            }
        }
        return bytes
    }
}

extension [UInt8] {
    fileprivate mutating func put(_ value: UInt16, at offset: Int) {
        self[offset] = UInt8(value >> 8)
        self[offset + 1] = UInt8(truncatingIfNeeded: value)
    }

    fileprivate mutating func append(_ value: UInt16) {
        append(UInt8(value >> 8))
        append(UInt8(truncatingIfNeeded: value))
    }
}
