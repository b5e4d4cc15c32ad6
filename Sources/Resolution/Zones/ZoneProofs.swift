import DNSWire
import LDNS

/// Denial of existence from the NSEC and NSEC3 records that a signed zone file brings along.
///
/// We sign nothing: what the file has is served, what it lacks is left out.
/// - RFC: 4035 3.1.3; 5155 7.2.
struct ZoneProofs {
    let zone: Zone
    let view: ZoneView
    let apexLabel: Int

    /// An NSEC3 owner: its hash, and the node that has the record.
    struct HashedName: Sendable, BitwiseCopyable {
        var hash: InlineArray<20, UInt8>
        var node: UInt32
    }

    struct Parameters: Sendable {
        var iterations: Int
        var salt: [UInt8]
    }

    /// More costs more than it gives (RFC 9276 3.2): such zones are served without proofs.
    static let maximumIterations = 150

    private var tables: ZoneTables { zone.tables }

    /// The name does not exist: nor does a wildcard that would stand in for it.
    func nameError(_ name: borrowing LookupName, _ encloserLabel: Int, _ builder: inout ResponseBuilder) {
        if let parameters = tables.nsec3Parameters {
            writeNSEC3Match(suffix(name, encloserLabel), parameters, &builder)
            writeNSEC3Cover(suffix(name, encloserLabel - 1), parameters, &builder)
            writeNSEC3Cover(wildcard(name, encloserLabel), parameters, &builder)
        } else {
            let first = writeNSECCover(suffix(name, 0), nil, &builder)
            _ = writeNSECCover(wildcard(name, encloserLabel), first, &builder)
        }
    }

    /// The name exists (or a wildcard stands in for it), but not with this type.
    func noData(
        _ node: Zone.Node, isWildcard: Bool, _ name: borrowing LookupName, _ encloserLabel: Int,
        _ builder: inout ResponseBuilder
    ) {
        if let parameters = tables.nsec3Parameters {
            if isWildcard {
                writeNSEC3Match(suffix(name, encloserLabel), parameters, &builder)
                writeNSEC3Cover(suffix(name, encloserLabel - 1), parameters, &builder)
                writeNSEC3Match(wildcard(name, encloserLabel), parameters, &builder)
            } else if !writeNSEC3Match(suffix(name, 0), parameters, &builder) {
                writeClosestProvable(name, parameters, &builder)
            }
        } else {
            let ownerName = view.name(node)
            if view.rrset(node, .nsec) != nil {
                writeNSEC(node, ownerName, &builder)
                if isWildcard { _ = writeNSECCover(suffix(name, 0), nil, &builder) }
            } else {
                // An empty non-terminal has no NSEC of its own: the one before it covers it.
                _ = writeNSECCover(suffix(name, 0), nil, &builder)
            }
        }
    }

    /// The answer came from a wildcard: nothing closer exists.
    func noCloserMatch(_ name: borrowing LookupName, _ encloserLabel: Int, _ builder: inout ResponseBuilder) {
        builder.begin(.authority)
        if let parameters = tables.nsec3Parameters {
            writeNSEC3Cover(suffix(name, encloserLabel - 1), parameters, &builder)
        } else {
            _ = writeNSECCover(suffix(name, 0), nil, &builder)
        }
    }

    /// The delegation has no DS.
    func insecureDelegation(_ cut: Zone.Node, _ name: borrowing LookupName, _ builder: inout ResponseBuilder) {
        if let parameters = tables.nsec3Parameters {
            var cutName = LookupName()
            _ = cutName.assign(uncompressed: view.name(cut))
            if !writeNSEC3Match(suffix(cutName, 0), parameters, &builder) {
                writeClosestProvable(cutName, parameters, &builder)
            }
        } else {
            writeNSEC(cut, view.name(cut), &builder)
        }
    }

    private func suffix(_ name: borrowing LookupName, _ label: Int) -> [UInt8] {
        Array(name.suffix(at: max(label, 0)))
    }

    private func wildcard(_ name: borrowing LookupName, _ label: Int) -> [UInt8] {
        [1, UInt8(ascii: "*")] + suffix(name, label)
    }

    // MARK: NSEC

    private func writeNSEC(
        _ node: Zone.Node, _ ownerName: UnsafeRawBufferPointer, _ builder: inout ResponseBuilder
    ) {
        guard let set = view.rrset(node, .nsec) else { return }
        let owner = ResponseBuilder.Owner.name(ownerName.baseAddress.unsafelyUnwrapped, length: ownerName.count)
        for index in 0..<Int(set.recordCount) {
            builder.append(
                owner: owner, type: .nsec, ttl: set.ttl, rdata: view.rdata(view.records[Int(set.records) + index]))
        }
        view.writeSignatures(node, of: .nsec, owner, &builder)
    }

