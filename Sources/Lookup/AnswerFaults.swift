import DNSWire
import Platform

extension Lookup {
    /// Rewrites the complete response as the rules' faults say: TTLs, and which records there are, in which order.
    ///
    /// Signatures of records that were left out or changed would be wrong: they go, too. If nothing of the type asked
    /// for stays, the answer is NODATA.
    @inline(never)
    package mutating func applyFaults() {
        let faults = faults
        defer {
            // The client asks again over TCP; AA and the like are those of the answer.
            if faults.actions.contains(.truncate), request.transport == .udp { builder.requireWhole() }
        }
        guard faults.rewrites else { return }
        let old = Array(builder.message)
        let counts = [Int(builder.answers), Int(builder.authority), Int(builder.additional)]
        let hadData = hasData
        let changed = old.withUnsafeBytes { message in rewrite(message, counts, faults) }
        if changed { decision.authenticData = false }
        keepHops(old)
        if hadData, !hasData, builder.authority == 0 {
            appendNegativeSOA(at: Header.length, ttl: faults.actions.contains(.ttl) ? faults.ttl : 0)
        }
    }

    /// Whether there is a record of the type asked for.
    private var hasData: Bool {
        var cursor = builder.questionEnd
        for _ in 0..<builder.answers {
            guard let record = MessageReader.record(builder.message, at: cursor) else { return false }
            if record.type == question.type { return true }
            cursor = record.end
        }
        return false
    }

    /// Whether a record is left out or changed otherwise than in its TTL.
    private mutating func rewrite(_ message: UnsafeRawBufferPointer, _ counts: [Int], _ faults: Faults) -> Bool {
        var records: [(section: Int, record: MessageReader.Record)] = []
        var cursor = builder.questionEnd
        for (section, count) in counts.enumerated() {
            for _ in 0..<count {
                guard let record = MessageReader.record(message, at: cursor) else { return false }
                cursor = record.end
                records.append((section, record))
            }
        }
        let isTruncated = builder.truncated
        var gone: Set<RecordType> = []
        let actions = faults.actions
        if actions.contains(.onlyIPv4) { gone.insert(.aaaa) }
        if actions.contains(.onlyIPv6) { gone.insert(.a) }
        if actions.contains(.stripHTTPS) { gone.formUnion([.https, .svcb]) }
        var edited: Set<RecordType> = []
        if !strippedKeys(actions).isEmpty { edited.formUnion([.https, .svcb]) }
        if actions.contains(.keep) { edited.formUnion([.a, .aaaa]) }
        let present = Set(records.map(\.record.type))
        let changes = !present.isDisjoint(with: gone.union(edited))
        records.removeAll { _, record in
            if gone.contains(record.type) { return true }
            guard record.type == .rrsig, record.rdataLength > 2 else { return false }
            let covered = RecordType(rawValue: message.baseAddress.unsafelyUnwrapped.readUInt16(record.rdata))
            return gone.contains(covered) || edited.contains(covered)
        }
        if actions.contains(.shuffle) { Self.shuffle(&records, faults.seed) }
        builder.rollback(to: builder.start)
        var left: [RecordType: Int] = [.a: Int(faults.kept), .aaaa: Int(faults.kept)]
        for (section, record) in records {
            if actions.contains(.keep), section == 0, let count = left[record.type] {
                if count == 0 { continue }
                left[record.type] = count - 1
            }
            if section > builder.section.rawValue {
                builder.begin(section == 1 ? .authority : .additional)
            }
            guard append(record, of: message, faults) else { break }
        }
        if isTruncated { builder.requireWhole() }
        return changes
    }

