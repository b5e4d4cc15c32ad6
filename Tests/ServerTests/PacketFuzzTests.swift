import DNSWire
import Foundation
import LookupLog
import TestSupport
import Testing

@testable import Platform

/// Random bytes, and valid and malformed messages with a few mutations.
struct PacketMutator {
    private var random: SeededGenerator
    private let seeds: [[UInt8]]

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        let names = [
            "acme.org.", "over.acme.org.", "x.wild.acme.org.", "www.acme.org.", "big.acme.org.", "medium.acme.org.",
            "nothing.acme.org.", "cached.example.", "far.example.", "localhost.", "version.bind.", ".",
        ]
        let types: [RecordType] = [.a, .aaaa, .txt, .https, .mx, .soa, .any, .ptr, .axfr, .ixfr]
        let optionLists: [[(UInt16, [UInt8])]] = [
            [], [(10, [1, 2, 3, 4, 5, 6, 7, 8])], [(11, [])], [(3, []), (12, [0, 0, 0, 0])], [(8, [0, 1, 0, 0])],
        ]
        var seeds = MalformedPacket.all.map(\.bytes)
        for (index, name) in names.enumerated() {
            for (number, type) in types.enumerated() {
                let options = optionLists[(index + number) % optionLists.count].map { (code: $0.0, data: $0.1) }
                seeds.append(Packet(name, type, flags: 0x0100).wire)
                seeds.append(
                    Packet(
                        name, type, flags: 0x0120, additional: [Packet.opt(payload: 512, flags: 0x8000, options)]
                    ).wire)
            }
        }
        self.seeds = seeds
    }

    mutating func next() -> [UInt8] {
        if UInt8.random(in: 0..<16, using: &random) == 0 {
            return (0..<Int.random(in: 0...80, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
        }
        var bytes = seeds.randomElement(using: &random) ?? []
        for _ in 0..<Int.random(in: 1...4, using: &random) { change(&bytes) }
        return bytes
    }

    private mutating func change(_ bytes: inout [UInt8]) {
        // Bytes with special meanings: lengths, pointers, counts.
        let telling: [UInt8] = [0, 1, 2, 0x0C, 0x29, 0x3F, 0x40, 0x7F, 0x80, 0xC0, 0xFF]
        guard !bytes.isEmpty else {
            bytes = telling
            return
        }
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0..<9, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[place] = telling.randomElement(using: &random) ?? 0
        case 2: bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 3: bytes.removeSubrange(place...)
        case 4: bytes.insert(telling.randomElement(using: &random) ?? 0, at: place)
        case 5: bytes.remove(at: place)
        case 6:  // a piece of another message
            let other = seeds.randomElement(using: &random) ?? []
            bytes.replaceSubrange(place..., with: other.dropFirst(min(place, other.count)))
        case 7:  // a piece once more
            let end = min(bytes.count, place + Int.random(in: 1...32, using: &random))
            bytes.insert(contentsOf: bytes[place..<end], at: place)
        default:  // a query again, so that not everything is dropped
            if bytes.count > 2 { bytes[2] &= 0x01 }
        }
    }
}

@Suite("Random messages")
struct PacketFuzzTests {
    /// Packets per transport and seed: about a second's worth, or FUZZ_PACKETS.
    private static let count = ProcessInfo.processInfo.environment["FUZZ_PACKETS"].flatMap { Int($0) } ?? 10_000
    private static let seed = ProcessInfo.processInfo.environment["FUZZ_SEED"].flatMap { UInt64($0) } ?? 53

    @Test(
        "get a response that obeys every rule, or none; nothing traps or writes out of bounds",
        arguments: [Transport.udp, .tcp])
    func fuzz(transport: Transport) throws {
        var mutator = PacketMutator(seed: Self.seed)
        var world = try WireWorld(forwards: true)
        try world.fill("cached.example.")
        var outcomes: [String: Int] = [:]
        for number in 0..<Self.count {
            let message = mutator.next()
            switch world.send(message, over: transport) {
            case .nothing:
                // Only messages that are no query may be dropped.
                if message.count >= 12, message[2] & 0x80 == 0 {
                    Issue.record("packet \(number), seed \(Self.seed): a query was dropped: \(hex(message))")
                    return
                }
                outcomes["nothing", default: 0] += 1
            case .miss: outcomes["miss", default: 0] += 1
            case .transfer: outcomes["transfer", default: 0] += 1
            case .reply(let bytes):
                do {
                    let response = try WireResponse(bytes)
                    WireRules.check(response, to: message, over: transport)
                    outcomes["\(response.code)", default: 0] += 1
                } catch {
                    Issue.record("packet \(number), seed \(Self.seed): \(error) to \(hex(message))")
                    return
                }
            }
        }
        // Mutations get beyond the first checks.
        var reached: Set = [
            "nothing", "miss", "NOERROR", "NXDOMAIN", "FORMERR", "NOTIMP", "REFUSED", "NOTAUTH", "BADVERS",
        ]
        if transport == .tcp { reached.insert("transfer") }
        #expect(reached.isSubset(of: outcomes.keys), "\(outcomes)")
    }
}
