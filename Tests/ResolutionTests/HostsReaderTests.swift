import DNSWire
import Glibc
import Platform
import Testing

@testable import LocalData

@Suite("The hosts reader")
struct HostsReaderTests {
    @Test(
        "reads the forms found in practice",
        arguments: [
            ("LF", "10.0.0.1 a.test\n10.0.0.2 b.test\n"), ("CRLF", "10.0.0.1 a.test\r\n10.0.0.2 b.test\r\n"),
            ("CR", "10.0.0.1 a.test\r10.0.0.2 b.test"), ("BOM", "\u{FEFF}10.0.0.1 a.test\n10.0.0.2 b.test"),
            ("tabs and form feeds", "\t10.0.0.1\t\u{0C}a.test \t#x\n\u{0B}10.0.0.2  b.test#comment"),
            ("comments", "# c\n10.0.0.1 a.test # 10.9.9.9 c.test\n   # c\n10.0.0.2 b.test#c"),
            ("case and trailing dots", "10.0.0.1 A.TEST.\n10.0.0.2 B.test."),
            ("mapped addresses", "::ffff:10.0.0.1 a.test\n::FFFF:a00:2 b.test"),
        ])
    func forms(_ form: String, _ text: String) {
        let hosts = HostsExchange(text)
        #expect(hosts.data("a.test.", .a) == ["10.0.0.1"])
        #expect(hosts.data("b.test.", .a) == ["10.0.0.2"])
        #expect(hosts.table.nameCount == 2)
        #expect(hosts.problems.isEmpty)
    }

    @Test("reads UTF-16 of both orders, and warns", arguments: [true, false])
    func utf16(_ isLittle: Bool) {
        let bytes = "\u{FEFF}10.0.0.1 a.test\r\n10.0.0.2 bücher.test\r\n".utf16.flatMap {
            isLittle ? [UInt8($0 & 0xFF), UInt8($0 >> 8)] : [UInt8($0 >> 8), UInt8($0 & 0xFF)]
        }
        let hosts = HostsExchange(bytes: bytes)
        #expect(hosts.data("a.test.", .a) == ["10.0.0.1"])
        #expect(hosts.data("xn--bcher-kva.test.", .a) == ["10.0.0.2"])
        #expect(hosts.problems == ["1: is UTF-16; it was read, but other programs want UTF-8"])
        #expect(hosts.diagnostics.hasErrors == false)
    }

    @Test("reads typical system files and block lists without complaints")
    func knownFiles() {
        let hosts = HostsExchange(
            """
            127.0.0.1 localhost
            127.0.0.1 localhost.localdomain
            127.0.0.1 local
            255.255.255.255 broadcasthost
            ::1 localhost ip6-localhost ip6-loopback
            fe80::1 localhost
            ff02::1 ip6-allnodes
            0.0.0.0 0.0.0.0
            :: ::
            0.0.0.0 ads.example.test ads_2.example.test
            """)
        #expect(hosts.problems.isEmpty)
        #expect(hosts.data("localhost.", .aaaa) == ["::1", "fe80::1"])
        #expect(hosts.data("ads_2.example.test.", .a) == ["0.0.0.0"])
        #expect(hosts.ask("0.0.0.0.", .a).summary == "pass")
    }

    @Test(
        "skips wrong lines, reports where and why, and continues",
        arguments: [
            ("10.0.0.1", "has an address but no name"), ("10.0.0.1 # name", "has an address but no name"),
            ("example.test", "is not an IP address"), ("||ads.test^", "is not an IP address"),
            ("! comment", "is not an IP address"), ("10.0.0.1\u{A0}a.test", "is not an IP address"),
            ("fe80::1%eth0 a.test", "names an interface"), ("10.0.0.01 a.test", "without leading zeros"),
            ("10.0.0.256 a.test", "is not an IPv4 address"), ("10.0.1 a.test", "is not an IPv4 address"),
            ("10.0.0.1.5 a.test", "is not an IPv4 address"), ("10.0.0.1. a.test", "is not an IPv4 address"),
            ("0x7f000001 a.test", "is not an IP address"), ("1::2::3 a.test", "is not an IP address"),
            ("::12345 a.test", "is not an IP address"), ("[::1] a.test", "is not an IP address"),
            ("10.0.0.1\0 a.test", "is not an IP address"), ("::1\0 a.test", "is not an IP address"),
            ("10.0.0.1 10.0.0.2", "is an address where a name should be"),
            ("10.0.0.1 10.0.0.2.", "is an address where a name should be"), ("10.0.0.1 ::2", "is an address where"),
            ("10.0.0.1 a..test", "has an empty label"), ("10.0.0.1 .test", "has an empty label"),
            ("10.0.0.1 .", "has an empty label"), ("10.0.0.1 a\0b.test", "is not a host name"),
            ("10.0.0.1 a\u{7F}b.test", "is not a host name"), ("10.0.0.1 http://a.test/", "is not a host name"),
            ("10.0.0.1 a.*.test", "has a *"), ("10.0.0.1 *", "has a *"), ("10.0.0.1 *.", "has a *"),
            ("10.0.0.1 *a.test", "has a *"), ("10.0.0.1 **.test", "has a *"),
            ("10.0.0.1 \(String(repeating: "x", count: 64)).test", "longer than 63"),
            ("10.0.0.1 \(String(repeating: "x.", count: 128))", "longer than 255"),
            ("10.0.0.1 \(String(repeating: "ü", count: 64)).test", "can't be written as an internationalized"),
            ("10.0.0.1 a\u{2028}b.test", "can't be written as an internationalized"),
        ])
    func faults(_ line: String, _ reason: String) {
        let hosts = HostsExchange("10.0.0.5 before.test\n\(line)\n10.0.0.6 after.test\n")
        #expect(hosts.problems.count == 1)
        #expect(hosts.problems.first?.hasPrefix("2: ") == true)
        #expect(hosts.problems.first?.contains(reason) == true, "\(hosts.problems)")
        #expect(hosts.problems.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } })
        #expect(hosts.table.nameCount == 2)
        #expect(hosts.data("after.test.", .a) == ["10.0.0.6"])
    }

