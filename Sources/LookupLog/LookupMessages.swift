internal import DNSWire
import Platform

/// Rebuilds query and response messages from a record, for dnstap and packet captures.
///
/// A record holds the response's header, question and records as sent, but of the query only what was parsed. Rebuilt
/// are the whole query (ID, flags, question, OPT without options) and the response's OPT (without reason, cookie,
/// keepalive, NSID and padding). Of EDNS, the rebuilt messages show payload size, DO, extended RCODE and extended
/// error.
extension LookupRecord {
    /// Appends the query. Its EDNS version is not stored and shown as 0.
    func appendQuery(to bytes: inout LineBuffer) {
        bytes.append(word: messageID)
        bytes.append(word: flags.rawValue)
        let question = question
        bytes.append(word: question.isEmpty ? 0 : 1)
        bytes.append(word: 0)
        bytes.append(word: 0)
        bytes.append(word: payloadSize == nil ? 0 : 1)
        bytes.append(question)
        guard let payloadSize else { return }
        bytes.appendOPT(payloadSize: payloadSize, extendedCode: 0, dnssecOK: dnssecOK)
        bytes.append(word: 0)
    }

    /// Appends the response as the client got it: a truncated one without records. If the record has only part of a
    /// long response, the rest is left out and TC is set.
    func appendResponse(to bytes: inout LineBuffer) {
        let message = message
        var flags = Header.Flags(rawValue: responseFlags)
        var counts: (UInt16, UInt16, UInt16) = (0, 0, 0)
        var end = Header.length + question.count
        if isTruncated {
            flags.insert(.truncated)
        } else if let base = message.baseAddress, message.count >= Header.length {
            let isWhole =
                walk(base.readUInt16(6), &counts.0, &end) && walk(base.readUInt16(8), &counts.1, &end)
                && walk(base.readUInt16(10), &counts.2, &end)
            if !isWhole { flags.insert(.truncated) }
        }
        bytes.append(word: messageID)
        bytes.append(word: flags.rawValue)
        bytes.append(word: question.isEmpty ? 0 : 1)
        bytes.append(word: counts.0)
        bytes.append(word: counts.1)
        bytes.append(word: counts.2 + (payloadSize == nil ? 0 : 1))
        if end > Header.length { bytes.append(UnsafeRawBufferPointer(rebasing: message[Header.length..<end])) }
        if let payloadSize { appendResponseOPT(payloadSize, length: end, to: &bytes) }
    }

    /// Skips `count` records of a section; false if one of them is incomplete.
    private func walk(_ count: UInt16, _ whole: inout UInt16, _ end: inout Int) -> Bool {
        while whole < count {
            // The record's name, which may point anywhere before it, must not depend on bytes that may be cut off.
            guard let record = MessageReader.record(message, at: end),
                MessageReader.endOfName(UnsafeRawBufferPointer(rebasing: message[..<record.end]), at: end) != nil
            else { return false }
            end = record.end
            whole += 1
        }
        return true
    }

    /// The response's OPT, as far as the record has it; `length` is the length of what precedes it.
    private func appendResponseOPT(_ payloadSize: UInt16, length: Int, to bytes: inout LineBuffer) {
        let code = responseCode?.rawValue ?? 0
        bytes.appendOPT(
            payloadSize: UInt16(EDNS.payloadSize), extendedCode: UInt8(truncatingIfNeeded: code >> 4),
            dnssecOK: dnssecOK)
        // The same limit as for the response: parts that did not fit are left out.
        let limit = transport == .udp ? min(Int(payloadSize), EDNS.payloadSize) : 65_535
        let room = limit - length - EDNS.optLength
        guard let error = extendedError, room >= 6 else { return bytes.append(word: 0) }
        let text = 6 + extendedText.count <= room ? extendedText : UnsafeRawBufferPointer(start: nil, count: 0)
        bytes.append(word: UInt16(truncatingIfNeeded: 6 + text.count))
        bytes.append(word: EDNS.Option.extendedError)
        bytes.append(word: UInt16(truncatingIfNeeded: 2 + text.count))
        bytes.append(word: error.rawValue)
        bytes.append(text)
    }

    private var messageID: UInt16 {
        guard let base = message.baseAddress, message.count >= Header.length else { return 0 }
        return base.readUInt16(0)
    }

    private var responseFlags: UInt16 {
        guard let base = message.baseAddress, message.count >= Header.length else {
            return Header.Flags.response.rawValue | (responseCode?.rawValue ?? 0) & 0xF
        }
        return base.readUInt16(2)
    }

    /// QNAME, QTYPE and QCLASS; empty if there was no readable question.
    private var question: UnsafeRawBufferPointer {
        guard hasQuestion, message.count >= answersStart else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        return UnsafeRawBufferPointer(rebasing: message[Header.length..<answersStart])
    }
}

extension LineBuffer {
    /// Two bytes in network byte order.
    mutating func append(word: UInt16) {
        append(UInt8(truncatingIfNeeded: word >> 8))
        append(UInt8(truncatingIfNeeded: word))
    }

    /// Four bytes in network byte order.
    mutating func append(long: UInt32) {
        append(word: UInt16(truncatingIfNeeded: long >> 16))
        append(word: UInt16(truncatingIfNeeded: long))
    }

    /// An OPT record up to its TTL; the caller appends the options with their length.
    ///
    /// - RFC: 6891 6.1.2.
    fileprivate mutating func appendOPT(payloadSize: UInt16, extendedCode: UInt8, dnssecOK: Bool) {
        append(0)
        append(word: RecordType.opt.rawValue)
        append(word: payloadSize)
        append(extendedCode)
        append(0)
        append(word: dnssecOK ? EDNS.dnssecOK : 0)
    }
}
