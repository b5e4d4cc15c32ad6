import DNSWire
import LDNS

/// Denial of existence, from the NSEC and NSEC3 records of a signed zone file.
///
/// Nothing is signed here: records missing from the file are left out. Does nothing in unsigned zones.
/// - RFC: 4035 3.1.3; 5155 7.2.
struct ZoneProofs {
    let view: ZoneView

    private var denial: ZoneDenial { view.denial }

    /// Proves that neither the name nor a wildcard for it exists.
    func nameError(_ name: borrowing LookupName, _ encloserLabel: Int, _ builder: inout ResponseBuilder) {
        if denial.nsec3Count > 0 {
            guard let encloser = writeClosestEncloser(name, from: encloserLabel, &builder) else { return }
            Self.withWildcard(name, encloser) { writeNSEC3Cover($0, &builder) }
        } else if denial.nsecCount > 0 {
            let first = writeNSECCover(name.suffix(at: 0), unless: nil, &builder)
            Self.withWildcard(name, encloserLabel) { _ = writeNSECCover($0, unless: first, &builder) }
        }
    }

    /// Proves that the name, or the wildcard that matches it, does not have this type.
    func noData(
        _ number: UInt32, isWildcard: Bool, _ name: borrowing LookupName, _ encloserLabel: Int,
        _ builder: inout ResponseBuilder
    ) {
        if denial.nsec3Count > 0 {
            if isWildcard {
                guard let encloser = writeClosestEncloser(name, from: encloserLabel, &builder) else { return }
                Self.withWildcard(name, encloser) { _ = writeNSEC3Match($0, &builder) }
            } else if !writeNSEC3Match(name.suffix(at: 0), &builder) {
                _ = writeClosestEncloser(name, from: 1, &builder)
            }
        } else if denial.nsecCount > 0 {
            // An empty non-terminal has no NSEC: the preceding one covers it.
            let node = view.nodes[Int(number)]
            let first: UInt32?
            if view.rrset(node, .nsec) != nil {
                writeNSEC(node, &builder)
                first = number
            } else {
                first = writeNSECCover(view.name(node), unless: nil, &builder)
            }
            if isWildcard { _ = writeNSECCover(name.suffix(at: 0), unless: first, &builder) }
        }
    }

    /// Proves, for an answer from a wildcard, that no closer match exists.
    func noCloserMatch(_ name: borrowing LookupName, _ encloserLabel: Int, _ builder: inout ResponseBuilder) {
        guard encloserLabel > 0 else { return }
        builder.begin(.authority)
        if denial.nsec3Count > 0 {
            writeNSEC3Cover(name.suffix(at: encloserLabel - 1), &builder)
        } else if denial.nsecCount > 0, let number = findNSECCover(name.suffix(at: 0)) {
            let node = view.nodes[Int(number)]
            // Several links of a chain may need the same NSEC.
            if !builder.hasAuthority(owner: view.name(node), type: .nsec) { writeNSEC(node, &builder) }
        }
    }

    /// Proves that the delegation has no DS.
    func insecureDelegation(_ cut: Zone.Node, _ name: borrowing LookupName, _ builder: inout ResponseBuilder) {
        if denial.nsec3Count > 0 {
            let wire = view.name(cut)
            var label = 0
            while label < name.labelCount, name.suffix(at: label).count > wire.count { label += 1 }
            if !writeNSEC3Match(wire, &builder) { _ = writeClosestEncloser(name, from: label + 1, &builder) }
        } else {
            writeNSEC(cut, &builder)
        }
    }

    /// Calls `body` with `*.` plus the suffix of `name` from label `label` on; `label` is not 0.
    private static func withWildcard(
        _ name: borrowing LookupName, _ label: Int, _ body: (UnsafeRawBufferPointer) -> Void
    ) {
        let suffix = name.suffix(at: label)
        withUnsafeTemporaryAllocation(byteCount: Name.maximumLength + 2, alignment: 1) { buffer in
            buffer[0] = 1
            buffer[1] = UInt8(ascii: "*")
            UnsafeMutableRawBufferPointer(rebasing: buffer[2...]).copyMemory(from: suffix)
            body(UnsafeRawBufferPointer(rebasing: buffer[..<(suffix.count + 2)]))
        }
    }

