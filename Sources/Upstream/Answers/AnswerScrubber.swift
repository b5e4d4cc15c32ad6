public import DNSWire
import LDNS
public import Lookup

/// Checks an upstream message, extracts the records that answer its question, in the order of the chain, and encodes
/// them again. No upstream data gets in any other way.
///
/// A thread owns one and reuses its buffers, so that an answer costs only the copy that is kept.
/// - RFC: 2181 5 for RRsets; 2308 2 for negative answers; 6672 3 for DNAME; 4035 3.2 for the records that DO requests.
public struct AnswerScrubber: ~Copyable {
    private typealias Record = MessageReader.Record

    // The message being read.
    private var message = UnsafeRawBufferPointer(start: nil, count: 0)
    private var summary = MessageReader.Summary()
    private var question = Question(type: .a, mayForward: true)
    private var ttls = UpstreamAnswer.TTLs()
    /// The records of the answer and authority sections.
    private var records: [Record] = []
    /// The lowest TTL written.
    private var ttl = UInt32.max
    private var ttlOffsets: [UInt16] = []
    private var hasAlias = false
    private var hasPrivateAddress = false
    /// The chain ends with an alias about whose target nothing is said.
    private var isOpen = false
    /// Complete and with a known TTL: may be cached.
    private var isCacheable = true

