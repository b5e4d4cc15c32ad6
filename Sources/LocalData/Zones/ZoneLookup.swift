import DNSWire
import Lookup

/// One lookup in one zone: the algorithm of an authoritative server, for one name.
///
/// - RFC: 1034 4.3.2; 4592 3.3; 6672 3.2; 2308 2; 4035 3.1; 5155 7.2.
struct ZoneLookup {
    let view: ZoneView
    /// The label of the name where the apex starts.
    let apexLabel: Int
    let nameOffset: Int
    let question: Question

    /// The position of a name in a zone.
    struct Position: BitwiseCopyable {
        /// The node of the name itself, if there is one.
        var exact: UInt32?
        /// The closest encloser (or the name itself), and its label.
        var encloser: UInt32
        var encloserLabel: Int
        /// The zone cut at or above the name.
        var cut: UInt32?
        /// The DNAME above the name.
        var dname: UInt32?
    }

    static func place(of name: borrowing LookupName, in view: ZoneView, apexLabel: Int) -> Position {
        var position = Position(exact: nil, encloser: 0, encloserLabel: apexLabel, cut: nil, dname: nil)
        for label in 0...apexLabel {
            guard let number = view.probe(name, at: label) else { continue }
            position.encloser = number
            position.encloserLabel = label
            if label == 0 { position.exact = number }
            break
        }
        let node = view.nodes[Int(position.encloser)]
        if node.boundaryAbove != Zone.none {
            let boundary = view.nodes[Int(node.boundaryAbove)]
            if boundary.flags.contains(.cut) {
                position.cut = node.boundaryAbove
            } else {
                position.dname = node.boundaryAbove
            }
        } else if node.flags.contains(.cut) {
            position.cut = position.encloser
        } else if position.exact == nil, node.flags.contains(.dname) {
            position.dname = position.encloser
        }
        return position
    }

    func answer(_ lookup: inout Lookup) -> Outcome {
        let position = Self.place(of: lookup.name, in: view, apexLabel: apexLabel)
        if let cut = position.cut {
            // At the cut itself, DS belongs to the parent side.
            if !(question.type == .ds && position.exact == cut) { return referral(cut, &lookup) }
        } else if let dname = position.dname {
            return redirect(by: dname, lookup.name, &lookup.builder, &lookup.decision)
        }
        lookup.decision.source = .zone
        lookup.decision.authoritative = true
        if let exact = position.exact {
            return answerFrom(exact, position, isWildcard: false, lookup.name, &lookup.builder, &lookup.decision)
        }
        if let wildcard = view.probeWildcard(lookup.name, at: position.encloserLabel) {
            return answerFrom(wildcard, position, isWildcard: true, lookup.name, &lookup.builder, &lookup.decision)
        }
        lookup.decision.responseCode = .nxDomain
        writeSOA(lookup.name, &lookup.builder, &lookup.decision)
        if question.dnssecOK { proofs.nameError(lookup.name, position.encloserLabel, &lookup.builder) }
        return .answered
    }

    private var proofs: ZoneProofs { ZoneProofs(view: view) }

    // MARK: Data

    private func answerFrom(
        _ number: UInt32, _ position: Position, isWildcard: Bool, _ name: borrowing LookupName,
        _ builder: inout ResponseBuilder, _ decision: inout Decision
    ) -> Outcome {
        let node = view.nodes[Int(number)]
        let owner = ResponseBuilder.Owner.at(nameOffset)
        if question.type == .any {
            var any = false
            for index in 0..<Int(node.rrsetCount) {
                let set = view.rrsets[Int(node.rrsets) + index]
                if set.type == .rrsig || set.type == .nsec || set.type == .nsec3, !question.dnssecOK { continue }
                if !any { decision.place = view.records[Int(set.records)].place }
                any = true
                write(set, of: node, owner, &builder)
            }
            if any {
                if isWildcard, question.dnssecOK {
                    proofs.noCloserMatch(name, position.encloserLabel, &builder)
                }
                return .answered
            }
        } else if let set = view.rrset(node, question.type) {
            decision.place = view.records[Int(set.records)].place
            write(set, of: node, owner, &builder)
            if question.dnssecOK {
                view.writeSignatures(node, of: set.type, owner, &builder)
                if isWildcard { proofs.noCloserMatch(name, position.encloserLabel, &builder) }
            }
            writeAdditional(set, &builder)
            return .answered
        } else if node.flags.contains(.cname), question.type != .rrsig, question.type != .nsec,
            let set = view.rrset(node, .cname)
        {
            let record = view.records[Int(set.records)]
            decision.place = record.place
            let target = builder.appendCNAME(owner: owner, ttl: set.ttl, target: view.rdata(record))
            if question.dnssecOK { view.writeSignatures(node, of: .cname, owner, &builder) }
            // Truncated: the client retries over TCP, where everything fits.
            guard let target else { return .answered }
            return .chase(target)
        }
        writeSOA(name, &builder, &decision)
        if question.dnssecOK {
            proofs.noData(number, isWildcard: isWildcard, name, position.encloserLabel, &builder)
        }
        return .answered
    }

