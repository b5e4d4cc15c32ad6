/// A strict parser for messages from the wire: bounds, names, pointers.
///
/// Every message from upstream passes `walk` before libldns or the cache sees it.
/// - RFC: 1035 4.1; 6891 6.1.1 (one OPT); 8945 5.1 (TSIG last); 9619 4 (one question).
public enum MessageReader {
    /// One record: offsets into its message.
    public struct Record: Sendable, BitwiseCopyable {
        /// Where the owner name starts.
        public var start: Int
        public var type: RecordType
        public var recordClass: RecordClass
        public var ttl: UInt32
        /// Where the RDATA starts.
        public var rdata: Int
        /// One past the RDATA.
        public var end: Int

        public var rdataLength: Int { end - rdata }
    }

    private static let maximumJumps = 127

    /// The end of the name at `offset`; nil unless it has valid labels, only backward pointers, and at most 255 bytes.
    public static func endOfName(_ message: UnsafeRawBufferPointer, at offset: Int) -> Int? {
        var cursor = offset
        var lowest = offset
        var end: Int?
        var total = 0
        var jumps = 0
        while true {
            guard cursor < message.count else { return nil }
            let length = Int(message[cursor])
            if length >= 0xC0 {
                guard cursor + 1 < message.count else { return nil }
                let target = (length & 0x3F) << 8 | Int(message[cursor + 1])
                if end == nil { end = cursor + 2 }
                // One pointer per label always suffices; more would make a small message slow to walk.
                jumps += 1
                guard target < lowest, target >= Header.length, jumps <= maximumJumps else { return nil }
                lowest = target
                cursor = target
                continue
            }
            total += length + 1
            guard length <= Name.maximumLabelLength, total <= Name.maximumLength else { return nil }
            cursor += length + 1
            if length == 0 { return end ?? cursor }
        }
    }

    /// The record at `offset`; nil if it does not fit into the message.
    public static func record(_ message: UnsafeRawBufferPointer, at offset: Int) -> Record? {
        guard let nameEnd = endOfName(message, at: offset), nameEnd + 10 <= message.count,
            let base = message.baseAddress
        else { return nil }
        let rdata = nameEnd + 10
        let end = rdata + Int(base.readUInt16(nameEnd + 8))
        guard end <= message.count else { return nil }
        return Record(
            start: offset, type: RecordType(rawValue: base.readUInt16(nameEnd)),
            recordClass: RecordClass(rawValue: base.readUInt16(nameEnd + 2)), ttl: base.readUInt32(nameEnd + 4),
            rdata: rdata, end: end)
    }

    /// Where RDATA has names that RFC 1035 allows to be compressed: the number of bytes before them, of names, and of
    /// bytes after them. Nil for types whose RDATA is opaque on the wire.
    ///
    /// - RFC: 3597 4; 1035 3.3.
    @inlinable
    public static func compressibleNames(_ type: RecordType) -> (before: Int, names: Int, after: Int)? {
        switch type.rawValue {
        case 2, 3, 4, 5, 7, 8, 9, 12: (0, 1, 0)  // NS MD MF CNAME MB MG MR PTR
        case 6: (0, 2, 20)  // SOA
        case 14: (0, 2, 0)  // MINFO
        case 15: (2, 1, 0)  // MX
        default: nil
        }
    }

    /// The contents of a message that has been walked.
    public struct Summary: Sendable, BitwiseCopyable {
        public var questionEnd = Header.length
        public var answers = 0
        public var authority = 0
        public var additional = 0
        /// Where the first record starts.
        public var records: Int { questionEnd }
        /// Where the records of the answer section end, and of the authority section, if that is sound.
        public var end = Header.length
        public var opt: Record?
        /// The authority section is as it should be; otherwise `authority` is 0.
        public var hasAuthority = true
        /// So is the additional section.
        public var isSound = true
        /// Where the last record ends, if all are sound.
        public var length = Header.length
        /// Whether the walk has checked all RDATA up to `end` to the last byte.
        public var isWhollyKnown = true

        public init() {}
    }

    /// Walks the message; nil if its question or its answer section is malformed.
    ///
    /// At most one question. Names in compressible RDATA are walked too and must fill it exactly. Faults of later
    /// sections, and what follows the last record, are only noted: other resolvers ignore them.
    public static func walk(_ message: UnsafeRawBufferPointer) -> Summary? {
        guard message.count >= Header.length, let base = message.baseAddress else { return nil }
        var summary = Summary()
        let questions = base.readUInt16(Header.questionCount)
        guard questions <= 1 else { return nil }
        var cursor = Header.length
        if questions == 1 {
            guard let end = endOfName(message, at: cursor), end + 4 <= message.count else { return nil }
            cursor = end + 4
        }
        summary.questionEnd = cursor
        summary.answers = Int(base.readUInt16(Header.answerCount))
        summary.authority = Int(base.readUInt16(Header.authorityCount))
        summary.additional = Int(base.readUInt16(Header.additionalCount))
        guard walkRecords(message, summary.answers, from: &cursor, &summary.isWhollyKnown) else { return nil }
        summary.end = cursor
        var isKnown = summary.isWhollyKnown
        if walkRecords(message, summary.authority, from: &cursor, &isKnown) {
            summary.end = cursor
            summary.isWhollyKnown = isKnown
        } else {
            summary.hasAuthority = false
            summary.isSound = false
            cursor = summary.end
            for _ in 0..<summary.authority { cursor = record(message, at: cursor)?.end ?? message.count }
            summary.authority = 0
        }
        walkAdditional(message, from: cursor, &summary)
        return summary
    }