    private var name = LookupName()
    /// The name the chain has reached.
    private var current = LookupName()
    private var scratch = LookupName()
    private var owner: [UInt8] = []
    private var rdata: [UInt8] = []
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)

    public init() {}

    deinit { buffer.deallocate() }

    /// Checks a message that matches its query by address, port and ID and has passed `MessageReader.walk`, which
    /// returned `summary`.
    ///
    /// The walk must come first: libldns accepts some malformed input, and its assertions abort the process.
    public mutating func check(
        _ message: UnsafeRawBufferPointer, _ summary: MessageReader.Summary, for key: FetchKey,
        ttls: UpstreamAnswer.TTLs
    ) throws(UpstreamAnswer.Rejection) -> UpstreamAnswer {
        guard let base = message.baseAddress else { throw .malformed }
        let flags = Header.Flags(rawValue: base.readUInt16(2))
        guard flags.contains(.response), flags.opcode == .query else { throw .notAResponse }
        guard key.name.withUnsafeBytes({ name.assign(uncompressed: $0) }) == key.name.count, base.readUInt16(4) == 1,
            MessageReader.name(message, at: Header.length, equals: name),
            base.readUInt16(summary.questionEnd - 4) == key.type.rawValue,
            base.readUInt16(summary.questionEnd - 2) == RecordClass.in.rawValue
        else { throw .otherQuestion }
        // libldns checks the types that the walk takes as plain bytes; it adds nothing for the others.
        guard summary.isWhollyKnown || PacketCheck.accepts(used(message, summary)) else { throw .refusedByLibrary }
        self.message = message
        self.summary = summary
        self.ttls = ttls
        question = key.question
        defer { self.message = UnsafeRawBufferPointer(start: nil, count: 0) }
        return try scrub(key, flags)
    }

    /// A copy of the part of the message that the answer rests on.
    private func used(
        _ message: UnsafeRawBufferPointer, _ summary: MessageReader.Summary
    ) -> UnsafeRawBufferPointer {
        let copy = UnsafeMutableRawBufferPointer(rebasing: buffer[..<summary.end])
        copy.copyMemory(from: UnsafeRawBufferPointer(rebasing: message[..<summary.end]))
        let base = copy.baseAddress.unsafelyUnwrapped
        base.write(UInt16(truncatingIfNeeded: summary.authority), at: Header.authorityCount)
        base.write(UInt16(0), at: Header.additionalCount)
        return UnsafeRawBufferPointer(copy)
    }

    private mutating func scrub(
        _ key: FetchKey, _ flags: Header.Flags
    ) throws(UpstreamAnswer.Rejection) -> UpstreamAnswer {
        records.removeAll(keepingCapacity: true)
        ttl = .max
        ttlOffsets = []
        hasAlias = false
        hasPrivateAddress = false
        isOpen = false
        // A truncated answer may go to the client that waits, but not into the cache (RFC 2181 9).
        isCacheable = !flags.contains(.truncated)
        var cursor = summary.records
        for _ in 0..<(summary.answers + summary.authority) {
            guard let record = MessageReader.record(message, at: cursor) else { throw .malformed }
            records.append(record)
            cursor = record.end
        }
        var query = Query()
        query.questionLength = summary.questionEnd - Header.length
        var builder = ResponseBuilder(buffer: buffer, query: query, message: message, reserved: 0)
        // The copy's question is in lower case, like the key.
        (builder.base + Header.length).copyMemory(from: name.bytes, byteCount: name.length)

        var code = flags.responseCode
        if let opt = summary.opt {
            code = ResponseCode(rawValue: UInt16(opt.ttl >> 24) << 4 | code.rawValue)
        }
        _ = current.assign(uncompressed: name.suffix(at: 0))
        var (error, text) = extendedError()
        var isNegative = true
        switch try writeChain(&builder) {
        case .records: isNegative = code == .nxDomain
        case .nothing: break
        case .broken(let why):
            // A chain without its end would look like an answer to clients.
            builder.rollback(to: builder.start)
            ttlOffsets = []
            hasAlias = false
            hasPrivateAddress = false
            if code == .noError || code == .nxDomain {
                code = .serverFailure
                (error, text) = (.invalidData, Array("\(why)".utf8))
            }
        }
        if code == .noError || code == .nxDomain {
            // A denial, and any proof, stands in the authority section.
            guard summary.hasAuthority || !isNegative && !question.dnssecOK else { throw .malformed }
            let soa = isNegative ? negativeSOA() : nil
            isOpen = isNegative && hasAlias && code == .noError && soa == nil
            if isOpen {
                isNegative = false
            } else {
                try writeAuthority(soa, isNegative: isNegative, &builder)
            }
        }

        let kept: UInt32 =
            switch code {
            case .noError, .nxDomain: isCacheable ? min(ttl, isNegative ? ttls.mostNegative : ttls.most) : 0
            case .serverFailure: ttls.failure
            default: 0
            }
        builder.finish(flags: .response, questions: 1)
        return UpstreamAnswer(
            key: key, responseCode: code, authenticData: flags.contains(.authenticData),
            message: Array(builder.message), questionEnd: builder.questionEnd, answers: builder.answers,
            authority: builder.authority, ttlOffsets: ttlOffsets, ttl: kept, hasAlias: hasAlias,
            isOpen: isOpen, extendedError: error, extendedText: text, hasPrivateAddress: hasPrivateAddress)
    }

    // MARK: The answer section

    private enum ChainEnd {
        /// The RRset that was asked for.
        case records
        case nothing
        /// The aliases lead nowhere: why.
        case broken(StaticString)
    }

    /// Writes the aliases from the question on, and the RRset at their end.
    private mutating func writeChain(_ builder: inout ResponseBuilder) throws(UpstreamAnswer.Rejection) -> ChainEnd {
        var seen: [UInt64] = []
        while true {
            let type = question.type
            let alias = records[..<summary.answers].first { $0.type == .cname && ownerIsCurrent($0) }
            if let alias, type != .any, try isContradicted(alias) {
                return .broken("a name has two CNAMEs")
            }
            // Then the alias itself is what was asked for.
            let isLast = type == .cname || type == .any
            if isLast, let alias, let dname = dnameImplying(alias) { try writeDNAME(dname, &builder) }
            if try writeRRset(type, &builder) { return .records }
            let dname = if let alias { dnameImplying(alias) } else { dnameAbove() }
            if alias == nil, dname == nil { return .nothing }
            if seen.contains(current.hash) { return .broken("the CNAMEs form a loop") }
            guard seen.count < Decision.maximumHops else { return .broken("the chain of CNAMEs is longer than 16") }
            seen.append(current.hash)
            hasAlias = !isLast
            if let dname { try writeDNAME(dname, &builder) }
            if let alias {
                try write(alias, ttl: alias.ttl, &builder)
                if question.dnssecOK {
                    for record in records[..<summary.answers] where signs(record, .cname) && ownerIsCurrent(record) {
                        try write(record, ttl: alias.ttl, &builder)
                    }
                }
                guard current.assign(message: message, at: alias.rdata) > 0 else { throw .badAlias }
            } else if let dname {
                guard substitute(dname) else { return .broken("a name that a DNAME leads to is too long") }
                try writeSynthesized(ttl: dname.ttl, &builder)
                if isLast { return .records }
                _ = current.assign(uncompressed: scratch.suffix(at: 0))
            }
        }
    }

    /// Whether the current name has another CNAME with another target.
    /// - RFC: 1034 3.6.2; 2181 10.1.
    private mutating func isContradicted(_ alias: Record) throws(UpstreamAnswer.Rejection) -> Bool {
        var isLater = false
        for record in records[..<summary.answers] where record.type == .cname && ownerIsCurrent(record) {
            if isLater {
                guard scratch.assign(message: message, at: alias.rdata) > 0 else { throw .badAlias }
                if !MessageReader.name(message, at: record.rdata, equals: scratch) { return true }
            }
            isLater = true
        }
        return false
    }

    private mutating func writeDNAME(
        _ dname: Record, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) {
        try write(dname, ttl: dname.ttl, &builder)
        guard question.dnssecOK, scratch.assign(message: message, at: dname.start) > 0 else { return }
        for record in records[..<summary.answers]
        where signs(record, .dname) && MessageReader.name(message, at: record.start, equals: scratch) {
            try write(record, ttl: dname.ttl, &builder)
        }
    }

    /// Writes the CNAME from the current name to that in `scratch`.
    private mutating func writeSynthesized(
        ttl: UInt32, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) {
        owner = Array(current.suffix(at: 0))
        rdata = Array(scratch.suffix(at: 0))
        try write(type: .cname, ttl: ttl, &builder)
    }

    /// Writes the RRset of `type` at the current name without duplicates, with one TTL (the lowest), and its
    /// signatures.
    private mutating func writeRRset(
        _ type: RecordType, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) -> Bool {
        var least = UInt32.max
        var only: Record?
        var count = 0
        var isEmpty = true
        for record in records[..<summary.answers] where ownerIsCurrent(record) {
            let isWanted = record.type == type || type == .any
            guard isWanted || signs(record, type) else { continue }
            if isWanted { isEmpty = false }
            least = min(least, Self.effectiveTTL(record.ttl))
            only = record
            count += 1
        }
        if isEmpty { return false }
        // The usual case.
        if count == 1, let only {
            try write(only, ttl: least, &builder)
            return true
        }
        var written: Set<[UInt8]> = []
        for record in records[..<summary.answers] where ownerIsCurrent(record) {
            let isWanted = record.type == type || type == .any
            guard isWanted || (question.dnssecOK && signs(record, type)) else { continue }
            var data = [
                UInt8(truncatingIfNeeded: record.type.rawValue >> 8), UInt8(truncatingIfNeeded: record.type.rawValue),
            ]
            guard MessageReader.expandRDATA(message, record, into: &data) else { throw .malformed }
            if written.insert(data).inserted { try write(record, ttl: least, &builder) }
        }
        return true
    }

    /// The DNAME above the current name that implies `alias`; other DNAMEs are ignored.
    private mutating func dnameImplying(_ alias: Record) -> Record? {
        for record in records[..<summary.answers] where record.type == .dname && record.recordClass == .in {
            if substitute(record), MessageReader.name(message, at: alias.rdata, equals: scratch) { return record }
        }
        return nil
    }

    /// The nearest DNAME above the current name: servers may leave out the CNAME that follows from it.
    private mutating func dnameAbove() -> Record? {
        var nearest: (record: Record, labels: Int)?
        for record in records[..<summary.answers] where record.type == .dname && record.recordClass == .in {
            if isAboveCurrent(record), scratch.labelCount > nearest?.labels ?? -1 {
                nearest = (record, scratch.labelCount)
            }
        }
        return nearest?.record
    }

    /// Whether the owner, which is then in `scratch`, is above the current name.
    private mutating func isAboveCurrent(_ record: Record) -> Bool {
        guard scratch.assign(message: message, at: record.start) > 0 else { return false }
        let front = current.labelCount - scratch.labelCount
        return front > 0 && current.suffixEquals(front, scratch.bytes, length: scratch.length)
    }

    /// Puts the name that a DNAME leads the current one to into `scratch`; false if there is none.
    /// - RFC: 6672 2.2.
    private mutating func substitute(_ dname: Record) -> Bool {
        guard isAboveCurrent(dname) else { return false }
        let front = current.labelCount - scratch.labelCount
        var made = Array(UnsafeRawBufferPointer(start: current.bytes, count: current.offset(at: front)))
        return MessageReader.expandName(message, at: dname.rdata, into: &made)
            && made.withUnsafeBytes { scratch.assign(uncompressed: $0) } == made.count
    }

    private func ownerIsCurrent(_ record: Record) -> Bool {
        record.recordClass == .in && MessageReader.name(message, at: record.start, equals: current)
    }

    private func signs(_ record: Record, _ type: RecordType) -> Bool {
        record.type == .rrsig && record.recordClass == .in && record.rdataLength > 18
            && message.baseAddress.unsafelyUnwrapped.readUInt16(record.rdata) == type.rawValue
    }

    // MARK: The authority section

    /// The SOA at or above the current name.
    private mutating func negativeSOA() -> Record? {
        for record in records[summary.answers...] where record.recordClass == .in && record.type == .soa {
            guard scratch.assign(message: message, at: record.start) > 0, scratch.labelCount <= current.labelCount,
                current.suffixEquals(
                    current.labelCount - scratch.labelCount, scratch.bytes, length: scratch.length)
            else { continue }
            return record
        }
        return nil
    }

    /// For a negative answer, writes `soa`, whose TTL says how long it holds. With DO, writes the proofs: of the
    /// negative answer, or that no closer match than a wildcard exists (RFC 4035 3.1.3.3).
    private mutating func writeAuthority(
        _ soa: Record?, isNegative: Bool, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) {
        builder.begin(.authority)
        for record in records[summary.answers...] where record.recordClass == .in {
            switch record.type {
            case .soa:
                guard record.start == soa?.start else { continue }
                let minimum = message.baseAddress.unsafelyUnwrapped.readUInt32(record.end - 4)
                let ttl = min(Self.effectiveTTL(record.ttl), Self.effectiveTTL(minimum), ttls.mostNegative)
                try write(record, ttl: ttl, &builder)
            case .nsec, .nsec3:
                if question.dnssecOK { try write(record, ttl: record.ttl, &builder) }
            case .rrsig:
                let isProof = signs(record, .nsec) || signs(record, .nsec3) || (isNegative && signs(record, .soa))
                if question.dnssecOK && isProof { try write(record, ttl: record.ttl, &builder) }
            default: continue
            }
        }
        // Without an SOA the negative TTL is unknown (RFC 2308 5).
        if isNegative && soa == nil { isCacheable = false }
    }

    // MARK: One record

    /// A TTL with its highest bit set counts as 0 (RFC 2181 8).
    private static func effectiveTTL(_ ttl: UInt32) -> UInt32 { ttl > UInt32(Int32.max) ? 0 : ttl }

    private mutating func write(
        _ record: Record, ttl: UInt32, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) {
        owner.removeAll(keepingCapacity: true)
        rdata.removeAll(keepingCapacity: true)
        guard MessageReader.expandName(message, at: record.start, into: &owner),
            MessageReader.expandRDATA(message, record, into: &rdata)
        else { throw .malformed }
        try write(type: record.type, ttl: ttl, &builder)
    }

    /// Writes the record in `owner` and `rdata`.
    private mutating func write(
        type: RecordType, ttl: UInt32, _ builder: inout ResponseBuilder
    ) throws(UpstreamAnswer.Rejection) {
        let bounded = min(max(Self.effectiveTTL(ttl), ttls.least), ttls.most)
        let start = builder.length
        let fitted = owner.withUnsafeBytes { owner in
            rdata.withUnsafeBytes { rdata in
                builder.append(
                    owner: .name(owner.baseAddress.unsafelyUnwrapped, length: owner.count), type: type,
                    ttl: bounded, rdata: rdata)
            }
        }
        guard fitted, let nameEnd = MessageReader.endOfName(builder.message, at: start) else { throw .malformed }
        self.ttl = min(self.ttl, bounded)
        ttlOffsets.append(UInt16(truncatingIfNeeded: nameEnd + 4))
        if !hasPrivateAddress {
            hasPrivateAddress = rdata.withUnsafeBytes { PrivateAddress.first(in: $0, type) } != nil
        }
    }

    /// The first extended error, and its text.
    private func extendedError() -> (ExtendedError?, [UInt8]) {
        guard let opt = summary.opt,
            let data = MessageReader.option(EDNS.Option.extendedError, opt, message), data.count >= 2
        else { return (nil, []) }
        return (
            ExtendedError(rawValue: data.baseAddress.unsafelyUnwrapped.readUInt16(0)),
            Self.printable(data[2..<(data.lastIndex { $0 != 0 }.map { max($0 + 1, 2) } ?? 2)])
        )
    }

    /// The text as printable ASCII: it goes into logs and onto terminals. Some servers end it with a zero.
    private static func printable(_ text: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
        String(decoding: text.prefix(4 * Decision.mostSaid), as: UTF8.self).unicodeScalars
            .prefix(Decision.mostSaid).map { (" "..."~").contains($0) ? UInt8($0.value) : UInt8(ascii: "?") }
    }
}

extension UpstreamAnswer {
    /// Checks a raw message, with buffers of its own. To check many, keep an `AnswerScrubber`.
    public static func check(
        _ message: UnsafeRawBufferPointer, for key: FetchKey, ttls: TTLs = TTLs()
    ) throws(Rejection) -> UpstreamAnswer {
        guard let summary = MessageReader.walk(message) else { throw .malformed }
        var scrubber = AnswerScrubber()
        return try scrubber.check(message, summary, for: key, ttls: ttls)
    }
}
