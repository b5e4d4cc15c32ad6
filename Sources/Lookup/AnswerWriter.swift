public import DNSWire
import Platform

/// Writes a stored answer into a response: in one copy, or record by record where the chain leaves it.
public struct AnswerWriter: BitwiseCopyable {
    /// A whole message without OPT. Its question is in lower case and as long as the one being answered.
    let message: UnsafeRawBufferPointer
    let questionEnd: Int
    let answers: UInt16
    let authority: UInt16
    let hasAlias: Bool
    /// The last alias's target is not answered here.
    let isOpen: Bool
    let ttlOffsets: UnsafeBufferPointer<UInt16>
    /// Seconds since the answer arrived; subtracted from every TTL.
    let age: UInt32
    /// If set, replaces every TTL (RFC 8767 4: 30 seconds for stale data).
    let fixedTTL: UInt32?

    /// Whether an answer about the first name may not speak about the second, an alias's target, which another source
    /// or another server owns.
    public typealias Boundary = (borrowing LookupName, borrowing LookupName) -> Bool

    private func aged(_ ttl: UInt32) -> UInt32 { fixedTTL ?? (ttl > age ? ttl - age : 0) }

    public init(
        message: UnsafeRawBufferPointer, questionEnd: Int, answers: UInt16, authority: UInt16, hasAlias: Bool,
        isOpen: Bool, ttlOffsets: UnsafeBufferPointer<UInt16>, age: UInt32, fixedTTL: UInt32?
    ) {
        self.message = message
        self.questionEnd = questionEnd
        self.answers = answers
        self.authority = authority
        self.hasAlias = hasAlias
        self.isOpen = isOpen
        self.ttlOffsets = ttlOffsets
        self.age = age
        self.fixedTTL = fixedTTL
    }

    /// Writes the answer for the lookup's current name; `.chase` if an alias leads beyond it.
    public func write(_ lookup: inout Lookup, upTo isBoundary: Boundary) -> Outcome {
        let stop = hasAlias ? lastAlias(&lookup, isBoundary) : nil
        if stop == nil, lookup.nameOffset == Header.length, lookup.builder.length == questionEnd,
            lookup.builder.answers == 0
        {
            return writeWhole(&lookup.builder)
        }
        let signed = lookup.question.dnssecOK
        return writeEach(upTo: stop, signed, lookup.nameOffset, &lookup.builder, &lookup.owner, &lookup.rdata)
    }

    /// The number of the alias whose target is looked up next; nil if the answer has the end of the chain.
    private func lastAlias(_ lookup: inout Lookup, _ isBoundary: Boundary) -> Int? {
        var last: Int?
        var cursor = questionEnd
        for index in 0..<Int(answers) {
            guard let record = MessageReader.record(message, at: cursor) else { break }
            cursor = record.end
            guard record.type == .cname, lookup.scratch.assign(message: message, at: record.rdata) > 0 else { continue }
            if isBoundary(lookup.name, lookup.scratch) { return index }
            if isOpen { last = index }
        }
        return last
    }

    /// Copies the answer, then patches the TTLs: the path of nearly every hit.
    private func writeWhole(_ builder: inout ResponseBuilder) -> Outcome {
        let body = UnsafeRawBufferPointer(rebasing: message[questionEnd...])
        guard builder.appendBody(body, answers: answers, authority: authority, additional: 0) else { return .answered }
        for offset in ttlOffsets {
            let ttl = message.baseAddress.unsafelyUnwrapped.readUInt32(Int(offset))
            builder.base.write(aged(ttl), at: Int(offset))
        }
        return .answered
    }