    private mutating func append(
        _ record: MessageReader.Record, of message: UnsafeRawBufferPointer, _ faults: Faults
    ) -> Bool {
        owner.removeAll(keepingCapacity: true)
        rdata.removeAll(keepingCapacity: true)
        guard MessageReader.expandName(message, at: record.start, into: &owner),
            MessageReader.expandRDATA(message, record, into: &rdata)
        else { return false }
        if record.type == .https || record.type == .svcb {
            strip(strippedKeys(faults.actions))
        }
        let isFirst = MessageReader.isPointer(message, at: record.start, to: Header.length)
        let ttl = faults.actions.contains(.ttl) ? faults.ttl : record.ttl
        return owner.withUnsafeBytes { owner in
            rdata.withUnsafeBytes { rdata in
                let place: ResponseBuilder.Owner =
                    isFirst
                    ? .at(Header.length) : .name(owner.baseAddress.unsafelyUnwrapped, length: owner.count)
                return builder.append(
                    owner: place, type: record.type, recordClass: record.recordClass, ttl: ttl, rdata: rdata)
            }
        }
    }

    /// SvcParamKeys: `ech`, `ipv4hint`, `ipv6hint`.
    /// - RFC: 9460 14.3.2.
    private func strippedKeys(_ actions: Faults.Actions) -> [UInt16] {
        var keys: [UInt16] = []
        if actions.contains(.stripECH) { keys.append(5) }
        if !actions.isDisjoint(with: [.stripHints, .onlyIPv6]) { keys.append(4) }
        if !actions.isDisjoint(with: [.stripHints, .onlyIPv4]) { keys.append(6) }
        return keys
    }

    /// Removes parameters from the SVCB or HTTPS data in `rdata`; also from the list of mandatory ones.
    /// - RFC: 9460 2.2, 8.
    private mutating func strip(_ keys: [UInt16]) {
        guard !keys.isEmpty, rdata.count > 2 else { return }
        var cursor = 2
        while cursor < rdata.count, rdata[cursor] != 0 { cursor += Int(rdata[cursor]) + 1 }
        cursor += 1
        guard cursor <= rdata.count else { return }
        var kept = Array(rdata[..<cursor])
        while cursor + 4 <= rdata.count {
            let key = UInt16(rdata[cursor]) << 8 | UInt16(rdata[cursor + 1])
            let end = cursor + 4 + Int(rdata[cursor + 2]) << 8 + Int(rdata[cursor + 3])
            guard end <= rdata.count else { return }
            if key == 0 {
                var list: [UInt8] = []
                for index in stride(from: cursor + 4, to: end - 1, by: 2)
                where !keys.contains(UInt16(rdata[index]) << 8 | UInt16(rdata[index + 1])) {
                    list += rdata[index...(index + 1)]
                }
                if !list.isEmpty { kept += [0, 0, UInt8(list.count >> 8), UInt8(list.count & 0xFF)] + list }
            } else if !keys.contains(key) {
                kept += rdata[cursor..<end]
            }
            cursor = end
        }
        rdata = kept
    }

    /// Puts the addresses of each type in another order; all else stays where it is.
    private static func shuffle(_ records: inout [(section: Int, record: MessageReader.Record)], _ seed: UInt64) {
        var random = SeededRandom(seed)
        for type in [RecordType.a, .aaaa] {
            let slots = records.indices.filter { records[$0].section == 0 && records[$0].record.type == type }
            let order = slots.map { records[$0] }.shuffled(using: &random)
            for (slot, record) in zip(slots, order) { records[slot] = record }
        }
    }

    /// The names of the chain are where they were, unless something before them has changed its size.
    private mutating func keepHops(_ old: [UInt8]) {
        guard decision.hopCount > 0 else { return }
        var before: [UInt8] = []
        var after: [UInt8] = []
        for index in 0..<decision.hopCount {
            let offset = Int(decision.hop(index).nameOffset)
            before.removeAll(keepingCapacity: true)
            after.removeAll(keepingCapacity: true)
            let isThere =
                old.withUnsafeBytes { MessageReader.expandName($0, at: offset, into: &before) }
                && MessageReader.expandName(builder.message, at: offset, into: &after)
            if !isThere || before != after { decision.moveHop(index, to: Header.length) }
        }
    }
}

/// Numbers that follow from a seed: the same ones each time, on each machine.
public struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    public init(_ seed: UInt64) { state = seed }

    /// SplitMix64.
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }
}