    @Test("skips only the bad name; the others on its line are kept")
    func badName() {
        let hosts = HostsExchange("10.0.0.1 good.test b@d.test fine.test")
        #expect(hosts.problems.count == 1)
        #expect(hosts.data("good.test.", .a) == ["10.0.0.1"])
        #expect(hosts.data("fine.test.", .a) == ["10.0.0.1"])
    }

    @Test("reports a limited number of problems")
    func manyFaults() {
        let hosts = HostsExchange(String(repeating: "||ads.test^\n", count: 5000) + "10.0.0.1 a.test")
        #expect(hosts.diagnostics.list.count == 1000)
        #expect(hosts.diagnostics.left == 4000)
        #expect(hosts.data("a.test.", .a) == ["10.0.0.1"])
    }

    @Test("reports a name with more addresses than the limit")
    func manyAddresses() {
        let lines = (0..<300).map { "10.0.\($0 / 256).\($0 % 256) many.test" }
        let hosts = HostsExchange(lines.joined(separator: "\n"))
        #expect(hosts.table.lines(for: Name("many.test.") ?? .root).count == 256)
        #expect(hosts.problems.count == 44)
        #expect(hosts.problems.first?.hasPrefix("257: ") == true)
    }

    @Test("accepts lines of any length, and names and labels up to their limits")
    func length() {
        let label = String(repeating: "x", count: 63)
        let longest = "\(label).\(label).\(label).\(String(repeating: "y", count: 61))"
        let names = (0..<50_000).map { "n\($0).test" }.joined(separator: " ")
        let hosts = HostsExchange("10.0.0.1 \(longest) \(longest).\n10.0.0.2 \(names)")
        #expect(hosts.problems.isEmpty)
        #expect(hosts.data("\(longest).", .a) == ["10.0.0.1"])
        #expect(hosts.data("n49999.test.", .a) == ["10.0.0.2"])
        #expect(hosts.table.nameCount == 50_001)
    }

