public import DNSWire
import Platform

/// Writes a stored answer into a response: in one copy, or record by record where the chain reaches local data.
public struct AnswerWriter: BitwiseCopyable {
    /// A whole message without OPT. Its question is in lower case and as long as the one being answered.
    let message: UnsafeRawBufferPointer
    let questionEnd: Int
    let answers: UInt16
    let authority: UInt16
    let hasAlias: Bool
    let ttlOffsets: UnsafeBufferPointer<UInt16>
    /// Seconds since the answer arrived; subtracted from every TTL.
    let age: UInt32
    /// If set, replaces every TTL (RFC 8767 4: 30 seconds for stale data).
    let fixedTTL: UInt32?

    private func aged(_ ttl: UInt32) -> UInt32 { fixedTTL ?? (ttl > age ? ttl - age : 0) }

    public init(
        message: UnsafeRawBufferPointer, questionEnd: Int, answers: UInt16, authority: UInt16, hasAlias: Bool,
        ttlOffsets: UnsafeBufferPointer<UInt16>, age: UInt32, fixedTTL: UInt32?
    ) {
        self.message = message
        self.questionEnd = questionEnd
        self.answers = answers
        self.authority = authority
        self.hasAlias = hasAlias
        self.ttlOffsets = ttlOffsets
        self.age = age
        self.fixedTTL = fixedTTL
    }

    /// Writes the answer for the lookup's current name; `.chase` if an alias leads to a name that `isLocal` claims.
    public func write(_ lookup: inout Lookup, isLocal: (borrowing LookupName) -> Bool) -> Outcome {
        var stop: Int?
        if hasAlias {
            var cursor = questionEnd
            for index in 0..<Int(answers) {
                guard let record = MessageReader.record(message, at: cursor) else { break }
                if record.type == .cname, lookup.scratch.assign(message: message, at: record.rdata) > 0,
                    isLocal(lookup.scratch)
                {
                    stop = index
                    break
                }
                cursor = record.end
            }
        }
        if stop == nil, lookup.nameOffset == Header.length, lookup.builder.length == questionEnd,
            lookup.builder.answers == 0
        {
            return writeWhole(&lookup.builder)
        }
        return writeEach(upTo: stop, lookup.nameOffset, &lookup.builder)
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

    private func writeEach(upTo stop: Int?, _ nameOffset: Int, _ builder: inout ResponseBuilder) -> Outcome {
        var cursor = questionEnd
        var owner: [UInt8] = []
        var rdata: [UInt8] = []
        let total = stop.map { $0 + 1 } ?? Int(answers) + Int(authority)
        var chase: Int?
        for index in 0..<total {
            guard let record = MessageReader.record(message, at: cursor) else { break }
            cursor = record.end
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
}

extension UpstreamAnswer {
    /// Writes the answer as upstream gave it, for the lookup that waited for it.
    public func write(
        _ lookup: inout Lookup, from origin: Origin, trustAuthenticData: Bool,
        isLocal: (borrowing LookupName) -> Bool
    ) -> Outcome {
        lookup.decision.source = .upstream
        lookup.decision.place = .nowhere
        lookup.decision.authoritative = false
        lookup.decision.responseCode = responseCode
        lookup.decision.authenticData = trustAuthenticData && authenticData && lookup.nameOffset == Header.length
        lookup.decision.upstream = origin.upstream
        lookup.decision.upstreamMicroseconds = origin.microseconds
        lookup.decision.upstreamTransport = origin.transport
        lookup.decision.privateAnswer = hasPrivateAddress ? .passed : .none
        if let extendedError { lookup.decision.explain(extendedError, "as upstream said") }
        switch responseCode {
        case .noError, .nxDomain, .serverFailure, .yxDomain: break
        default:
            // REFUSED, FORMERR and the like are between upstream and us; the client did nothing wrong.
            lookup.decision.responseCode = .serverFailure
            if responseCode == .refused {
                lookup.decision.explain(extendedError ?? .prohibited, "upstream refused")
            } else {
                lookup.decision.explain(extendedError ?? .invalidData, "upstream answered with an error code")
            }
        }
        return message.withUnsafeBytes { message in
            ttlOffsets.withUnsafeBufferPointer { offsets in
                AnswerWriter(
                    message: message, questionEnd: questionEnd, answers: answers, authority: authority,
                    hasAlias: hasAlias, ttlOffsets: offsets, age: 0, fixedTTL: nil
                ).write(&lookup, isLocal: isLocal)
            }
        }.resetting(&lookup.decision)
    }
}

extension Outcome {
    /// If an alias leads to local data, clears what the rest of the chain sets: RCODE, extended error, AD, and the mark
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
