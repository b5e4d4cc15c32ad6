import DNSWire
import Lookup
import Platform

@testable import Cassettes

/// Any cassette: what is read from it is written and read again without a change.
enum CassetteTarget {
    static let target = FuzzTarget(
        name: "cassette", longest: 2048,
        seeds: { seeds.map { Array($0.utf8) } },
        words: {
            [
                "stub53 cassette 1\n", "question ", "  reply 1 NOERROR 1.5ms udp\n", "silence 4ms", "    answer ",
                "    authority ", "    flags rd ra ad", "    ede 22 ", "    wire ", "    digest ", " times 3", " do",
                " cd",
                "end\n", " IN A 192.0.2.1", " IN CNAME ",
            ].map { Array($0.utf8) }
        },
        prepare: { { run($0) } })

    private static let seeds = [
        """
        stub53 cassette 1
        question a.example. A
          reply 1 NOERROR 11.2ms udp times 2
            flags rd ra
            answer a.example. 60 IN CNAME b.example.
            answer b.example. 60 IN A 192.0.2.1
          reply 2 silence 4000.0ms
        question b.example. HTTPS do
          reply 1 NXDOMAIN 1ms doh
            authority example. 60 IN SOA ns.example. h.example. 1 2 3 4 5
            ede 15 no \\255
        end

        """,
        """
        stub53 cassette 1
        question a. A
          reply 1 NOERROR 0ms tcp
            wire AACBgAABAAEAAAAAAWEAAAEAAcAMAAEAAQAAADwABMAAAgE=
        end

        """,
    ]

    private static func run(_ input: UnsafeRawBufferPointer) {
        let file = Place(path: "cassette")
        guard var tape = CassetteReader.read(input, of: file).tape else { return }
        let text = CassetteText.write(&tape)
        let again = text.withUnsafeBytes { CassetteReader.read($0, of: file) }
        expect(again.diagnostics.list.isEmpty, "what was written is read: \(again.diagnostics.list)")
        expect(again.tape?.replies == tape.replies, "what was written is read as it was")
        guard var tape = again.tape else { return }
        expect(CassetteText.write(&tape) == text, "it is written the same again")
        _ = CassetteExport.hosts(tape)
        _ = CassetteExport.zone(tape, apex: .root)
        _ = CassetteExport.scenario(tape, name: "c")
        _ = CassetteExport.packets(tape)
    }
}