    private func writeEach(
        upTo stop: Int?, _ signed: Bool, _ nameOffset: Int, _ builder: inout ResponseBuilder, _ owner: inout [UInt8],
        _ rdata: inout [UInt8]
    ) -> Outcome {
        var cursor = questionEnd
        let total = stop == nil ? Int(answers) + Int(authority) : Int(answers)
        var chase: Int?
        for index in 0..<total {
            guard let record = MessageReader.record(message, at: cursor) else { break }
            cursor = record.end
            // Behind the last alias only its signatures are written.
            if chase != nil, !(signed && signsAlias(record)) { break }
            owner.removeAll(keepingCapacity: true)
            rdata.removeAll(keepingCapacity: true)
            guard MessageReader.expandName(message, at: record.start, into: &owner),
                MessageReader.expandRDATA(message, record, into: &rdata)
            else { break }
            if index == Int(answers) { builder.begin(.authority) }
            let isFirst = MessageReader.isPointer(message, at: record.start, to: Header.length)
            let fitted = owner.withUnsafeBytes { owner in
                rdata.withUnsafeBytes { rdata in
                    let place: ResponseBuilder.Owner =
                        isFirst ? .at(nameOffset) : .name(owner.baseAddress.unsafelyUnwrapped, length: owner.count)
                    if index == stop {
                        chase = builder.appendCNAME(owner: place, ttl: aged(record.ttl), target: rdata)
                        return chase != nil
                    }
                    return builder.append(owner: place, type: record.type, ttl: aged(record.ttl), rdata: rdata)
                }
            }
            if !fitted { return .answered }
        }
        return chase.map { .chase($0) } ?? .answered
    }

    private func signsAlias(_ record: MessageReader.Record) -> Bool {
        record.type == .rrsig && record.rdataLength > 2
            && message.baseAddress.unsafelyUnwrapped.readUInt16(record.rdata) == RecordType.cname.rawValue
    }
}

extension UpstreamAnswer {
    /// Writes the answer as upstream gave it, for the lookup that waited for it.
    public func write(
        _ lookup: inout Lookup, from origin: Origin, trustAuthenticData: Bool, upTo isBoundary: AnswerWriter.Boundary
    ) -> Outcome {
        lookup.decision.source = .upstream
        lookup.decision.place = origin.place
        lookup.decision.authoritative = false
        lookup.decision.responseCode = responseCode
        lookup.decision.authenticData = trustAuthenticData && authenticData && lookup.nameOffset == Header.length
        lookup.decision.upstream = origin.upstream
        lookup.decision.upstreamMicroseconds = origin.microseconds
        lookup.decision.upstreamTransport = origin.transport
        lookup.decision.upstreamSetup = origin.setup
        lookup.decision.privateAnswer = hasPrivateAddress ? .passed : .none
        if let extendedError { explain(extendedError, or: "as upstream said", &lookup.decision) }
        switch responseCode {
        case .noError, .nxDomain, .serverFailure, .yxDomain: break
        default:
            // REFUSED, FORMERR and the like are between upstream and us; the client did nothing wrong.
            lookup.decision.responseCode = .serverFailure
            if responseCode == .refused {
                explain(extendedError ?? .prohibited, or: "upstream refused", &lookup.decision)
            } else {
                explain(extendedError ?? .invalidData, or: "upstream answered with an error code", &lookup.decision)
            }
        }
        return message.withUnsafeBytes { message in
            ttlOffsets.withUnsafeBufferPointer { offsets in
                AnswerWriter(
                    message: message, questionEnd: questionEnd, answers: answers, authority: authority,
                    hasAlias: hasAlias, isOpen: isOpen, ttlOffsets: offsets, age: 0, fixedTTL: nil
                ).write(&lookup, upTo: isBoundary)
            }
        }.resetting(&lookup.decision)
    }

    private func explain(_ error: ExtendedError, or text: StaticString, _ decision: inout Decision) {
        extendedText.withUnsafeBytes { decision.explain(error, said: $0, or: text) }
    }
}

extension Outcome {
    /// If an alias leads elsewhere, clears what the rest of the chain sets: RCODE, extended error, AD, and the mark
    /// of a private address, which was not written.
    public func resetting(_ decision: inout Decision) -> Outcome {
        if case .chase = self {
            decision.responseCode = .noError
            decision.extendedError = nil
            decision.authenticData = false
            decision.privateAnswer = .none
        }
        return self
    }
}

extension MessageReader {
    /// Whether the name at `offset` is a compression pointer to `target`.
    public static func isPointer(_ message: UnsafeRawBufferPointer, at offset: Int, to target: Int) -> Bool {
        offset + 1 < message.count
            && Int(message[offset]) << 8 | Int(message[offset + 1]) == 0xC000 | target
    }
}