    /// Writes the NSEC whose span holds `name`, unless it is `already` there. Returns its node.
    private func writeNSECCover(_ name: [UInt8], _ already: UInt32?, _ builder: inout ResponseBuilder) -> UInt32? {
        let sorted = tables.nsecNodes
        guard !sorted.isEmpty else { return nil }
        let wanted = Name(uncheckedWire: name)
        // The last owner that is not behind the name, in canonical order.
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            let owner = Name(uncheckedWire: Array(view.name(view.nodes[Int(sorted[middle])])))
            if wanted < owner { high = middle } else { low = middle + 1 }
        }
        let number = sorted[(low + sorted.count - 1) % sorted.count]
        if number != already {
            let node = view.nodes[Int(number)]
            writeNSEC(node, view.name(node), &builder)
        }
        return number
    }

    // MARK: NSEC3

    /// The longest ancestor that has an NSEC3, and the span over the next closer name (RFC 5155 7.2.1).
    private func writeClosestProvable(
        _ name: borrowing LookupName, _ parameters: Parameters, _ builder: inout ResponseBuilder
    ) {
        for label in 1..<max(name.labelCount + 1, 2) {
            let encloser = suffix(name, label)
            if writeNSEC3Match(encloser, parameters, &builder) {
                writeNSEC3Cover(suffix(name, label - 1), parameters, &builder)
                return
            }
            if encloser.count <= zone.apex.wire.count { return }
        }
    }

    @discardableResult
    private func writeNSEC3Match(
        _ name: [UInt8], _ parameters: Parameters, _ builder: inout ResponseBuilder
    ) -> Bool {
        let (index, exact) = search(name, parameters)
        guard exact else { return false }
        writeNSEC3(index, &builder)
        return true
    }

    private func writeNSEC3Cover(_ name: [UInt8], _ parameters: Parameters, _ builder: inout ResponseBuilder) {
        let (index, _) = search(name, parameters)
        writeNSEC3(index, &builder)
    }

    private func writeNSEC3(_ index: Int, _ builder: inout ResponseBuilder) {
        let node = view.nodes[Int(tables.nsec3[index].node)]
        guard let set = view.rrset(node, .nsec3) else { return }
        let ownerName = view.name(node)
        let owner = ResponseBuilder.Owner.name(ownerName.baseAddress.unsafelyUnwrapped, length: ownerName.count)
        // One span may prove two things; it is sent once.
        if builder.hasAuthority(owner: ownerName, type: .nsec3) { return }
        builder.append(
            owner: owner, type: .nsec3, ttl: set.ttl, rdata: view.rdata(view.records[Int(set.records)]))
        view.writeSignatures(node, of: .nsec3, owner, &builder)
    }

    /// The last NSEC3 whose hash is not behind the name's, and whether it is the name's own.
    private func search(_ name: [UInt8], _ parameters: Parameters) -> (index: Int, exact: Bool) {
        let hash = Self.hash(name, parameters)
        let sorted = tables.nsec3
        var low = 0
        var high = sorted.count
        while low < high {
            let middle = (low + high) / 2
            if Self.precedes(hash, sorted[middle].hash) { high = middle } else { low = middle + 1 }
        }
        let index = (low + sorted.count - 1) % sorted.count
        return (index, !Self.precedes(sorted[index].hash, hash) && !Self.precedes(hash, sorted[index].hash))
    }

    static func precedes(_ a: InlineArray<20, UInt8>, _ b: InlineArray<20, UInt8>) -> Bool {
        for index in 0..<20 where a[index] != b[index] { return a[index] < b[index] }
        return false
    }

    /// RFC 5155 5: iterated SHA-1 over the canonical name and the salt.
    static func hash(_ name: [UInt8], _ parameters: Parameters) -> InlineArray<20, UInt8> {
        var digest = SHA1.digest(name.map(ASCII.lowercased) + parameters.salt)
        for _ in 0..<parameters.iterations { digest = SHA1.digest(digest + parameters.salt) }
        var result = InlineArray<20, UInt8>(repeating: 0)
        for index in 0..<min(20, digest.count) { result[index] = digest[index] }
        return result
    }
}

/// Collects what denial of existence needs while a zone is compiled.
struct ProofTables {
    private(set) var nsecNodes: [UInt32] = []
    private(set) var nsec3: [ZoneProofs.HashedName] = []
    private(set) var parameters: ZoneProofs.Parameters?

    mutating func collect(_ view: ZoneView) {
        if let set = view.rrset(view.nodes[0], .nsec3param) {
            let rdata = view.rdata(view.records[Int(set.records)])
            if rdata.count >= 5, rdata[0] == 1, rdata.count == 5 + Int(rdata[4]) {
                let iterations = Int(rdata[2]) << 8 | Int(rdata[3])
                if iterations <= ZoneProofs.maximumIterations {
                    parameters = ZoneProofs.Parameters(iterations: iterations, salt: Array(rdata[5...]))
                }
            }
        }
        for number in 0..<view.nodeCount {
            let node = view.nodes[number]
            if view.rrset(node, .nsec) != nil { nsecNodes.append(UInt32(number)) }
            if parameters != nil, view.rrset(node, .nsec3) != nil, let hash = Self.hash(of: view.name(node)) {
                nsec3.append(ZoneProofs.HashedName(hash: hash, node: UInt32(number)))
            }
        }
        if nsec3.isEmpty { parameters = nil }
        nsec3.sort { ZoneProofs.precedes($0.hash, $1.hash) }
        let names = nsecNodes.map { Name(uncheckedWire: Array(view.name(view.nodes[Int($0)]))) }
        nsecNodes = zip(names, nsecNodes).sorted { $0.0 < $1.0 }.map(\.1)
    }

    /// The hash that an NSEC3 owner's first label spells, in base32hex (RFC 4648 7).
    private static func hash(of name: UnsafeRawBufferPointer) -> InlineArray<20, UInt8>? {
        guard name.count > 33, name[0] == 32 else { return nil }
        var result = InlineArray<20, UInt8>(repeating: 0)
        var bits: UInt32 = 0
        var count = 0
        var written = 0
        for index in 1...32 {
            let value: UInt32
            switch name[index] {
            case 0x30...0x39: value = UInt32(name[index] - 0x30)
            case 0x61...0x76: value = UInt32(name[index] - 0x61 + 10)
            default: return nil
            }
            bits = bits << 5 | value
            count += 5
            if count >= 8 {
                count -= 8
                result[written] = UInt8(truncatingIfNeeded: bits >> UInt32(count))
                written += 1
            }
        }
        return result
    }
}
