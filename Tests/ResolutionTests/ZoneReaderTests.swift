import DNSWire
import LocalData
import Platform
import Testing

private let example = Name("example.")

@Suite("The zone reader on single records")
struct ZoneReaderRecordTests {
    @Test("accepts or refuses each line as recorded, and makes the recorded RDATA", arguments: RecordCase.all)
    func verdict(_ line: RecordCase) {
        let folder = TemporaryFolder()
        let result = ZoneReader.read(path: folder.write(line.zone.utf8, to: "zone"), name: example)
        #expect(result.isLoadable == line.isLoaded, "\(result.diagnostics)")
        let objection = line.verdicts.objection(to: result)
        #expect(objection == nil, "\(result.diagnostics)")
        if line.isLoaded {
            #expect(result.records.lastRdata == (line.rdata == "\"\"" ? "" : line.rdata))
        } else {
            #expect(result.diagnostics.first { $0.severity == .error }?.place.line == RecordCase.line)
        }
    }

    @Test("a second SOA must repeat the numbers of the first exactly, even if their bytes are letters")
    func secondSOA() {
        let folder = TemporaryFolder()
        func read(_ second: String) -> ZoneReadResult {
            let zone = "$TTL 1h\n@ SOA ns a 65 1 1 1 1\n\(second)\n@ NS ns\nns A 192.0.2.1\n"
            return ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example)
        }
        #expect(read("@ SOA NS A 65 1 1 1 1").isLoadable)
        for second in ["@ SOA ns a 97 1 1 1 1", "@ SOA ns a 65 1 1 1 2", "@ SOA ns b 65 1 1 1 1"] {
            let messages = read(second).diagnostics.map { "\($0.place.line): \($0.message)" }
            #expect(messages == ["3: a second SOA; the first is at line 2"])
        }
    }

    @Test("the corpus has enough lines that the checkers agree on, and enough that they don't")
    func corpus() {
        #expect(RecordCase.all.count { $0.verdicts.agreed == true } > 1000)
        #expect(RecordCase.all.count { $0.verdicts.agreed == false } > 900)
        #expect(RecordCase.all.count { $0.verdicts.agreed == nil } > 1100)
    }

    @Test("names in their own script become A-labels, as owners, as data, and as origins")
    func international() {
        let folder = TemporaryFolder()
        let zone = RecordCase.prologue + "Bücher CNAME straße.例え.jp.\n$ORIGIN öl.example.\nwww A 192.0.2.1\n"
        let result = ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example)
        #expect(result.isLoadable, "\(result.diagnostics)")
        let owners = result.records.entries.map { Name(uncheckedWire: Array(result.records.owner(of: $0))) }
        #expect(owners.contains(Name("xn--bcher-kva.example.")!) && owners.contains(Name("www.xn--l-0ga.example.")!))
        let data = result.records.entries.filter { $0.type == .cname }.map {
            Name(uncheckedWire: Array(result.records.rdata(of: $0)))
        }
        #expect(data == [Name("xn--strae-oqa.xn--r8jz45g.jp.")!])
    }

    @Test(
        "a name in no script is refused", arguments: [[UInt8]([0xFC]), Array("a\u{202E}".utf8), Array("\u{301}a".utf8)])
    func unwritable(_ label: [UInt8]) {
        let folder = TemporaryFolder()
        let zone = Array(RecordCase.prologue.utf8) + label + Array(" A 192.0.2.1\n".utf8)
        let result = ZoneReader.read(path: folder.write(zone, to: "zone"), name: example)
        #expect(!result.isLoadable)
        #expect(result.diagnostics.contains { $0.message.hasSuffix("if its bytes are meant, use \\DDD") })
    }

    /// The messages of one record line's warnings.
    private func warnings(_ line: String) -> [String] {
        let folder = TemporaryFolder()
        let zone = RecordCase.prologue + line + "\n"
        let result = ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example)
        #expect(result.isLoadable, "\(result.diagnostics)")
        #expect(result.diagnostics.allSatisfy { $0.place.line == 5 })
        return result.diagnostics.map(\.message)
    }

    @Test(
        "warns which checker would refuse it, why, and how to write it instead",
        arguments: [
            (
                "\"a\" A 192.0.2.1",
                "'a': the owner name is in quotes, which NSD 4.12 and Knot 3.4 refuse; write it without"
            ),
            (
                "a 2147483648 A 192.0.2.1",
                "'2147483648': the TTL is above 2147483647 and counts as 0, which NSD 4.12 refuses; write less"
            ),
            (
                "a 1h30m A 192.0.2.1",
                "'1h30m': more than one unit, and not from small to large, which NSD 4.12 refuses; write 5400"
            ),
            (
                "a IPN 1.2",
                "'IPN': the type has this name, which Knot 3.4 and BIND 9.20 refuse; write TYPE264 \\# 8 0000000100000002"
            ),
            (
                "a DS 1 ED25519 2 \(String(repeating: "ab", count: 32))\na NS ns",
                "'ED25519': the algorithm has this name, which NSD 4.12 refuses; write 15"
            ),
            ("a SVCB 1 . ohttp", "'ohttp': the key has this name, which BIND 9.20 refuses; write key8"),
        ])
    func warned(line: String, message: String) {
        #expect(warnings(line) == [message])
    }

    @Test(
        "reports what is wrong with the bytes",
        arguments: [
            ("SSHFP 1 1 aa", "'SSHFP': a digest of type 1 has 20 bytes, this one 1"),
            ("TYPE44 \\# 3 010101", "'TYPE44': a digest of type 1 has 20 bytes, this one 1"),
            ("SVCB 1 . key65535=abc", "'key65535=abc': key65535 is reserved and must not be used"),
            ("SVCB 1 . mandatory=port alpn=h2", "'SVCB': port is mandatory but not given"),
            ("NSEC b NXNAME", "'NXNAME': NSD 4.12, Knot 3.4 and BIND 9.20 refuse this type's name; write TYPE128"),
        ])
    func problems(line: String, message: String) {
        let folder = TemporaryFolder()
        let zone = RecordCase.prologue + "x " + line + "\n"
        let result = ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example)
        #expect(result.diagnostics.map(\.message) == [message])
    }
}