    @Test("reads the files of a folder in order, without editors' backups")
    func folder() {
        let folder = TemporaryFolder()
        for (name, last) in [("20-b", 2), ("10-a", 1), (".hidden", 9), ("x~", 9), ("x.bak", 9), ("x.swp", 9)] {
            _ = folder.write("10.0.0.\(last) name.test\n".utf8, to: name)
        }
        let result = HostsReader.load(
            paths: [folder.path, folder.path + "/absent"], settings: HostsSettings())
        #expect(result.files.map { $0.split(separator: "/").last ?? "" } == ["10-a", "20-b", "absent"])
        #expect(result.diagnostics.list.count == 1)
        #expect(result.diagnostics.list.first?.message.contains("No such file") == true)
        #expect(
            result.table.lines(for: Name("name.test.") ?? .root).map(\.place.description)
                == ["\(folder.path)/10-a:1", "\(folder.path)/20-b:1"])
    }

    @Test("a file that can't be read keeps its lines, in its place and as they were, while the others change")
    func unreadable() throws {
        let folder = TemporaryFolder()
        let first = folder.write("10.0.0.1 one.test both.test\n10.0.0.9 same.test\n".utf8, to: "first")
        let second = folder.write(
            "# two\n10.0.0.2 two.test alias.test both.test\n10.0.0.9 same.test *.wild.test\n".utf8, to: "second")
        func load(_ last: HostsTable?) -> HostsReader.Result {
            HostsReader.load(paths: [first, second], settings: HostsSettings(), last: last)
        }
        func lines(_ table: HostsTable, _ name: String) -> [String] {
            table.lines(for: Name(name) ?? .root).map { "\($0.address) \($0.place)" }
        }
        let good = load(nil)
        #expect(good.kept.isEmpty)
        #expect(rename(second, second + ".away") == 0)
        _ = folder.write("10.0.0.5 one.test both.test\n".utf8, to: "first")
        var table = good.table
        // Also when it stays away.
        for _ in 0..<2 {
            let now = load(table)
            table = now.table
            #expect(now.kept == [second])
            #expect(now.diagnostics.list.map(\.place.path) == [second])
            #expect(now.diagnostics.list[0].message.contains("last good lines stay"))
            #expect(lines(table, "one.test.") == ["10.0.0.5 \(first):1"])
            #expect(lines(table, "two.test.") == ["10.0.0.2 \(second):2"])
            #expect(lines(table, "both.test.") == ["10.0.0.5 \(first):1", "10.0.0.2 \(second):2"])
            #expect(lines(table, "a.wild.test.") == ["10.0.0.9 \(second):3"])
            // It was also in the other file, and no longer is.
            #expect(lines(table, "same.test.") == ["10.0.0.9 \(second):3"])
            let exchange = HostsExchange(table)
            #expect(exchange.data("2.0.0.10.in-addr.arpa.", .ptr) == ["two.test."])
            #expect(exchange.data("9.0.0.10.in-addr.arpa.", .ptr) == ["same.test."])
        }
        _ = folder.write("10.0.0.7 two.test\n".utf8, to: "second")
        let back = load(table)
        #expect(back.kept.isEmpty && back.diagnostics.list.isEmpty)
        #expect(lines(back.table, "two.test.") == ["10.0.0.7 \(second):1"])
        #expect(lines(back.table, "same.test.").isEmpty)
    }

    @Test("the files of a folder that can't be listed keep their lines; one that was taken out of it does not")
    func folderGone() throws {
        let folder = TemporaryFolder()
        try #require(mkdir(folder.path + "/d", 0o755) == 0)
        for name in ["a", "b"] { _ = folder.write("10.0.0.1 \(name).test\n".utf8, to: "d/" + name) }
        func load(_ last: HostsTable?) -> HostsReader.Result {
            HostsReader.load(paths: [folder.path + "/d"], settings: HostsSettings(), last: last)
        }
        let good = load(nil)
        #expect(rename(folder.path + "/d", folder.path + "/away") == 0)
        let gone = load(good.table)
        #expect(gone.table.nameCount == 2 && gone.files == good.files && gone.kept == good.files)
        #expect(gone.diagnostics.list.first?.place.path == folder.path + "/d")
        #expect(rename(folder.path + "/away", folder.path + "/d") == 0)
        #expect(unlink(folder.path + "/d/b") == 0)
        let less = load(gone.table)
        #expect(less.table.nameCount == 1 && less.kept.isEmpty && less.diagnostics.list.isEmpty)
    }

    @Test("A file in place of a folder is read")
    func fileForFolder() throws {
        let folder = TemporaryFolder()
        try #require(mkdir(folder.path + "/d", 0o755) == 0)
        _ = folder.write("10.0.0.1 one.test\n".utf8, to: "d/a")
        let before = HostsReader.load(paths: [folder.path + "/d"], settings: HostsSettings())
        #expect(rename(folder.path + "/d", folder.path + "/away") == 0)
        _ = folder.write("10.0.0.2 one.test\n".utf8, to: "d")
        let now = HostsReader.load(paths: [folder.path + "/d"], settings: HostsSettings(), last: before.table)
        #expect(now.kept.isEmpty && now.diagnostics.list.isEmpty)
        #expect(HostsExchange(now.table).data("one.test.", .a) == ["10.0.0.2"])
    }

    @Test("an empty file, a lone BOM and a missing file have no overrides", arguments: ["", "\u{FEFF}", "\n\n", "#"])
    func empty(_ text: String) {
        #expect(HostsExchange(text).table.nameCount == 0)
        #expect(HostsExchange(text).ask("a.test.", .a).summary == "pass")
        #expect(HostsExchange(bytes: [0xFF, 0xFE]).table.nameCount == 0)
        #expect(HostsExchange(bytes: [0xFE, 0xFF, 0x00]).table.nameCount == 0)
        #expect(HostsTable.empty().nameCount == 0)
    }
}

