/// Writes one response into a buffer that the caller owns (the send slot), with name compression.
///
/// Records are appended in order of sections. A record that does not fit is not written, and sets `truncated`.
/// - RFC: 1035 4.1.4; 2181 9 for truncation; 3597 4 for which names are compressed.
public struct ResponseBuilder {
    public enum Section: Int, Sendable, BitwiseCopyable { case answer, authority, additional }

    /// A position to return to with `rollback`.
    public struct Mark: Sendable, BitwiseCopyable {
        /// Bytes of the message.
        public let length: Int
        public let answers: UInt16
        let authority: UInt16
        let additional: UInt16
        let section: Section
        let suffixCount: Int
    }

    /// The start of the message; valid as long as the caller's buffer.
    public private(set) var base: UnsafeMutableRawPointer
    /// Bytes available to records: the client's limit minus the bytes reserved for OPT.
    public private(set) var capacity: Int
    /// Bytes written.
    public private(set) var length: Int
    /// One past the question section.
    public private(set) var questionEnd: Int
    /// The section of the next record.
    public private(set) var section = Section.answer
    /// A record of the answer or authority section did not fit (TC=1), or `requireWhole` was called.
    public private(set) var truncated = false
    public private(set) var answers: UInt16 = 0
    public private(set) var authority: UInt16 = 0
    public private(set) var additional: UInt16 = 0

    // Suffixes already in the message: their offsets and uncompressed lengths.
    private var suffixOffsets = InlineArray<32, UInt16>(repeating: 0)
    private var suffixLengths = InlineArray<32, UInt8>(repeating: 0)
    private var suffixCount = 0

    /// Starts the response to `query`: copies ID and question, and leaves flags and counts to `finish`.
    ///
    /// `reserved` bytes of `buffer` are kept free for the OPT record. `buffer` has at least 512 bytes, and more than
    /// the question plus `reserved`.
    public init(
        buffer: UnsafeMutableRawBufferPointer, query: borrowing Query, message: UnsafeRawBufferPointer, reserved: Int
    ) {
        self.init()
        begin(buffer, query: query, message: message, reserved: reserved)
    }

    /// Starts the response to another query, reusing this value; old contents are ignored.
    public mutating func begin(
        _ buffer: UnsafeMutableRawBufferPointer, query: borrowing Query, message: UnsafeRawBufferPointer, reserved: Int
    ) {
        base = buffer.baseAddress.unsafelyUnwrapped
        capacity = buffer.count - reserved
        questionEnd = Header.length + query.questionLength
        length = questionEnd
        section = .answer
        truncated = false
        answers = 0
        authority = 0
        additional = 0
        suffixCount = 0
        base.copyMemory(from: message.baseAddress.unsafelyUnwrapped, byteCount: questionEnd)
    }

    /// A placeholder that accepts no record.
    public static var withoutBuffer: ResponseBuilder { ResponseBuilder() }

    /// Memory for the header that `finish` would write; never read.
    private nonisolated(unsafe) static let blank = UnsafeMutableRawPointer.allocate(
        byteCount: Header.length, alignment: 8)

    private init() {
        base = Self.blank
        capacity = Header.length
        questionEnd = Header.length
        length = Header.length
    }

