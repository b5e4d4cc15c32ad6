public import DNSWire
public import Lookup
import Platform

/// The outcome of asking the overrides for a name.
public enum HostsOutcome: Sendable, Hashable, BitwiseCopyable {
    /// No override governs the name.
    case pass
    case answered
    /// The name is overridden, but this type comes from later sources: local zones only, or all of them. If they have
    /// nothing, the answer is NODATA (`answerNoData`), because the name exists.
    case exists(zonesOnly: Bool)
}

/// Answers from overrides. One line governs all types by which a browser reaches a name: A, AAAA, HTTPS, SVCB.
extension HostsTable {
    /// Answers for the lookup's current name.
    public func answer(_ lookup: inout Lookup) -> HostsOutcome {
        guard nameCount > 0 else { return .pass }
        let forward = answerForward(&lookup)
        guard forward == .pass else { return forward }
        return answerReverse(&lookup)
    }

    /// The same for a table asked before `others`. Reverse answers merge both tables' names for an address.
    public func answer(_ lookup: inout Lookup, before others: HostsTable) -> HostsOutcome {
        let forward = answerForward(&lookup)
        guard forward == .pass, let range = reverseRange(lookup.name) else { return forward }
        guard lookup.question.type == .ptr || lookup.question.type == .any, others.answer(&lookup) == .answered else {
            return answerReverse(&lookup)
        }
        for index in range where !others.hasReverse(lookup.name, entryName(reverse[index])) {
            lookup.builder.append(
                owner: .at(lookup.nameOffset), type: .ptr, ttl: settings.ttl, rdata: entryName(reverse[index]))
        }
        return .answered
    }

    private func hasReverse(_ name: borrowing LookupName, _ wire: UnsafeRawBufferPointer) -> Bool {
        guard let range = reverseRange(name) else { return false }
        return range.contains { entryName(reverse[$0]).elementsEqual(wire) }
    }

    @inline(__always)
    private func answerForward(_ lookup: inout Lookup) -> HostsOutcome {
        // Checked before the name itself, which a wildcard may cover: the addresses belong to the name after the
        // underscores.
        if lookup.question.type == .https || lookup.question.type == .svcb,
            let service = findServiceOverride(lookup.name)
        {
            return answer(service.override, base: service.base, &lookup)
        }
        if let override = find(lookup.name) { return answer(override, base: 0, &lookup) }
        return .pass
    }

    /// Whether an override answers for `name`: directly, as one of its service names (HTTPS and SVCB), or reverse.
    public func owns(_ name: borrowing LookupName) -> Bool {
        nameCount > 0 && (find(name) != nil || findServiceOverride(name) != nil || reverseRange(name) != nil)
    }

    /// NODATA for an overridden name: follows `.exists` if no later source had the type.
    public func answerNoData(_ lookup: inout Lookup) {
        // The response holds nothing from later sources; the decision must not either.
        lookup.decision.reset(keepingHops: true)
        lookup.decision.source = .hosts
        if let override = find(lookup.name) ?? findServiceOverride(lookup.name)?.override {
            let entry = entry(override)
            lookup.decision.place = place(entry.file, entry.line)
        } else if let range = reverseRange(lookup.name) {
            lookup.decision.place = reversePlace(range.lowerBound)
        }
        writeNegative(&lookup)
    }

    private func answer(_ override: UInt32, base: Int, _ lookup: inout Lookup) -> HostsOutcome {
        let entry = entry(override)
        lookup.decision.source = .hosts
        lookup.decision.place = place(entry.file, entry.line)
        lookup.decision.authoritative = true
        if settings.nullAddress != .literal, isNull(entry) {
            writeNegative(&lookup, settings.nullAddress == .nxdomain ? .nxDomain : .noError)
            return .answered
        }
        switch lookup.question.type {
        case .a, .aaaa, .any:
            let before = lookup.builder.answers
            writeAddresses(entry, &lookup)
            if lookup.builder.answers == before, !lookup.builder.truncated { writeNegative(&lookup) }
            return .answered
        case .https, .svcb:
            if settings.https == .pass { return .exists(zonesOnly: false) }
            if settings.https == .synthesize, lookup.question.type == .https, !isNull(entry) {
                writeHTTPS(entry, base: base, &lookup)
            } else {
                lookup.decision.masked = true
                writeNegative(&lookup)
            }
            return .answered
        case .cname, .dname:
            // A CNAME would bypass the override.
            writeNegative(&lookup)
            return .answered
        default:
            return .exists(zonesOnly: settings.otherTypes == .nodata)
        }
    }