    /// Walks the records of the answer or authority section; false at the first that is malformed.
    private static func walkRecords(
        _ message: UnsafeRawBufferPointer, _ count: Int, from cursor: inout Int, _ isWhollyKnown: inout Bool
    ) -> Bool {
        for _ in 0..<count {
            guard let record = record(message, at: cursor), record.type != .opt, record.type != .tsig,
                let isKnown = rdataIsExact(message, record)
            else { return false }
            cursor = record.end
            isWhollyKnown = isWhollyKnown && isKnown
        }
        return true
    }

    /// Walks the additional section as far as it can be read, and finds OPT.
    private static func walkAdditional(
        _ message: UnsafeRawBufferPointer, from start: Int, _ summary: inout Summary
    ) {
        var cursor = start
        for index in 0..<summary.additional {
            guard let record = record(message, at: cursor) else {
                summary.isSound = false
                return
            }
            cursor = record.end
            switch record.type {
            case .opt where summary.opt == nil && message[record.start] == 0: summary.opt = record
            case .opt: summary.isSound = false
            case .tsig: summary.isSound = summary.isSound && index == summary.additional - 1
            default: summary.isSound = summary.isSound && rdataIsExact(message, record) != nil
            }
        }
        summary.length = cursor
    }

    /// Whether the record's RDATA is known to be valid: addresses by length, compressible types by names that fill it.
    /// False if the type is unknown here; nil if the RDATA is invalid.
    static func rdataIsExact(_ message: UnsafeRawBufferPointer, _ record: Record) -> Bool? {
        if record.recordClass == .in {
            if record.type == .a { return record.rdataLength == 4 ? true : nil }
            if record.type == .aaaa { return record.rdataLength == 16 ? true : nil }
        }
        guard let names = compressibleNames(record.type) else { return false }
        var cursor = record.rdata + names.before
        for _ in 0..<names.names {
            guard cursor < record.end, let end = endOfName(message, at: cursor) else { return nil }
            cursor = end
        }
        return cursor + names.after == record.end ? true : nil
    }
}

extension MessageReader {
    /// The data of the first option `code` in an OPT record's RDATA; nil if it is missing or the options are malformed.
    public static func option(
        _ code: UInt16, _ opt: Record, _ message: UnsafeRawBufferPointer
    ) -> UnsafeRawBufferPointer? {
        let base = message.baseAddress.unsafelyUnwrapped
        var cursor = opt.rdata
        while cursor + 4 <= opt.end {
            let start = cursor + 4
            let end = start + Int(base.readUInt16(cursor + 2))
            guard end <= opt.end else { return nil }
            if base.readUInt16(cursor) == code { return UnsafeRawBufferPointer(rebasing: message[start..<end]) }
            cursor = end
        }
        return nil
    }

    /// Whether the (possibly compressed) name at `offset` equals the suffix of `other` from label `label` on.
    ///
    /// `offset` must have been walked, so that pointers are known to go backwards.
    public static func name(
        _ message: UnsafeRawBufferPointer, at offset: Int, equals other: borrowing LookupName, from label: Int = 0
    ) -> Bool {
        let wanted = other.suffix(at: label)
        var cursor = offset
        var position = 0
        while cursor < message.count {
            let length = Int(message[cursor])
            if length >= 0xC0 {
                guard cursor + 1 < message.count else { return false }
                let target = (length & 0x3F) << 8 | Int(message[cursor + 1])
                guard target < cursor else { return false }
                cursor = target
                continue
            }
            guard position + length < wanted.count, cursor + length < message.count,
                wanted[position] == UInt8(truncatingIfNeeded: length)
            else { return false }
            if length == 0 { return position + 1 == wanted.count }
            for index in 1...length where ASCII.lowercased(message[cursor + index]) != wanted[position + index] {
                return false
            }
            position += length + 1
            cursor += length + 1
        }
        return false
    }

    /// Appends the uncompressed form of the name at `offset`, preserving case; false if it is invalid.
    public static func expandName(
        _ message: UnsafeRawBufferPointer, at offset: Int, into bytes: inout [UInt8]
    ) -> Bool {
        guard endOfName(message, at: offset) != nil else { return false }
        var cursor = offset
        while true {
            let length = Int(message[cursor])
            if length >= 0xC0 {
                cursor = (length & 0x3F) << 8 | Int(message[cursor + 1])
                continue
            }
            bytes += message[cursor...(cursor + length)]
            if length == 0 { return true }
            cursor += length + 1
        }
    }

    /// Appends RDATA with all names uncompressed; false if a name is invalid or does not fit.
    ///
    /// Includes newer types, whose names some senders compress although that is forbidden.
    /// - RFC: 3597 4.
    public static func expandRDATA(
        _ message: UnsafeRawBufferPointer, _ record: Record, into bytes: inout [UInt8]
    ) -> Bool {
        let names: (before: Int, names: Int, after: Int)
        switch record.type.rawValue {
        case 17: names = (0, 2, 0)  // RP
        case 18, 21, 36: names = (2, 1, 0)  // AFSDB RT KX
        case 26: names = (2, 2, 0)  // PX
        case 33: names = (6, 1, 0)  // SRV
        case 39: names = (0, 1, 0)  // DNAME
        default:
            guard let known = compressibleNames(record.type) else {
                bytes += message[record.rdata..<record.end]
                return true
            }
            names = known
        }
        var cursor = record.rdata + names.before
        guard cursor <= record.end else { return false }
        bytes += message[record.rdata..<cursor]
        for _ in 0..<names.names {
            guard cursor < record.end, let end = endOfName(message, at: cursor), end <= record.end,
                expandName(message, at: cursor, into: &bytes)
            else { return false }
            cursor = end
        }
        guard cursor + names.after == record.end else { return false }
        bytes += message[cursor..<record.end]
        return true
    }
}
