package import DNSWire

/// A DNS message built field by field; any field may be wrong.
package struct Packet: Sendable {
    package var id: UInt16 = 0x1234
    /// QR, Opcode, AA, TC, RD, RA, Z, AD, CD, RCODE.
    package var flags: UInt16 = 0
    package var questions: [[UInt8]] = []
    package var answers: [[UInt8]] = []
    package var authority: [[UInt8]] = []
    package var additional: [[UInt8]] = []
    /// QDCOUNT, ANCOUNT, NSCOUNT, ARCOUNT, if they are to differ from the contents.
    package var counts: [UInt16]?

    /// With one question, or none without `name`.
    package init(
        _ name: String? = nil, _ type: RecordType = .a, _ recordClass: RecordClass = .in, flags: UInt16 = 0,
        additional: [[UInt8]] = []
    ) {
        self.flags = flags
        self.additional = additional
        if let name { questions = [Self.question(name, type, recordClass)] }
    }

    package var wire: [UInt8] {
        let sections = [questions, answers, authority, additional]
        let counts = counts ?? sections.map { UInt16($0.count) }
        return Self.bytes(id) + Self.bytes(flags) + counts.flatMap(Self.bytes) + sections.joined().joined()
    }

    package static func question(
        _ name: String, _ type: RecordType = .a, _ recordClass: RecordClass = .in
    ) -> [UInt8] {
        self.name(name) + bytes(type.rawValue) + bytes(recordClass.rawValue)
    }

    package static func record(
        _ owner: [UInt8], _ type: RecordType, in recordClass: RecordClass = .in, ttl: UInt32 = 60, _ rdata: [UInt8]
    ) -> [UInt8] {
        owner + bytes(type.rawValue) + bytes(recordClass.rawValue) + bytes(UInt16(ttl >> 16))
            + bytes(UInt16(truncatingIfNeeded: ttl)) + bytes(UInt16(rdata.count)) + rdata
    }

    /// An OPT record (RFC 6891 6.1.2).
    package static func opt(
        payload: UInt16 = 1232, version: UInt8 = 0, flags: UInt16 = 0, owner: [UInt8] = [0],
        _ options: [(code: UInt16, data: [UInt8])] = []
    ) -> [UInt8] {
        record(
            owner, .opt, in: RecordClass(rawValue: payload), ttl: UInt32(version) << 16 | UInt32(flags),
            options.flatMap { bytes($0.code) + bytes(UInt16($0.data.count)) + $0.data })
    }

    /// The wire form; empty if `text` is not a name.
    package static func name(_ text: String) -> [UInt8] { Name(text)?.wire ?? [] }

    package static func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(truncatingIfNeeded: value)] }
}

/// A small seeded generator (SplitMix64), so that a failure can be reproduced.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
