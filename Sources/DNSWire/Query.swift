/// A parsed query: offsets into the message, not copies.
///
/// The QNAME is in the `LookupName` that `parse` fills.
/// - RFC: 1035 4.1; 6891 6.1; 7873 4; 7828 3.1; 7830 3; 1995 3.
public struct Query: Sendable, BitwiseCopyable {
    public var id: UInt16 = 0
    public var flags = Header.Flags()
    /// Bytes of QNAME, QTYPE and QCLASS after the header; 0 if there is no readable question.
    public var questionLength = 0
    public var type = RecordType(rawValue: 0)
    public var recordClass = RecordClass(rawValue: 0)
    public var hasEDNS = false
    public var ednsVersion: UInt8 = 0
    /// The UDP payload size that the client accepts, in bytes: at least 512.
    public var payloadSize: UInt16 = UInt16(EDNS.classicPayloadSize)
    public var dnssecOK = false
    /// Offset of the COOKIE option's data in the message; 0 if there is none.
    public var cookieOffset = 0
    /// 8 (client cookie only), or 16 to 40.
    public var cookieLength = 0
    public var wantsKeepalive = false
    public var wantsPadding = false
    public var wantsNSID = false
    /// The serial of the zone version that an IXFR client has.
    public var heldSerial: UInt32 = 0

    public init() {}

    @inlinable
    public var recursionDesired: Bool { flags.contains(.recursionDesired) }
    /// The client understands AD in the response (RFC 6840 5.7).
    @inlinable
    public var wantsAuthenticData: Bool { dnssecOK || flags.contains(.authenticData) }
    @inlinable
    public var checkingDisabled: Bool { flags.contains(.checkingDisabled) }

    /// What to do with a received message.
    public enum Verdict: Sendable, Hashable, BitwiseCopyable {
        /// A well-formed query with one question.
        case resolve
        /// A query without question that only asks for a server cookie (RFC 7873 5.4).
        case cookieOnly
        /// Answered with just this code.
        case fail(ResponseCode)
        /// Not answered: a response, or too short for ID and flags.
        case drop
    }

    /// Parses a received message. This is the one place that decides what is dropped and what gets which RCODE.
    ///
    /// Never traps on any bytes. On `.fail`, `self` and `name` have what could be read.
    public mutating func parse(_ message: UnsafeRawBufferPointer, name: inout LookupName) -> Verdict {
        self = Query()
        guard message.count >= Header.length, let base = message.baseAddress else { return .drop }
        id = base.readUInt16(0)
        flags = Header.Flags(rawValue: base.readUInt16(2))
        // Two servers that answer responses could do so for ever.
        if flags.contains(.response) { return .drop }
        let questions = base.readUInt16(Header.questionCount)
        let additional = Int(base.readUInt16(Header.additionalCount))
        guard flags.opcode == .query else {
            // We don't parse other opcodes' sections, but EDNS is answered with EDNS (RFC 6891 6.1.1).
            if let opt = MessageReader.walk(message)?.opt { _ = readOPT(opt, message) }
            return .fail(.notImplemented)
        }

        var cursor = Header.length
        if questions == 1 {
            let rest = UnsafeRawBufferPointer(rebasing: message[cursor...])
            // A pointer here could only point into the header, so it is invalid.
            let nameLength = name.assign(uncompressed: rest)
            guard nameLength > 0, rest.count >= nameLength + 4 else { return .fail(.formatError) }
            questionLength = nameLength + 4
            type = RecordType(rawValue: base.readUInt16(cursor + nameLength))
            recordClass = RecordClass(rawValue: base.readUInt16(cursor + nameLength + 2))
            cursor += questionLength
        } else if questions > 1 {  // RFC 9619 4
            return .fail(.formatError)
        }
        let answers = base.readUInt16(Header.answerCount)
        let authority = Int(base.readUInt16(Header.authorityCount))
        // Only IXFR includes a record, the client's SOA (RFC 1995 3).
        guard answers == 0, authority == (type == .ixfr ? 1 : 0) else { return .fail(.formatError) }

        for index in 0..<(authority + additional) {
            guard let record = MessageReader.record(message, at: cursor) else { return .fail(.formatError) }
            cursor = record.end
            if index < authority {
                guard record.type == .soa, MessageReader.rdataIsExact(message, record) == true else {
                    return .fail(.formatError)
                }
                heldSerial = base.readUInt32(record.end - 20)
                continue
            }
            if record.type == .opt {
                guard !hasEDNS, message[record.start] == 0, readOPT(record, message) else { return .fail(.formatError) }
            } else if record.type == .tsig {
                // We have no keys, so every key is unknown (RFC 8945 5.2.1); TSIG must be the last record (5.1).
                let isLast = index == authority + additional - 1
                return .fail(isLast ? .notAuth : .formatError)
            }
        }
        // Bytes after the last record are ignored, as other servers do: some clients send a whole buffer.
        if hasEDNS && ednsVersion > 0 { return .fail(.badVersion) }
        if questions == 0 { return cookieLength > 0 ? .cookieOnly : .fail(.formatError) }
        return .resolve
    }

    /// Parses the options; false if one is malformed.
    private mutating func readOPT(_ record: MessageReader.Record, _ message: UnsafeRawBufferPointer) -> Bool {
        let base = message.baseAddress.unsafelyUnwrapped
        hasEDNS = true
        payloadSize = max(record.recordClass.rawValue, UInt16(EDNS.classicPayloadSize))
        ednsVersion = UInt8(truncatingIfNeeded: record.ttl >> 16)
        dnssecOK = UInt16(truncatingIfNeeded: record.ttl) & EDNS.dnssecOK != 0
        // Options of a later EDNS version can't be judged.
        if ednsVersion > 0 { return true }
        var cursor = record.rdata
        while cursor < record.end {
            guard cursor + 4 <= record.end else { return false }
            let code = base.readUInt16(cursor)
            let length = Int(base.readUInt16(cursor + 2))
            cursor += 4
            guard cursor + length <= record.end else { return false }
            switch code {
            case EDNS.Option.cookie where cookieLength == 0:
                guard length == 8 || (16...40).contains(length) else { return false }
                cookieOffset = cursor
                cookieLength = length
            case EDNS.Option.keepalive:
                // A client sends it empty and over streams only; any other form requests nothing (RFC 7828 3.2.1).
                wantsKeepalive = length == 0
            case EDNS.Option.padding: wantsPadding = true
            case EDNS.Option.nsid: wantsNSID = true
            default: break
            }
            cursor += length
        }
        return true
    }
}
