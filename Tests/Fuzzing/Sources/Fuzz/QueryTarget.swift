import DNSWire
import Platform

/// Any query, over any transport.
enum QueryTarget {
    static let target = FuzzTarget(
        name: "query", longest: 1500,
        seeds: {
            try Corpus.malformed().map { [0] + $0 } + Corpus.malformed().map { [1] + $0 }
                + names.flatMap { name in
                    types.flatMap { type in
                        [[0] + query(name, type), [1] + query(name, type), [3] + query(name, type, isSigned: true)]
                    }
                }
        },
        words: { names.map { Name($0)?.wire ?? [0] } },
        prepare: {
            let world = ServedWorld()
            return { input in
                var reader = InputReader(input)
                let choice = reader.byte()
                let transport = Transport.allCases[Int(choice & 3) % Transport.allCases.count]
                world.trial(reader.rest, over: transport, isStranger: choice & 4 != 0)
            }
        })

    private static let names = [
        "acme.org.", "over.acme.org.", "x.wild.acme.org.", "www.acme.org.", "big.acme.org.", "a.moved.acme.org.",
        "nothing.acme.org.", "a.sub.acme.org.", "cached.example.", "far.example.", "localhost.", "version.bind.", ".",
        "14.0.0.127.in-addr.arpa.", "_dns.resolver.arpa.", "signed.test.", "none.signed.test.", "loop.acme.org.",
    ]
    private static let types: [RecordType] = [.a, .aaaa, .txt, .https, .soa, .any, .ptr, .axfr, .ixfr, .ds, .nsec]

    static func query(_ name: String, _ type: RecordType, isSigned: Bool = false) -> [UInt8] {
        var message: [UInt8] = [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, isSigned ? 1 : 0] + (Name(name)?.wire ?? [0])
        message += [UInt8(type.rawValue >> 8), UInt8(type.rawValue & 0xFF), 0, 1]
        if isSigned { message += [0, 0, 41, 2, 0, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8] }
        return message
    }
}