    private func isNull(_ entry: Entry) -> Bool {
        var result = true
        forEachUse(entry) { use in result = result && addresses[use.address].isUnspecified }
        return result
    }

    func forEachUse(_ entry: Entry, _ body: (AddressUse) -> Void) {
        switch entry.kind {
        case .single: body(AddressUse(address: entry.value, line: entry.line, file: entry.file, more: false))
        case .multi:
            var index = Int(entry.value)
            while true {
                let use = uses[index]
                body(use)
                guard use.more else { break }
                index += 1
            }
        case .emptyNonTerminal: break
        }
    }

    private func writeAddresses(_ entry: Entry, _ lookup: inout Lookup) {
        let type = lookup.question.type
        let owner = ResponseBuilder.Owner.at(lookup.nameOffset)
        var isFirst = true
        forEachUse(entry) { use in
            let address = addresses[use.address]
            guard type == .any || address.isIPv6 == (type == .aaaa) else { return }
            if isFirst { lookup.decision.place = place(use.file, use.line) }
            isFirst = false
            withUnsafeTemporaryAllocation(byteCount: 16, alignment: 8) { rdata in
                let length = address.write(to: rdata.baseAddress.unsafelyUnwrapped)
                lookup.builder.append(
                    owner: owner, type: address.isIPv6 ? .aaaa : .a, ttl: settings.ttl,
                    rdata: UnsafeRawBufferPointer(rebasing: rdata[..<length]))
            }
        }
    }

    /// NXDOMAIN or NODATA. The SOA lets clients cache it for as long as an address (RFC 2308 3).
    private func writeNegative(_ lookup: inout Lookup, _ responseCode: ResponseCode = .noError) {
        lookup.decision.authoritative = true
        lookup.decision.responseCode = responseCode
        lookup.builder.begin(.authority)
        negativeSOA.withUnsafeBytes {
            _ = lookup.builder.append(owner: .at(lookup.nameOffset), type: .soa, ttl: settings.ttl, rdata: $0)
        }
    }

    // MARK: HTTPS

    /// For `_8443._https.NAME`, `_https.NAME` and the like: the override of NAME, and the label at which NAME starts.
    ///
    /// - RFC: 9460 2.3 and 9.1; 8552 for the underscores.
    private func findServiceOverride(_ name: borrowing LookupName) -> (override: UInt32, base: Int)? {
        var base = name.serviceLabelCount
        // The shortest name first, because a wildcard covers the longer ones too.
        while base > 0 {
            if let override = find(name, from: base) { return (override, base) }
            base -= 1
        }
        return nil
    }