    /// Writes the records that fit; sets TC if some don't.
    private func write(
        _ set: Zone.RRset, of node: Zone.Node, _ owner: ResponseBuilder.Owner, _ builder: inout ResponseBuilder
    ) {
        for index in 0..<Int(set.recordCount) {
            let record = view.records[Int(set.records) + index]
            let ttl = view.ttl(record, of: set, at: node)
            guard builder.append(owner: owner, type: set.type, ttl: ttl, rdata: view.rdata(record)) else { return }
        }
    }

    /// Writes the addresses of `node` into the additional section, each RRset whole or not at all (RFC 2181 5, 9).
    ///
    /// Returns whether all of them fit.
    private func writeAddresses(_ node: Zone.Node, _ builder: inout ResponseBuilder) -> Bool {
        // A truncated response is retried anyway.
        guard !builder.truncated else { return false }
        let name = view.name(node)
        let owner = ResponseBuilder.Owner.name(name.baseAddress.unsafelyUnwrapped, length: name.count)
        builder.begin(.additional)
        return writeAddresses(.a, node, owner, &builder) && writeAddresses(.aaaa, node, owner, &builder)
    }

    private func writeAddresses(
        _ type: RecordType, _ node: Zone.Node, _ owner: ResponseBuilder.Owner, _ builder: inout ResponseBuilder
    ) -> Bool {
        guard let set = view.rrset(node, type) else { return true }
        let start = builder.mark
        for record in Int(set.records)..<(Int(set.records) + Int(set.recordCount)) {
            let rdata = view.rdata(view.records[record])
            guard builder.append(owner: owner, type: type, ttl: set.ttl, rdata: rdata) else {
                builder.rollback(to: start)
                return false
            }
        }
        return true
    }

    /// Addresses of the answer's targets, if this zone has them and they fit.
    private func writeAdditional(_ set: Zone.RRset, _ builder: inout ResponseBuilder) {
        switch set.type {
        case .ns, .mx, .srv, .svcb, .https: break
        default: return
        }
        // The proofs for a chain's wildcards are still to come, and the additional section must be last.
        guard nameOffset == Header.length || !question.dnssecOK else { return }
        let first = Int(set.records)
        for index in first..<(first + min(Int(set.recordCount), 16)) {
            let target = view.records[index].target
            guard target != Zone.none else { continue }
            if (first..<index).contains(where: { view.records[$0].target == target }) { continue }
            guard writeAddresses(view.nodes[Int(target)], &builder) else { return }
        }
    }

    private func writeSOA(
        _ name: borrowing LookupName, _ builder: inout ResponseBuilder, _ decision: inout Decision
    ) {
        guard let rdata = view.soaData else { return }
        decision.place = view.records[Int(view.soa)].place
        builder.begin(.authority)
        let owner = view.ownerOfApex(name, apexLabel, nameOffset)
        builder.append(owner: owner, type: .soa, ttl: view.negativeTTL, rdata: rdata)
        if question.dnssecOK {
            view.writeSignatures(view.nodes[0], of: .soa, owner, &builder, ttl: view.negativeTTL)
        }
    }

    // MARK: DNAME