@Suite("Internationalized names")
struct HostsInternationalNameTests {
    @Test(
        "become the A-labels that browsers use",
        arguments: [
            ("bücher.example", "xn--bcher-kva.example"), ("BÜCHER.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"), ("straße.example", "xn--strae-oqa.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"), ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("Ελλάδα.example", "xn--hxakic4aa.example"), ("한국.example", "xn--3e0b707e.example"),
            ("\u{1112}\u{1161}\u{11AB}\u{1100}\u{116E}\u{11A8}.example", "xn--3e0b707e.example"),
            ("שלום.example", "xn--9dbne9b.example"), ("ｅｘａｍｐｌｅ。test", "example.test"),
            ("*.bücher.example", "*.xn--bcher-kva.example"), ("_x.bücher", "_x.xn--bcher-kva"),
            ("テ\u{3099}.example", "xn--edk.example"), ("plain.example.", "plain.example."),
        ])
    func encoding(_ name: String, _ expected: String) {
        #expect(InternationalName.toASCII(name) == expected)
    }

    @Test(
        "are rejected if they can't be encoded",
        arguments: [
            "a b\u{FC}.example", "☃.example", "\u{301}x.example", "ü\u{0}.example", "\u{FFFD}.example",
            "a\u{200B}b.example",
            // So long that Punycode's sums would overflow.
            String(repeating: "a", count: 32_799) + "\u{20000}", String(repeating: "a", count: 60) + "ü",
        ])
    func refused(_ name: String) {
        #expect(InternationalName.toASCII(name) == nil)
    }
}

@Suite("The hosts reader on random input")
struct HostsPropertyTests {
    @Test("finds every name of a generated file, and no other", arguments: [1, 2, 3] as [UInt64])
    func findsAll(_ seed: UInt64) {
        var random = Lehmer(state: seed)
        var expected: [String: [String]] = [:]
        var text = ""
        for _ in 0..<3000 {
            let address = "10.\(Int.random(in: 0..<3, using: &random)).0.\(Int.random(in: 0..<9, using: &random))"
            text += address
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let labels = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    String(
                        (0..<Int.random(in: 1...3, using: &random)).map { _ in
                            "abC_-9".randomElement(using: &random) ?? "a"
                        })
                }
                let name = labels.joined(separator: ".")
                if labels.count == 4, labels.allSatisfy({ $0.allSatisfy { $0 == "9" } }) { continue }
                text += (Bool.random(using: &random) ? " " : "\t\t") + name
                let key = name.lowercased() + "."
                if expected[key]?.contains(address) != true { expected[key, default: []].append(address) }
            }
            text += ["\n", "\r\n", " # c\n"].randomElement(using: &random) ?? "\n"
        }
        let hosts = HostsExchange(text)
        #expect(hosts.table.nameCount == expected.count)
        for (name, addresses) in expected {
            #expect(hosts.data(name, .a) == addresses, "seed \(seed) \(name)")
            #expect(hosts.ask("zz.\(name)", .a).summary == "pass")
        }
    }

    @Test("reads damaged files without trapping, and answers from them", arguments: 1...40 as ClosedRange<UInt64>)
    func damaged(_ seed: UInt64) {
        var random = Lehmer(state: seed)
        var bytes = Array(
            """
            \u{FEFF}127.0.0.1 localhost a.test *.wild.test bücher.test
            ::1 localhost\r\n::ffff:1.2.3.4 mapped.test\nfe80::1%eth0 scoped.test
            0.0.0.0 0.0.0.0\r10.0.0.1 x.y.wild.test *.y.wild.test # end
            """.utf8)
        let pieces: [[UInt8]] = [
            [0], [0xFF], [0xC3], [0xED, 0xA0, 0x80], [0x0D], [0x0A], [0x20], Array("*.".utf8), Array("..".utf8),
            Array("::".utf8), Array("%".utf8), Array("#".utf8), [UInt8](repeating: 0x61, count: 300),
            Array("ü".utf8), Array(String(repeating: "ü", count: 300).utf8),
        ]
        for _ in 0..<Int.random(in: 1...30, using: &random) {
            let index = Int.random(in: 0...bytes.count, using: &random)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes.insert(contentsOf: pieces.randomElement(using: &random) ?? [], at: index)
            case 1 where index < bytes.count: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 2 where index < bytes.count: bytes.remove(at: index)
            default: bytes.removeSubrange(min(index, bytes.count)..<min(index + 3, bytes.count))
            }
        }
        if seed % 4 == 0 { bytes = [seed % 8 == 0 ? 0xFF : 0xFE, seed % 8 == 0 ? 0xFE : 0xFF] + bytes }
        var settings = HostsSettings()
        settings.https = .synthesize
        let hosts = HostsExchange(bytes: bytes, settings)
        for name in ["localhost.", "a.wild.test.", "x.y.wild.test.", "1.0.0.127.in-addr.arpa.", "."] {
            for type in [.a, .aaaa, .ptr, .https, .any] as [RecordType] {
                #expect(hosts.ask(name, type).outcome != "unreadable", "seed \(seed)")
            }
        }
        #expect(hosts.problems.allSatisfy { $0.utf8.allSatisfy { (0x20...0x7E).contains($0) } }, "seed \(seed)")
    }
}
