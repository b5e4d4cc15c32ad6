import DNSWire
import LDNS

/// A signed zone's denial records, sorted, as part of its view. Empty in unsigned zones.
struct ZoneDenial: BitwiseCopyable {
    /// An NSEC3 owner: its hash, and the node that has the record.
    struct HashedName: BitwiseCopyable {
        var hash: NSEC3Hash
        var node: UInt32
    }

    /// Nodes with an NSEC, in canonical order of their names.
    var nsec: UnsafeMutablePointer<UInt32> { nsecMemory.unsafelyUnwrapped }
    private(set) var nsecCount = 0
    /// Owner names of NSEC3 records, by hash.
    var nsec3: UnsafeMutablePointer<HashedName> { nsec3Memory.unsafelyUnwrapped }
    private(set) var nsec3Count = 0
    /// Index of the NSEC3PARAM in the view's records; `none` without NSEC3.
    private(set) var parameters = Zone.none

    /// More iterations cost more than they give (RFC 9276 3.2): such zones are served without proofs.
    static let maximumIterations = 150

    /// Nil only while its count is 0; it is not read then.
    private var nsecMemory: UnsafeMutablePointer<UInt32>?
    private var nsec3Memory: UnsafeMutablePointer<HashedName>?

    init() {}

    func deallocate() {
        nsecMemory?.deallocate()
        nsec3Memory?.deallocate()
    }

    init(of view: ZoneView) {
        let parameters = Self.usableParameters(view)
        var plain: [UInt32] = []
        var hashed: [HashedName] = []
        for number in 0..<view.nodeCount {
            let node = view.nodes[number]
            if view.rrset(node, .nsec) != nil { plain.append(UInt32(number)) }
            if let parameters, let set = view.rrset(node, .nsec3), let hash = NSEC3Hash(owner: view.name(node)),
                Self.isSameChain(view.rdata(view.records[Int(set.records)]), view.rdata(view.records[Int(parameters)]))
            {
                hashed.append(HashedName(hash: hash, node: UInt32(number)))
            }
        }
        if !plain.isEmpty {
            // Signers write zones in this order, so the sort usually finds nothing to do.
            plain.sort {
                CanonicalOrder.precedes(view.name(view.nodes[Int($0)]), view.name(view.nodes[Int($1)]))
            }
            let memory = UnsafeMutablePointer<UInt32>.allocate(capacity: plain.count)
            memory.initialize(from: plain, count: plain.count)
            nsecMemory = memory
            nsecCount = plain.count
        }
        if let parameters, !hashed.isEmpty {
            hashed.sort { $0.hash.precedes($1.hash) }
            let memory = UnsafeMutablePointer<HashedName>.allocate(capacity: hashed.count)
            memory.initialize(from: hashed, count: hashed.count)
            nsec3Memory = memory
            nsec3Count = hashed.count
            self.parameters = parameters
        }
    }

    /// The first NSEC3PARAM that is usable here (RFC 5155 4): SHA-1, no flags, few iterations.
    private static func usableParameters(_ view: ZoneView) -> UInt32? {
        guard let set = view.rrset(view.nodes[0], .nsec3param) else { return nil }
        for record in set.records..<(set.records + UInt32(set.recordCount)) {
            let rdata = view.rdata(view.records[Int(record)])
            guard rdata.count >= 5, rdata.count == 5 + Int(rdata[4]), rdata[0] == 1, rdata[1] == 0 else { continue }
            if Int(rdata[2]) << 8 | Int(rdata[3]) <= maximumIterations { return record }
        }
        return nil
    }

    /// Whether an NSEC3 belongs to the chain of `parameters`: while a zone changes them, it has two chains.
    private static func isSameChain(_ nsec3: UnsafeRawBufferPointer, _ parameters: UnsafeRawBufferPointer) -> Bool {
        nsec3.count > parameters.count && nsec3[0] == parameters[0]
            && nsec3[2..<parameters.count].elementsEqual(parameters[2...])
    }
}

/// The hash of a name in an NSEC3 chain.
///
/// - RFC: 5155 5.
struct NSEC3Hash: BitwiseCopyable {
    private var bytes = InlineArray<20, UInt8>(repeating: 0)

    /// Iterated SHA-1 over a folded name and the salt; `parameters` is the RDATA of an NSEC3PARAM.
    ///
    /// Allocates. Only a negative answer with DO=1 needs it, which costs more anyway.
    init(of name: UnsafeRawBufferPointer, parameters: UnsafeRawBufferPointer) {
        let salt = parameters[5...]
        var digest = SHA1.digest(Array(name) + salt)
        for _ in 0..<(Int(parameters[2]) << 8 | Int(parameters[3])) { digest = SHA1.digest(digest + salt) }
        for index in 0..<min(20, digest.count) { bytes[index] = digest[index] }
    }

    /// The hash that an NSEC3 owner name's first label encodes in base32hex (RFC 4648 7); nil if it encodes none.
    init?(owner name: UnsafeRawBufferPointer) {
        guard name.count > 33, name[0] == 32 else { return nil }
        var decoder = Base32Hex.Decoder()
        var written = 0
        for index in 1...32 {
            guard let produced = decoder.add(name[index]) else { return nil }
            if let produced {
                bytes[written] = produced
                written += 1
            }
        }
    }

    func precedes(_ other: NSEC3Hash) -> Bool {
        for index in 0..<20 where bytes[index] != other.bytes[index] { return bytes[index] < other.bytes[index] }
        return false
    }
}

/// The canonical order of names: label by label from the right.
///
/// - RFC: 4034 6.1.
enum CanonicalOrder {
    /// Whether `a` sorts before `b`: both folded, valid and uncompressed.
    static func precedes(_ a: UnsafeRawBufferPointer, _ b: UnsafeRawBufferPointer) -> Bool {
        var (aLabels, bLabels) = (InlineArray<128, UInt8>(repeating: 0), InlineArray<128, UInt8>(repeating: 0))
        var (aCount, bCount) = (starts(of: a, &aLabels), starts(of: b, &bLabels))
        while aCount > 0, bCount > 0 {
            aCount -= 1
            bCount -= 1
            let (aStart, bStart) = (Int(aLabels[aCount]), Int(bLabels[bCount]))
            let (aLength, bLength) = (Int(a[aStart]), Int(b[bStart]))
            for index in 0..<min(aLength, bLength) {
                let (x, y) = (a[aStart + 1 + index], b[bStart + 1 + index])
                if x != y { return x < y }
            }
            if aLength != bLength { return aLength < bLength }
        }
        return aCount < bCount
    }

    private static func starts(of name: UnsafeRawBufferPointer, _ labels: inout InlineArray<128, UInt8>) -> Int {
        var count = 0
        var cursor = 0
        while cursor < name.count, name[cursor] != 0, count < 128 {
            labels[count] = UInt8(truncatingIfNeeded: cursor)
            count += 1
            cursor += Int(name[cursor]) + 1
        }
        return count
    }
}