    // MARK: NSEC

    private func writeNSEC(_ node: Zone.Node, _ builder: inout ResponseBuilder) {
        guard let set = view.rrset(node, .nsec) else { return }
        let name = view.name(node)
        let owner = ResponseBuilder.Owner.name(name.baseAddress.unsafelyUnwrapped, length: name.count)
        builder.append(owner: owner, type: .nsec, ttl: set.ttl, rdata: view.rdata(view.records[Int(set.records)]))
        view.writeSignatures(node, of: .nsec, owner, &builder)
    }

    /// Writes the NSEC that covers `name`, unless it is `already` written. Returns its node.
    private func writeNSECCover(
        _ name: UnsafeRawBufferPointer, unless already: UInt32?, _ builder: inout ResponseBuilder
    ) -> UInt32? {
        let number = findNSECCover(name)
        if let number, number != already { writeNSEC(view.nodes[Int(number)], &builder) }
        return number
    }

    /// The last NSEC owner name at or before `name`, in canonical order.
    private func findNSECCover(_ name: UnsafeRawBufferPointer) -> UInt32? {
        let count = denial.nsecCount
        guard count > 0 else { return nil }
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            let owner = view.name(view.nodes[Int(denial.nsec[middle])])
            if CanonicalOrder.precedes(name, owner) { high = middle } else { low = middle + 1 }
        }
        return denial.nsec[(low + count - 1) % count]
    }

    // MARK: NSEC3

    /// Writes the proof of the closest encloser: the longest ancestor, from label `first` on, that has an NSEC3; and
    /// the NSEC3 that covers the next closer name. Returns the encloser's label.
    ///
    /// Under opt-out an existing name may have no NSEC3, hence the search.
    /// - RFC: 5155 7.2.1.
    private func writeClosestEncloser(
        _ name: borrowing LookupName, from first: Int, _ builder: inout ResponseBuilder
    ) -> Int? {
        let apexLength = Int(view.nodes[0].nameLength)
        var label = max(first, 1)
        while label <= name.labelCount, name.suffix(at: label).count >= apexLength {
            if writeNSEC3Match(name.suffix(at: label), &builder) {
                writeNSEC3Cover(name.suffix(at: label - 1), &builder)
                return label
            }
            label += 1
        }
        return nil
    }

    private func writeNSEC3Match(_ name: UnsafeRawBufferPointer, _ builder: inout ResponseBuilder) -> Bool {
        let (index, isExact) = search(name)
        if isExact { writeNSEC3(index, &builder) }
        return isExact
    }

    private func writeNSEC3Cover(_ name: UnsafeRawBufferPointer, _ builder: inout ResponseBuilder) {
        writeNSEC3(search(name).index, &builder)
    }

    private func writeNSEC3(_ index: Int, _ builder: inout ResponseBuilder) {
        let node = view.nodes[Int(denial.nsec3[index].node)]
        guard let set = view.rrset(node, .nsec3) else { return }
        let name = view.name(node)
        // One NSEC3 may prove two things; it is sent once.
        if builder.hasAuthority(owner: name, type: .nsec3) { return }
        let owner = ResponseBuilder.Owner.name(name.baseAddress.unsafelyUnwrapped, length: name.count)
        builder.append(owner: owner, type: .nsec3, ttl: set.ttl, rdata: view.rdata(view.records[Int(set.records)]))
        view.writeSignatures(node, of: .nsec3, owner, &builder)
    }

    /// The last NSEC3 whose hash is at or before the name's, and whether it matches exactly.
    private func search(_ name: UnsafeRawBufferPointer) -> (index: Int, isExact: Bool) {
        let parameters = view.rdata(view.records[Int(denial.parameters)])
        let hash = NSEC3Hash(of: name, parameters: parameters)
        let count = denial.nsec3Count
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if hash.precedes(denial.nsec3[middle].hash) { high = middle } else { low = middle + 1 }
        }
        let index = (low + count - 1) % count
        let found = denial.nsec3[index].hash
        return (index, !found.precedes(hash) && !hash.precedes(found))
    }
}