    /// `1 TARGET alpn=h2 ipv4hint=... ipv6hint=...`: sends a browser straight to https, at the override's addresses.
    ///
    /// - RFC: 9460 2.2, 7.1.1, 7.3, 9.
    private func writeHTTPS(_ entry: Entry, base: Int, _ lookup: inout Lookup) {
        withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 8) { buffer in
            let rdata = buffer.baseAddress.unsafelyUnwrapped
            rdata.write(UInt16(1), at: 0)
            var length = 2
            // "." means the owner; below an underscore the addresses belong to the name after the underscores.
            let target = lookup.name.suffix(at: base == 0 ? lookup.name.labelCount : base)
            (rdata + length).copyMemory(from: target.baseAddress.unsafelyUnwrapped, byteCount: target.count)
            length += target.count
            rdata.write(UInt16(1), at: length)
            rdata.write(UInt16(3), at: length + 2)
            rdata.write(UInt8(2), at: length + 4)
            rdata.write(UInt16(0x6832), at: length + 5)  // "h2"
            length += 7
            for round in 0..<2 {
                let isIPv6 = round == 1
                let key: UInt16 = isIPv6 ? 6 : 4
                let start = length
                length += 4
                forEachUse(entry) { use in
                    let address = addresses[use.address]
                    guard address.isIPv6 == isIPv6, !address.isUnspecified, length + 16 <= 640 + (isIPv6 ? 320 : 0)
                    else { return }
                    length += address.write(to: rdata + length)
                }
                if length == start + 4 {
                    length = start
                    continue
                }
                rdata.write(key, at: start)
                rdata.write(UInt16(length - start - 4), at: start + 2)
            }
            lookup.builder.append(
                owner: .at(lookup.nameOffset), type: .https, ttl: settings.ttl,
                rdata: UnsafeRawBufferPointer(start: rdata, count: length))
        }
    }

    // MARK: Reverse names

    private func answerReverse(_ lookup: inout Lookup) -> HostsOutcome {
        guard let range = reverseRange(lookup.name) else { return .pass }
        lookup.decision.source = .hosts
        lookup.decision.authoritative = true
        lookup.decision.place = reversePlace(range.lowerBound)
        let type = lookup.question.type
        guard type == .ptr || type == .any else {
            if type == .cname || type == .dname {
                writeNegative(&lookup)
                return .answered
            }
            return .exists(zonesOnly: settings.otherTypes == .nodata)
        }
        for index in range {
            lookup.builder.append(
                owner: .at(lookup.nameOffset), type: .ptr, ttl: settings.ttl, rdata: entryName(reverse[index]))
        }
        return .answered
    }

    /// The line that maps the address of the reverse entry at `index` to its name.
    private func reversePlace(_ index: Int) -> Place {
        let entry = entry(reverse[index])
        var found = place(entry.file, entry.line)
        forEachUse(entry) { use in
            let number = Int(use.address)
            if (Int(reverseStart[number])..<Int(reverseStart[number + 1])).contains(index) {
                found = place(use.file, use.line)
            }
        }
        return found
    }

    /// The canonical names of the address that a reverse name encodes.
    private func reverseRange(_ name: borrowing LookupName) -> Range<Int>? {
        guard !reverse.isEmpty, let address = ReverseName.address(name), let number = addresses.number(of: address)
        else {
            return nil
        }
        let range = Int(reverseStart[Int(number)])..<Int(reverseStart[Int(number) + 1])
        return range.isEmpty ? nil : range
    }
}

/// Names below in-addr.arpa and ip6.arpa.
///
/// - RFC: 1035 3.5; 3596 2.5.
enum ReverseName {
    /// The address that a complete reverse name encodes.
    static func address(_ name: borrowing LookupName) -> HostAddress? {
        guard name.labelCount == 6 || name.labelCount == 34, ends(name, in: "arpa", at: name.labelCount - 1) else {
            return nil
        }
        if name.labelCount == 6 {
            guard ends(name, in: "in-addr", at: 4) else { return nil }
            var value: UInt32 = 0
            for place in 0..<4 {
                let text = name.label(at: 3 - place)
                var octet: UInt32 = 0
                guard text.count <= 3, text.count == 1 || text[0] != UInt8(ascii: "0") else { return nil }
                for byte in text {
                    guard ASCII.isDigit(byte) else { return nil }
                    octet = octet * 10 + UInt32(byte - 48)
                }
                guard octet <= 255 else { return nil }
                value = value << 8 | octet
            }
            return HostAddress(ipv4: value)
        }
        guard ends(name, in: "ip6", at: 32) else { return nil }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for place in 0..<32 {
            let text = name.label(at: 31 - place)
            guard text.count == 1 else { return nil }
            let nibble: UInt64
            switch text[0] {
            case 0x30...0x39: nibble = UInt64(text[0] - 0x30)
            case 0x61...0x66: nibble = UInt64(text[0] - 0x61 + 10)
            default: return nil
            }
            high = high << 4 | low >> 60
            low = low << 4 | nibble
        }
        let address = HostAddress(ipv6: high, low)
        // The reverse name of an IPv4-mapped address has no data.
        return address.isIPv6 ? address : nil
    }

    private static func ends(_ name: borrowing LookupName, in text: StaticString, at label: Int) -> Bool {
        let bytes = name.label(at: label)
        guard bytes.count == text.utf8CodeUnitCount else { return false }
        for index in 0..<bytes.count where bytes[index] != text.utf8Start[index] { return false }
        return true
    }
}