    /// The message so far.
    public var message: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: length) }

    public var mark: Mark {
        Mark(
            length: length, answers: answers, authority: authority, additional: additional, section: section,
            suffixCount: suffixCount)
    }

    /// The start of the answer section.
    public var start: Mark {
        Mark(length: questionEnd, answers: 0, authority: 0, additional: 0, section: .answer, suffixCount: 0)
    }

    /// Removes everything written since `mark`, and restores `truncated`.
    public mutating func rollback(to mark: Mark) {
        length = mark.length
        answers = mark.answers
        authority = mark.authority
        additional = mark.additional
        section = mark.section
        suffixCount = mark.suffixCount
        truncated = false
    }

    /// Removes the additional records, which start at `offset`.
    public mutating func dropAdditional(from offset: Int) {
        length = offset
        additional = 0
        while suffixCount > 0, Int(suffixOffsets[suffixCount - 1]) >= offset { suffixCount -= 1 }
    }

    /// Removes all records; the response then tells the client to retry over TCP.
    public mutating func truncate() {
        length = questionEnd
        answers = 0
        authority = 0
        additional = 0
        section = .answer
        suffixCount = 0
        truncated = true
    }

    /// Switches to a later section.
    public mutating func begin(_ section: Section) {
        assert(section.rawValue >= self.section.rawValue)
        self.section = section
    }

    /// The offset where the name at `offset` begins: the target, if it is just a pointer.
    public func resolvePointer(at offset: Int) -> Int {
        let first = Int(base.load(fromByteOffset: offset, as: UInt8.self))
        guard first >= 0xC0 else { return offset }
        return (first & 0x3F) << 8 | Int(base.load(fromByteOffset: offset + 1, as: UInt8.self))
    }

    // MARK: Records

    /// How a record's owner name is given.
    public enum Owner: BitwiseCopyable {
        /// The name at this offset of the message (12 is the QNAME).
        case at(Int)
        /// An uncompressed name, which is compressed if possible.
        case name(UnsafeRawPointer, length: Int)
        /// `length` bytes of whole labels, followed by the name at this offset of the message.
        case below(UnsafeRawPointer, length: Int, at: Int)
    }

    /// Appends one record. Names in `rdata` are uncompressed, and are compressed if the type allows it. Returns whether
    /// it fit.
    @discardableResult
    public mutating func append(
        owner: Owner, type: RecordType, recordClass: RecordClass = .in, ttl: UInt32, rdata: UnsafeRawBufferPointer
    ) -> Bool {
        let start = mark
        guard beginRecord(owner: owner, type: type, recordClass: recordClass, ttl: ttl) else {
            return overflow(start)
        }
        let rdataStart = length
        if let names = MessageReader.compressibleNames(type) {
            var cursor = 0
            guard appendBytes(rdata, from: &cursor, count: names.before) else { return overflow(start) }
            for _ in 0..<names.names {
                let nameLength = Self.lengthOfName(rdata, at: cursor)
                guard nameLength > 0,
                    appendName(rdata.baseAddress.unsafelyUnwrapped + cursor, length: nameLength)
                else { return overflow(start) }
                cursor += nameLength
            }
            guard appendBytes(rdata, from: &cursor, count: rdata.count - cursor) else { return overflow(start) }
        } else {
            var cursor = 0
            guard appendBytes(rdata, from: &cursor, count: rdata.count) else { return overflow(start) }
        }
        endRecord(rdataStart: rdataStart)
        return true
    }

    /// Appends a CNAME to `target`; returns the target's offset in the message, nil if it did not fit.
    public mutating func appendCNAME(
        owner: Owner, ttl: UInt32, target: UnsafeRawBufferPointer
    ) -> Int? {
        let start = mark
        guard beginRecord(owner: owner, type: .cname, recordClass: .in, ttl: ttl) else {
            _ = overflow(start)
            return nil
        }
        let rdataStart = length
        guard appendName(target.baseAddress.unsafelyUnwrapped, length: target.count) else {
            _ = overflow(start)
            return nil
        }
        endRecord(rdataStart: rdataStart)
        return rdataStart
    }

    private mutating func beginRecord(
        owner: Owner, type: RecordType, recordClass: RecordClass, ttl: UInt32
    ) -> Bool {
        switch owner {
        case .at(let offset) where offset < 0x4000:
            guard length + 2 <= capacity else { return false }
            base.write(UInt16(0xC000 | offset), at: length)
            length += 2
        case .at(let offset):
            // Beyond the range of a pointer, so it is written in full. Such names are rare, because chains are limited.
            guard appendCopy(of: offset) else { return false }
        case .name(let bytes, let count):
            guard appendName(bytes, length: count) else { return false }
        case .below(let bytes, let count, let offset):
            assert(offset < 0x4000)
            guard length + count + 2 <= capacity else { return false }
            (base + length).copyMemory(from: bytes, byteCount: count)
            base.write(UInt16(0xC000 | offset), at: length + count)
            length += count + 2
        }
        guard length + 10 <= capacity else { return false }
        base.write(type.rawValue, at: length)
        base.write(recordClass.rawValue, at: length + 2)
        base.write(ttl, at: length + 4)
        length += 10
        return true
    }

    private mutating func endRecord(rdataStart: Int) {
        base.write(UInt16(truncatingIfNeeded: length - rdataStart), at: rdataStart - 2)
        switch section {
        case .answer: answers &+= 1
        case .authority: authority &+= 1
        case .additional: additional &+= 1
        }
    }

    private mutating func overflow(_ start: Mark) -> Bool {
        let inAdditional = section == .additional
        let was = truncated
        rollback(to: start)
        // Additional records are optional: omitting one is no truncation (RFC 2181 9).
        truncated = was || !inAdditional
        return false
    }

    /// Reports that a required additional record is missing (RFC 9471 3: glue).
    public mutating func requireWhole() { truncated = true }

    private mutating func appendBytes(_ source: UnsafeRawBufferPointer, from cursor: inout Int, count: Int) -> Bool {
        guard count >= 0, cursor + count <= source.count, length + count <= capacity else { return false }
        if count > 0 {
            (base + length).copyMemory(from: source.baseAddress.unsafelyUnwrapped + cursor, byteCount: count)
        }
        length += count
        cursor += count
        return true
    }

    // MARK: Names

    /// The length of the uncompressed name at `offset`; 0 if it does not end within `bytes`.
    private static func lengthOfName(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int {
        var cursor = offset
        while cursor < bytes.count {
            let label = Int(bytes[cursor])
            guard label <= Name.maximumLabelLength else { return 0 }
            cursor += label + 1
            if label == 0 { return cursor - offset <= Name.maximumLength ? cursor - offset : 0 }
        }
        return 0
    }

    /// Writes an uncompressed name, with a pointer to a suffix that is already in the message if there is one.
    private mutating func appendName(_ name: UnsafeRawPointer, length nameLength: Int) -> Bool {
        if suffixCount == 0 && questionEnd > Header.length { registerQuestion() }
        var cursor = 0
        let start = length
        while true {
            let label = Int(name.readByte(cursor))
            if label == 0 {
                guard length + 1 <= capacity else { return false }
                base.write(UInt8(0), at: length)
                length += 1
                return true
            }
            if let target = findSuffix(name + cursor, length: nameLength - cursor) {
                guard length + 2 <= capacity else { return false }
                base.write(UInt16(0xC000) | target, at: length)
                length += 2
                return true
            }
            guard length + label + 1 <= capacity else { return false }
            // Registers only the first few labels of a name, which bounds the work per name.
            if cursor == 0 || length - start < 64 { register(offset: length, suffixLength: nameLength - cursor) }
            (base + length).copyMemory(from: name + cursor, byteCount: label + 1)
            length += label + 1
            cursor += label + 1
        }
    }

    /// Appends an uncompressed copy of the (possibly compressed) name at `offset`.
    private mutating func appendCopy(of offset: Int) -> Bool {
        var cursor = offset
        while true {
            let label = Int(base.load(fromByteOffset: cursor, as: UInt8.self))
            if label >= 0xC0 {
                cursor = (label & 0x3F) << 8 | Int(base.load(fromByteOffset: cursor + 1, as: UInt8.self))
                continue
            }
            guard length + label + 1 <= capacity else { return false }
            (base + length).copyMemory(from: base + cursor, byteCount: label + 1)
            length += label + 1
            cursor += label + 1
            if label == 0 { return true }
        }
    }

    private mutating func registerQuestion() {
        var cursor = Header.length
        let nameEnd = questionEnd - 4
        // Other names share the rightmost labels.
        var labels = 0
        while cursor < nameEnd - 1 {
            labels += 1
            cursor += Int(base.load(fromByteOffset: cursor, as: UInt8.self)) + 1
        }
        cursor = Header.length
        var index = 0
        while cursor < nameEnd - 1 {
            if labels - index <= 12 || index == 0 { register(offset: cursor, suffixLength: nameEnd - cursor) }
            index += 1
            cursor += Int(base.load(fromByteOffset: cursor, as: UInt8.self)) + 1
        }
    }

    private mutating func register(offset: Int, suffixLength: Int) {
        guard suffixCount < suffixOffsets.count, offset < 0x4000 else { return }
        suffixOffsets[suffixCount] = UInt16(truncatingIfNeeded: offset)
        suffixLengths[suffixCount] = UInt8(truncatingIfNeeded: suffixLength)
        suffixCount += 1
    }

    private func findSuffix(_ name: UnsafeRawPointer, length suffixLength: Int) -> UInt16? {
        let wanted = UInt8(truncatingIfNeeded: suffixLength)
        for index in 0..<suffixCount where suffixLengths[index] == wanted {
            if nameEquals(messageOffset: Int(suffixOffsets[index]), name) { return suffixOffsets[index] }
        }
        return nil
    }

    /// Compares case-insensitively. The pointers were written here, so they go backwards.
    private func nameEquals(messageOffset: Int, _ name: UnsafeRawPointer) -> Bool {
        var position = messageOffset
        var cursor = 0
        while true {
            let label = base.load(fromByteOffset: position, as: UInt8.self)
            if label >= 0xC0 {
                position = Int(label & 0x3F) << 8 | Int(base.load(fromByteOffset: position + 1, as: UInt8.self))
                continue
            }
            guard label == name.readByte(cursor) else { return false }
            if label == 0 { return true }
            for index in 1...Int(label) {
                let mine = base.load(fromByteOffset: position + index, as: UInt8.self)
                guard ASCII.lowercased(mine) == ASCII.lowercased(name.readByte(cursor + index)) else { return false }
            }
            position += Int(label) + 1
            cursor += Int(label) + 1
        }
    }

    /// Whether the authority section has a record of this owner name and type; for records that may be added twice.
    public func hasAuthority(owner: UnsafeRawBufferPointer, type: RecordType) -> Bool {
        var cursor = questionEnd
        for index in 0..<(Int(answers) + Int(authority)) {
            guard let record = MessageReader.record(message, at: cursor) else { return false }
            if index >= Int(answers), record.type == type,
                nameEquals(messageOffset: record.start, owner.baseAddress.unsafelyUnwrapped)
            {
                return true
            }
            cursor = record.end
        }
        return false
    }

    // MARK: Finishing

    /// Makes the reserved bytes available to the OPT record.
    public mutating func release(reserved: Int) { capacity += reserved }

    /// Appends a complete OPT or other additional record; false if it does not fit.
    public mutating func appendAdditional(raw: UnsafeRawBufferPointer) -> Bool {
        section = .additional
        var cursor = 0
        guard appendBytes(raw, from: &cursor, count: raw.count) else { return false }
        additional &+= 1
        return true
    }

    /// Appends encoded records from a message with the same question: a cache hit.
    ///
    /// Only for an empty response; `body` is what follows the question.
    public mutating func appendBody(
        _ body: UnsafeRawBufferPointer, answers: UInt16, authority: UInt16, additional: UInt16
    ) -> Bool {
        assert(length == questionEnd)
        var cursor = 0
        guard appendBytes(body, from: &cursor, count: body.count) else {
            truncated = true
            // The section of the first record that did not fit, as if records were appended one by one.
            if answers == 0 { section = .authority }
            return false
        }
        self.answers = answers
        self.authority = authority
        self.additional = additional
        section = .additional
        return true
    }

    /// Writes flags and counts, which completes the message.
    public mutating func finish(flags: Header.Flags, questions: UInt16) {
        base.write(flags.rawValue, at: 2)
        base.write(questions, at: Header.questionCount)
        base.write(answers, at: Header.answerCount)
        base.write(authority, at: Header.authorityCount)
        base.write(additional, at: Header.additionalCount)
    }
}
