import DNSWire
import Lookup
import Platform

/// Writes a response's OPT record: cookie, keepalive, NSID, an extended error with the reason, padding.
///
/// Optional parts are left out if the packet is full.
/// - RFC: 6891 6.1; 7873 5.2; 7828 3.2; 5001 2; 8914 2; 7830 3.
struct EDNSWriter: BitwiseCopyable {
    /// Bytes reserved for the record; NSID and an extended error are added only if they fit.
    let reserved: Int
    private let sendsKeepalive: Bool

    init(_ lookup: borrowing Lookup, _ served: ServedData, limit: Int) {
        let transport = lookup.request.transport
        sendsKeepalive = lookup.query.wantsKeepalive && (transport == .tcp || transport == .dot)
        guard lookup.query.hasEDNS else {
            reserved = 0
            return
        }
        let wanted =
            EDNS.optLength + (lookup.query.cookieLength > 0 ? ServerCookie.optionLength : 0)
            + (sendsKeepalive ? 6 : 0)
        reserved = min(wanted, limit - Header.length - lookup.query.questionLength)
    }

    /// Appends the record to the response of `lookup`; `message` is the query.
    func write(
        _ lookup: inout Lookup, _ message: UnsafeRawBufferPointer, _ served: ServedData,
        _ upstreamTexts: borrowing [[UInt8]]
    ) {
        // The longest OPT we write: fixed part, cookie, keepalive, NSID, an extended error with its text, and padding.
        withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { opt in
            let base = opt.baseAddress.unsafelyUnwrapped
            base.write(UInt8(0), at: 0)
            base.write(RecordType.opt.rawValue, at: 1)
            base.write(UInt16(EDNS.payloadSize), at: 3)
            base.write(UInt8(truncatingIfNeeded: lookup.decision.responseCode.rawValue >> 4), at: 5)
            base.write(UInt8(0), at: 6)
            base.write(lookup.query.dnssecOK ? EDNS.dnssecOK : 0, at: 7)
            var length = EDNS.optLength
            let room = lookup.builder.capacity - lookup.builder.length
            if lookup.query.cookieLength > 0, length + ServerCookie.optionLength <= room {
                base.write(EDNS.Option.cookie, at: length)
                base.write(UInt16(ServerCookie.length), at: length + 2)
                served.service.cookie.write(
                    to: base + length + 4,
                    clientCookie: message.baseAddress.unsafelyUnwrapped + lookup.query.cookieOffset,
                    time: UInt32(truncatingIfNeeded: lookup.request.arrival.wall / 1_000_000),
                    client: lookup.request.client)
                length += ServerCookie.optionLength
            }
            if sendsKeepalive, length + 6 <= room {
                base.write(EDNS.Option.keepalive, at: length)
                base.write(UInt16(2), at: length + 2)
                base.write(served.service.keepalive, at: length + 4)
                length += 6
            }
            if lookup.query.wantsNSID {
                served.service.identity.withUnsafeBytes { identity in
                    guard !identity.isEmpty, length + 4 + identity.count <= room else { return }
                    length = Self.append(EDNS.Option.nsid, identity.count, at: length, of: base) {
                        $0.copyMemory(from: identity.baseAddress.unsafelyUnwrapped, byteCount: identity.count)
                    }
                }
            }
            length = appendExtendedError(lookup, served, upstreamTexts, at: length, of: base, room: room)
            let transport = lookup.request.transport
            if lookup.query.wantsPadding, transport == .dot || transport == .doh {
                length = Self.pad(lookup.builder.length, length, of: base, room: min(room, opt.count))
            }
            base.write(UInt16(length - EDNS.optLength), at: 9)
            _ = lookup.builder.appendAdditional(raw: UnsafeRawBufferPointer(start: base, count: length))
        }
    }

    /// Appends the extended error and its texts, including the reason of the answer; returns OPT's length. The texts
    /// are optional and are left out if the packet is full.
    private func appendExtendedError(
        _ lookup: borrowing Lookup, _ served: ServedData, _ upstreamTexts: borrowing [[UInt8]], at length: Int,
        of base: UnsafeMutableRawPointer, room: Int
    ) -> Int {
        let error = lookup.decision.extendedError
        // For a stale answer the error code says so already.
        let source = lookup.decision.source
        let isSaid = source == .none || source == .stale && error != nil
        let isExplained =
            served.service.explains(to: lookup.request.client) && (!isSaid || lookup.decision.hopCount > 0)
        guard error != nil || isExplained, length + 6 <= room else { return length }
        let target = base + length + 4
        let most = min(room, 512) - length - 6
        var count = 0
        if error != nil {
            let length = lookup.decision.textLength
            if length <= most {
                lookup.decision.writeText(to: UnsafeMutableRawBufferPointer(start: target + 2, count: length))
                count = length
            }
        }
        if isExplained {
            let isSecond = count > 0
            var reason = ReasonText(to: target + 2 + count, limit: most - count)
            if isSecond { reason.append(" (") }
            reason.write(
                lookup.decision, lookup.faults, lookup.builder.message, hasNames: !lookup.builder.truncated,
                served.paths,
                upstream: upstreamTexts)
            if isSecond { reason.append(UInt8(ascii: ")")) }
            // Half a reason is of little use and is dropped, except that of a chain, which has no bound and is
            // shortened.
            if reason.isCut, reason.count == ReasonText.mostBytes { reason.markCut() }
            if !reason.isCut { count += reason.count }
        }
        if error == nil, count == 0 { return length }
        target.write(error?.rawValue ?? ExtendedError.other.rawValue, at: 0)
        base.write(EDNS.Option.extendedError, at: length)
        base.write(UInt16(truncatingIfNeeded: 2 + count), at: length + 2)
        return length + 6 + count
    }

    /// Pads message and OPT to a multiple of the recommended block size, if it fits; returns OPT's length.
    ///
    /// - RFC: 7830 3; 8467 4.1.
    private static func pad(_ message: Int, _ length: Int, of base: UnsafeMutableRawPointer, room: Int) -> Int {
        let unpadded = message + length + 4
        let count = (EDNS.paddingBlock - unpadded % EDNS.paddingBlock) % EDNS.paddingBlock
        guard length + 4 + count <= room else { return length }
        return append(EDNS.Option.padding, count, at: length, of: base) { target in
            if count > 0 { target.initializeMemory(as: UInt8.self, repeating: 0, count: count) }
        }
    }

    private static func append(
        _ code: UInt16, _ count: Int, at length: Int, of base: UnsafeMutableRawPointer,
        write: (UnsafeMutableRawPointer) -> Void
    ) -> Int {
        base.write(code, at: length)
        base.write(UInt16(truncatingIfNeeded: count), at: length + 2)
        write(base + length + 4)
        return length + 4 + count
    }
}