@Suite("The zone reader on whole files")
struct ZoneReaderFileTests {
    @Test("accepts or refuses each file as recorded, with the line of the first error", arguments: FileCase.all)
    func verdict(_ file: FileCase) {
        let folder = TemporaryFolder()
        _ = folder.write(FileCase.included.utf8, to: "inc.txt")
        let result = ZoneReader.read(path: folder.write(file.text, to: "\(file.name).zone"), name: example)
        #expect(result.isLoadable == file.isLoaded, "\(result.diagnostics)")
        #expect(result.diagnostics.first { $0.severity == .error }?.place.line == (file.isLoaded ? nil : file.line))
        let objection = file.verdicts.objection(to: result)
        #expect(objection == nil, "\(result.diagnostics)")
    }
}

@Suite("The zone reader's directives and state")
struct ZoneReaderDirectiveTests {
    /// The records of `text` after an SOA and NS, as `owner ttl type rdata`.
    private func records(
        _ text: String, beside files: [String: String] = [:]
    ) -> (lines: [String], result: ZoneReadResult) {
        let folder = TemporaryFolder()
        for (name, content) in files { _ = folder.write(content.utf8, to: name) }
        let zone = "$TTL 100\n@ SOA ns.example.net. a 1 2 3 4 5\n@ NS ns.example.net.\n\(text)"
        let result = ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example)
        let lines = result.records.entries.dropFirst(2).map { entry in
            let owner = Name(uncheckedWire: Array(result.records.owner(of: entry)))
            return "\(owner) \(entry.ttl) \(entry.type) \(result.records.rdata(of: entry).hexadecimal)"
        }
        return (Array(lines), result)
    }

    @Test("takes the zone's name from the SOA if none is given")
    func apexFromSOA() {
        let folder = TemporaryFolder()
        let zone = "$ORIGIN example.org.\n@ 60 SOA ns a 1 2 3 4 5\n@ 60 NS ns.example.net.\n"
        let result = ZoneReader.read(path: folder.write(zone.utf8, to: "zone"))
        #expect(result.apex == Name("example.org."))
        #expect(result.isLoadable, "\(result.diagnostics)")
    }

    @Test("says how to fix a relative name without an origin")
    func noOrigin() {
        let folder = TemporaryFolder()
        let result = ZoneReader.read(path: folder.write("@ 60 SOA ns a 1 2 3 4 5\n".utf8, to: "zone"))
        #expect(result.diagnostics.first?.message.contains("NAME=FILE") == true)
    }

    @Test("includes files relative to the including file, and restores origin and owner afterwards")
    func include() {
        let (lines, result) = records(
            "here A 192.0.2.1\n$INCLUDE sub.txt deeper\n A 192.0.2.2\nrelative A 192.0.2.3\n",
            beside: ["sub.txt": "$ORIGIN x.deeper\nin A 192.0.2.9\n"])
        #expect(
            lines == [
                "here.example. 100 A c0000201", "in.x.deeper.deeper.example. 100 A c0000209",
                "here.example. 100 A c0000202", "relative.example. 100 A c0000203",
            ])
        #expect(result.files.count == 2)
        #expect(result.isLoadable, "\(result.diagnostics)")
    }

    @Test("stops circular includes, and reports the line")
    func includeLoop() {
        let (_, result) = records("$INCLUDE a\n", beside: ["a": "$INCLUDE b\n", "b": "\n$INCLUDE a\n"])
        let error = result.diagnostics.first { $0.severity == .error }
        #expect(error?.place.path.hasSuffix("/b") == true)
        #expect(error?.place.line == 2)
    }

    @Test("lists a missing include as a file to watch")
    func missingInclude() {
        let (_, result) = records("$INCLUDE later.txt\n")
        #expect(result.files.last?.hasSuffix("/later.txt") == true)
        #expect(!result.isLoadable)
    }

    @Test(
        "generates records",
        arguments: [
            ("$GENERATE 1-3/2 h$ A 192.0.2.$", ["h1.example. 100 A c0000201", "h3.example. 100 A c0000203"]),
            (
                "$GENERATE 9-10 h${0,3,d} 7 IN A 192.0.2.${-8}",
                ["h009.example. 7 A c0000201", "h010.example. 7 A c0000202"]
            ),
            ("$GENERATE 10-10 ${0,4,x} A 192.0.2.1", ["000a.example. 100 A c0000201"]),
            ("$GENERATE 26-26 ${0,0,X}-${0,0,o} A 192.0.2.1", ["1A-32.example. 100 A c0000201"]),
            ("$GENERATE 18-18 ${0,7,n} A 192.0.2.1", ["2.1.0.0.example. 100 A c0000201"]),
            ("$GENERATE 1-1 a\\$$ A 192.0.2.1", ["a\\$1.example. 100 A c0000201"]),
            ("$GENERATE 1-1 t TXT \"a $ b\"", ["t.example. 100 TXT 056120312062"]),
        ])
    func generate(line: String, expected: [String]) {
        let (lines, result) = records(line + "\n")
        #expect(lines == expected, "\(result.diagnostics)")
    }

    @Test(
        "rejects bad ranges and modifiers of $GENERATE, with the line",
        arguments: [
            "$GENERATE", "$GENERATE 1-3", "$GENERATE 3-1 a A 192.0.2.1", "$GENERATE 1 a A 192.0.2.1",
            "$GENERATE 1-3/0 a A 192.0.2.1", "$GENERATE 1-x a A 192.0.2.1", "$GENERATE 1-3 ${0,3,z} A 192.0.2.1",
            "$GENERATE 1-3 ${0 A 192.0.2.1", "$GENERATE 1-3 ${-5} A 192.0.2.1", "$GENERATE 1-300 a$ A 192.0.2.$",
            "$GENERATE 1-3 ${0,999} A 192.0.2.1", "$GENERATE 0-2147483647 a$ A 192.0.2.1",
        ])
    func badGenerate(line: String) {
        var limits = ZoneReader.Limits()
        limits.generated = 1000
        let folder = TemporaryFolder()
        let zone = "$TTL 100\n@ SOA ns.example.net. a 1 2 3 4 5\n@ NS ns.example.net.\n\(line)\n"
        let result = ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example, limits: limits)
        #expect(result.diagnostics.map(\.place.line) == [4])
    }

    @Test("uses the last explicit TTL, or the SOA's minimum, if there is no $TTL")
    func implicitTTL() {
        let folder = TemporaryFolder()
        func ttls(_ zone: String) -> [UInt32] {
            ZoneReader.read(path: folder.write(zone.utf8, to: "zone"), name: example).records.entries.map(\.ttl)
        }
        #expect(ttls("@ 9 SOA a.b. a 1 2 3 4 5\n@ NS a.b.\nx 1m A 192.0.2.1\ny A 192.0.2.1\n") == [9, 9, 60, 60])
        #expect(ttls("@ SOA a.b. a 1 2 3 4 5\n@ NS a.b.\nx 7 A 192.0.2.1\ny A 192.0.2.1\n") == [5, 5, 7, 5])
    }

    @Test("gives an RRset its lowest TTL, with a warning")
    func differingTTL() {
        let (lines, result) = records("x 9 A 192.0.2.1\nx 8 A 192.0.2.2\n")
        #expect(lines == ["x.example. 8 A c0000201", "x.example. 8 A c0000202"])
        #expect(result.diagnostics.map(\.severity) == [.warning])
    }

    @Test("drops duplicates; names in RDATA compare case-insensitively, numbers don't")
    func duplicates() {
        let (lines, _) = records("x MX 65 a.B.\nX MX 65 A.b.\nx MX 97 a.b.\n")
        #expect(lines.count == 2)
    }

    @Test("reports every problem of a file, in order, and reads the good lines in between")
    func everyProblem() {
        let (lines, result) = records("a A 1.2.3\nb A 192.0.2.1\nc NOTYPE x\nd TXT \"\ne A 192.0.2.2\n")
        #expect(lines.count == 2)
        #expect(result.diagnostics.map(\.place.line) == [4, 6, 7])
    }

    @Test("counts problems beyond the limit instead of listing them")
    func manyProblems() {
        var limits = ZoneReader.Limits()
        limits.diagnostics = 10
        let folder = TemporaryFolder()
        let path = folder.write(Array(String(repeating: "x A nonsense\n", count: 50).utf8), to: "zone")
        let result = ZoneReader.read(path: path, name: example, limits: limits)
        #expect(result.diagnostics.count == 11)
        #expect(result.diagnostics.last?.message.contains("40 more problems") == true)
        #expect(!result.isLoadable)
    }

    @Test("warns of more records of a type, or more types, at one name than BIND accepts")
    func manyRecords() {
        func warnings(_ lines: [String]) -> [String] {
            records(lines.joined(separator: "\n") + "\n").result.diagnostics.map(\.message)
        }
        let addresses = (1...101).map { "x A 192.0.2.\($0)" }
        #expect(warnings(Array(addresses.dropLast())) == [])
        // A duplicate does not count.
        #expect(warnings(addresses.dropLast() + ["x A 192.0.2.1"]) == [])
        #expect(warnings(addresses).first?.contains("101 records of x.example. A: ") == true)
        #expect(warnings(addresses).first?.contains("BIND 9.20") == true)
        let types = (1...101).map { "x TYPE\(65300 + $0) \\# 1 00" }
        #expect(warnings(Array(types.dropLast())) == [])
        #expect(warnings(types).first?.contains("101 types at x.example.: ") == true)
    }

    @Test("warns once for all lines of a $GENERATE, and never hides an error behind warnings")
    func manyCheckerWarnings() {
        let (lines, generated) = records("$GENERATE 1-9 a$ 1h30m A 192.0.2.$\n")
        #expect(lines.count == 9)
        #expect(generated.diagnostics.map(\.message).count { $0.contains("'1h30m'") } == 1)
        var limits = ZoneReader.Limits()
        limits.diagnostics = 10
        let folder = TemporaryFolder()
        let text = "\(RecordCase.prologue)\(String(repeating: "x 1h30m A 192.0.2.1\n", count: 20))y A nonsense\n"
        let result = ZoneReader.read(path: folder.write(text.utf8, to: "zone"), name: example, limits: limits)
        #expect(result.diagnostics.contains { $0.severity == .error && $0.place.line == 25 })
        #expect(result.diagnostics.last?.message.contains("15 more problems") == true)
    }

    @Test("refuses what is not a readable file", arguments: ["/", "/dev/zero", "/no/such/file", ""])
    func unreadable(path: String) {
        let result = ZoneReader.read(path: path, name: example)
        #expect(!result.isLoadable)
        #expect(result.records.entries.isEmpty)
    }

    @Test("refuses files beyond the limit")
    func tooLarge() {
        var limits = ZoneReader.Limits()
        limits.bytes = 10
        let folder = TemporaryFolder()
        let result = ZoneReader.read(path: folder.write("; a longer comment\n".utf8, to: "zone"), limits: limits)
        #expect(result.diagnostics.first?.message.contains("is larger than") == true)
    }
}
