import DNSWire
import Glibc
import LDNS
import LocalData
import Platform
import Testing

private let example = Name("example.")

@Suite("The zone reader on hostile files")
struct ZoneReaderPropertyTests {
    /// A small generator whose seed a failing test prints.
    private struct Random: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var value = (state ^ state >> 30) &* 0xBF58_476D_1CE4_E5B9
            value = (value ^ value >> 27) &* 0x94D0_49BB_1331_11EB
            return value ^ value >> 31
        }
    }

    private static let pieces: [String] = [
        "(", ")", "\"", "\\", ";", "\n", "\r", " ", "\t", "@", "$", ".", "..", "\\#", "\\000", "\\25",
        "$INCLUDE zone\n",
        "$ORIGIN ", "$TTL ", "$GENERATE 1-9 ", "${1,2,n}", "99999999999999999999", "-1", "IN", "CH", "TYPE65535",
        "SVCB 1 . ", "alpn=", "mandatory=", "\u{0}", "ä", "=", ",", "/", ":", "!", "-", "*",
    ]

    private func mutate(_ text: [UInt8], _ random: inout Random) -> [UInt8] {
        var text = text
        for _ in 0..<Int.random(in: 1...6, using: &random) where !text.isEmpty {
            let at = Int.random(in: 0..<text.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: text[at] = UInt8.random(in: 0...255, using: &random)
            case 1: text.remove(at: at)
            case 2: text.insert(contentsOf: (Self.pieces.randomElement(using: &random) ?? "").utf8, at: at)
            case 3: text.removeSubrange(at..<min(text.count, at + Int.random(in: 0...20, using: &random)))
            default:
                let from = Int.random(in: 0..<text.count, using: &random)
                text.insert(contentsOf: text[from..<min(text.count, from + 30)], at: at)
            }
        }
        return text
    }

    @Test("reads any mutated file to its end: valid names, RDATA that libldns parses, existing lines")
    func mutations() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = Random(state: seed)
        let folder = TemporaryFolder()
        let lines = RecordCase.all
        var limits = ZoneReader.Limits()
        limits.generated = 1000
        for _ in 0..<2000 {
            var text = RecordCase.prologue
            for _ in 0..<5 {
                let line = lines.randomElement(using: &random)?.text ?? ""
                text += "x\(UInt8.random(in: 0...9, using: &random)) \(line)\n"
            }
            let mutated = mutate(Array(text.utf8), &random)
            let result = ZoneReader.read(path: folder.write(mutated, to: "zone"), name: example, limits: limits)
            let lineCount = mutated.count { $0 == 10 } + 1
            for diagnostic in result.diagnostics where diagnostic.place.line > lineCount {
                Issue.record("seed \(seed): \(diagnostic) of \(lineCount) lines")
            }
            for entry in result.records.entries {
                let rdata = Array(result.records.rdata(of: entry))
                if Name(wire: result.records.owner(of: entry)) == nil || entry.type.isMeta || entry.ttl > 0x7FFF_FFFF {
                    Issue.record("seed \(seed): \(entry) from \(String(decoding: mutated, as: UTF8.self))")
                }
                _ = Presentation.text(rdata: rdata, type: entry.type)
            }
        }
    }

    @Test("reads every prefix of a file")
    func prefixes() {
        let folder = TemporaryFolder()
        let lines = "a TXT ( \"x\\\"\\065\" ; c\n y )\n$GENERATE 1-2 g${0,2,n} A 192.0.2.$\nh HTTPS 1 . alpn=\"h2\"\n"
        let text = Array((RecordCase.prologue + lines).utf8)
        for count in 0..<text.count {
            let result = ZoneReader.read(path: folder.write(text[..<count], to: "zone"), name: example)
            #expect(result.diagnostics.allSatisfy { $0.place.line <= 9 })
        }
        #expect(ZoneReader.read(path: folder.write(text, to: "zone"), name: example).isLoadable)
    }

    @Test("parses libldns's text of each record to the same bytes")
    func roundTrip() {
        let folder = TemporaryFolder()
        var compared = 0
        for line in RecordCase.all where line.isLoaded {
            let first = ZoneReader.read(path: folder.write(line.zone.utf8, to: "zone"), name: example)
            guard let entry = first.records.entries.last else { continue }
            let printed = Presentation.text(rdata: Array(first.records.rdata(of: entry)), type: entry.type)
            var again = line
            // By number, a type accepts any bytes that it accepted before.
            let type = printed.hasPrefix("\\#") ? "TYPE\(entry.type.rawValue)" : "\(entry.type)"
            again.text = "\(type) \(printed)"
            let second = ZoneReader.read(path: folder.write(again.zone.utf8, to: "zone"), name: example)
            #expect(
                second.records.lastRdata == first.records.lastRdata,
                "\(line.text) printed as \(printed): \(second.diagnostics)")
            if !printed.hasPrefix("\\#") { compared += 1 }
        }
        #expect(compared > 250)
    }
}

@Suite("The corpus and the checkers that it was recorded from")
struct ZoneReaderCheckersTests {
    private static let checkers = [
        ["/usr/sbin/nsd-checkzone", "example."], ["/usr/bin/kzonecheck", "-o", "example."],
        ["/usr/bin/named-checkzone", "example."],
    ]

    /// The verdicts are those of the programs in Debian 13; other versions differ.
    private static let areInstalled =
        output("/usr/sbin/nsd-checkzone -h").contains("4.12.") && output("/usr/bin/kzonecheck -V").contains("3.4.")
        && output("/usr/bin/named-checkzone -v").contains("9.20.")

    private static func output(_ command: String) -> String {
        guard let pipe = popen("\(command) 2>&1", "r") else { return "" }
        defer { pclose(pipe) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        return String(decoding: buffer[..<fread(&buffer, 1, buffer.count, pipe)], as: UTF8.self)
    }

    private func run(_ command: [String]) -> Int32? {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)
        var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var pid = pid_t()
        guard posix_spawn(&pid, command[0], &actions, nil, &arguments, environ) == 0 else { return nil }
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 { guard errno == EINTR else { return nil } }
        return status
    }

    @Test(
        "still agree on every twelfth line and sixth file",
        .enabled(
            if: areInstalled, "the nsd-checkzone, kzonecheck and named-checkzone of Debian 13 are not all installed"))
    func sample() {
        let folder = TemporaryFolder()
        _ = folder.write(FileCase.included.utf8, to: "inc.txt")
        let lines = RecordCase.all.enumerated().filter { $0.offset % 12 == 0 }.map(\.element)
            .map { ($0.text, $0.verdicts, Array($0.zone.utf8)) }
        let files = FileCase.all.enumerated().filter { $0.offset % 6 == 0 }.map(\.element)
            .map { ($0.name, $0.verdicts, $0.text) }
        // nsd and bind look for included files elsewhere.
        for (name, verdicts, text) in lines + files
        where !text.contains("INCLUDE".utf8) && !text.contains("include".utf8) {
            let path = folder.write(text, to: "zone")
            let now = zip(["n", "k", "b"], Self.checkers).map { $0 + (run($1 + [path]) == 0 ? "+" : "-") }.joined()
            #expect(now == verdicts.description, "\(name)")
        }
    }
}