    /// The DNAME, and the CNAME made from it for this name.
    ///
    /// - RFC: 6672 3.1 (the synthesized CNAME has the DNAME's TTL), 3.2.
    private func redirect(
        by number: UInt32, _ name: borrowing LookupName, _ builder: inout ResponseBuilder, _ decision: inout Decision
    ) -> Outcome {
        let node = view.nodes[Int(number)]
        guard let set = view.rrset(node, .dname) else { return .pass }
        let record = view.records[Int(set.records)]
        decision.source = .zone
        decision.authoritative = true
        decision.place = record.place
        let ownerName = view.name(node)
        let owner = ResponseBuilder.Owner.name(ownerName.baseAddress.unsafelyUnwrapped, length: ownerName.count)
        let target = view.rdata(record)
        guard builder.append(owner: owner, type: .dname, ttl: set.ttl, rdata: target) else { return .answered }
        if question.dnssecOK { view.writeSignatures(node, of: .dname, owner, &builder) }
        let prefix = name.length - ownerName.count
        guard prefix + target.count <= Name.maximumLength else {
            decision.responseCode = .yxDomain
            return .answered
        }
        return withUnsafeTemporaryAllocation(byteCount: 256, alignment: 1) { buffer in
            let base = buffer.baseAddress.unsafelyUnwrapped
            base.copyMemory(from: name.bytes, byteCount: prefix)
            (base + prefix).copyMemory(from: target.baseAddress.unsafelyUnwrapped, byteCount: target.count)
            let offset = builder.appendCNAME(
                owner: .at(nameOffset), ttl: set.ttl,
                target: UnsafeRawBufferPointer(start: base, count: prefix + target.count))
            // If the query asks for the CNAME, it is answered.
            guard let offset, question.type != .cname else { return .answered }
            return .chase(offset)
        }
    }

    // MARK: Zone cuts

    /// A referral to the name servers of the cut; or, if the query may be forwarded, nothing: upstream resolves the
    /// name.
    private func referral(_ number: UInt32, _ lookup: inout Lookup) -> Outcome {
        if question.mayForward {
            lookup.isBelowCut = true
            return .pass
        }
        let cut = view.nodes[Int(number)]
        guard let set = view.rrset(cut, .ns) else { return .pass }
        lookup.decision.source = .zone
        lookup.decision.authoritative = false
        lookup.decision.place = view.records[Int(set.records)].place
        lookup.builder.begin(.authority)
        let cutName = view.name(cut)
        let owner = ResponseBuilder.Owner.name(cutName.baseAddress.unsafelyUnwrapped, length: cutName.count)
        write(set, of: cut, owner, &lookup.builder)
        if question.dnssecOK, view.isSigned {
            if let ds = view.rrset(cut, .ds) {
                write(ds, of: cut, owner, &lookup.builder)
                view.writeSignatures(cut, of: .ds, owner, &lookup.builder)
            } else {
                proofs.insecureDelegation(cut, lookup.name, &lookup.builder)
            }
        }
        // Name servers at or below the cut can't be found without glue (RFC 9471 3.1), so all of theirs goes first.
        for round in 0..<2 {
            let isInDomain = round == 0
            for index in Int(set.records)..<(Int(set.records) + Int(set.recordCount)) {
                let target = view.records[index].target
                guard target != Zone.none else { continue }
                let node = view.nodes[Int(target)]
                guard Self.isAtOrBelow(view.name(node), cutName) == isInDomain else { continue }
                if !writeAddresses(node, &lookup.builder) {
                    if isInDomain { lookup.builder.requireWhole() }
                    return .answered
                }
            }
        }
        return .answered
    }

    private static func isAtOrBelow(_ name: UnsafeRawBufferPointer, _ ancestor: UnsafeRawBufferPointer) -> Bool {
        let start = name.count - ancestor.count
        guard start >= 0 else { return false }
        var cursor = 0
        while cursor < start { cursor += Int(name[cursor]) + 1 }
        return cursor == start
            && UnsafeRawBufferPointer(rebasing: name[start...]).elementsEqual(ancestor)
    }
}

extension ZoneView {
    /// The apex as an owner name: a pointer into the question if the name is there.
    func ownerOfApex(
        _ name: borrowing LookupName, _ apexLabel: Int, _ nameOffset: Int
    ) -> ResponseBuilder.Owner {
        if nameOffset == Header.length { return .at(Header.length + name.offset(at: apexLabel)) }
        let apex = self.name(nodes[0])
        return .name(apex.baseAddress.unsafelyUnwrapped, length: apex.count)
    }

    /// The RRSIGs of `node` that cover `type`.
    func writeSignatures(
        _ node: Zone.Node, of type: RecordType, _ owner: ResponseBuilder.Owner, _ builder: inout ResponseBuilder,
        ttl: UInt32? = nil
    ) {
        guard let set = rrset(node, .rrsig) else { return }
        for index in 0..<Int(set.recordCount) {
            let rdata = rdata(records[Int(set.records) + index])
            guard rdata.count > 18, rdata.baseAddress.unsafelyUnwrapped.readUInt16(0) == type.rawValue else { continue }
            // A signature has the TTL of the RRset it covers (RFC 4034 3).
            let signed = ttl ?? rrset(node, type)?.ttl ?? set.ttl
            builder.append(owner: owner, type: .rrsig, ttl: signed, rdata: rdata)
        }
    }
}
