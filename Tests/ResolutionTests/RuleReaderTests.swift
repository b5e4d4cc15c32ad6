import DNSWire
import Foundation
import Lookup
import Platform
import TestSupport
import Testing

@testable import LocalData

/// Rules files: what is read, what is refused, and which rules a name has.
@Suite("Rules files")
struct RuleReaderTests {
    private func read(_ text: String) throws -> (table: RuleTable, result: RuleReader.Result) {
        let folder = try TestSupport.TemporaryFolder()
        let path = try folder.write(text, to: "test.rules")
        return RuleReader.load(paths: [path], settings: HostsSettings())
    }

    @Test(
        "A bad line is refused with a reason and a mend",
        arguments: [
            ("a.lab", "says not what happens"), ("a.lab A", "says not what happens"),
            ("a.lab A first=1", "conditions only"), ("a.lab A drob", "did you mean 'drop'?"),
            ("a.lab AAAAA drop", "is no type"), ("a.lab A,,B drop", "is no type"),
            ("a..lab A drop", "empty label"), ("a*.lab A drop", "whole first label"), (". A drop", "write * for all"),
            ("a.lab A delay", "as delay=300ms"), ("a.lab A delay=0", "as delay=300ms"),
            ("a.lab A delay=11m", "at most 10m"), ("a.lab A delay=1s±2s", "at most 10m"),
            ("a.lab A delay=99999999999999999999s", "at most 10m"), ("a.lab A drop=1", "takes no value"),
            ("a.lab A keep=0", "from 1 to 65535"), ("a.lab A only=5", "only=4 or only=6"),
            ("a.lab A strip=tls", "strip=https"), ("a.lab A slow=0", "bytes a second"),
            ("a.lab A slow=-1B/s", "bytes a second"), ("a.lab A answer=192.0.2.256", "answer=192.0.2.7"),
            ("a.lab A answer=", "answer=192.0.2.7"), ("a.lab A answer=fe80::1%lo", "answer=192.0.2.7"),
            ("a.lab A alias=a..b", "is no domain name"), ("a.lab A nxdomain nodata", "says twice"),
            ("a.lab A servfail answer=192.0.2.1", "says twice"), ("a.lab A drop rate=101%", "rate=20%"),
            ("a.lab A drop rate=nan%", "rate=20%"), ("a.lab A drop rate=20", "rate=20%"),
            ("a.lab A drop seed=x", "a number"), ("a.lab A drop first=0", "from 1 to"),
            ("a.lab A drop between=9:00-17:00", "HH:MM"), ("a.lab A drop between=25:00-26:00", "HH:MM"),
            ("a.lab A drop client=10.0.0.0/33", "a network or a program"),
            ("a.lab A drop transport=quic", "transport=udp"), ("a.lab A drop view=", "view=NAME"),
            ("a.lab A answer=192.0.2.1 ttl=1500ms", "whole seconds"), ("10.0.0.1 A drop", "address"),
            ("a.lab A drop client=\u{1}", "control character 1"),
        ])
    func wrong(line: String, says: String) throws {
        let read = try read("# first\n\(line)\nb.lab A drop\n")
        let problem = try #require(read.result.diagnostics.list.first)
        #expect(problem.message.contains(says), "\(problem.message)")
        #expect(problem.place.line == 2)
        #expect(problem.message.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 >= 0x80 })
        #expect(read.table.rules.map(\.place.line) == [3])
    }

    @Test("Comments, blanks, line ends and marks are those of hosts files")
    func forms() throws {
        let read = try read("\u{FEFF}# a\r\n\r\n  a.lab\tA  drop # why\rB.LAB. drop\n.c.lab A,aaaa delay=1s+-1s")
        #expect(read.result.diagnostics.list.isEmpty)
        #expect(read.table.rules.map(\.text) == ["a.lab A drop", "B.LAB. drop", ".c.lab A,aaaa delay=1s+-1s"])
        #expect(read.table.rules.map(\.place.line) == [3, 4, 5])
        #expect(read.table.rules[1].condition.types == [])
        #expect(read.table.rules[2].jitter == 1_000_000)
    }

    @Test("Huge files, folders and garbage are told and bounded")
    func hostile() throws {
        let folder = try TestSupport.TemporaryFolder()
        let huge = folder.file("huge.rules")
        #expect(FileManager.default.createFile(atPath: huge, contents: nil))
        #expect(truncate(huge, 1 << 30) == 0)
        try folder.write("a.lab A drop\n", to: "b.rules")
        try folder.write("not a rule", to: "c.hosts")
        let read = RuleReader.load(paths: [folder.path], settings: HostsSettings())
        #expect(read.result.diagnostics.list.map(\.message).contains { $0.contains("is larger than 64 MiB") })
        #expect(read.table.rules.count == 1)

        var random = SeededGenerator(seed: 5)
        for _ in 0..<200 {
            let bytes = (0..<200).map { _ in UInt8.random(in: 0...255, using: &random) }
            try Data(bytes).write(to: URL(filePath: folder.file("g.rules")))
            let read = RuleReader.load(paths: [folder.file("g.rules")], settings: HostsSettings())
            for problem in read.result.diagnostics.list {
                #expect(problem.message.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
            }
        }
    }

    @Test("One name has so many rules and no more")
    func tooMany() throws {
        let lines = (0..<300).map { "a.lab A keep=\($0 + 1)\n" }.joined()
        let read = try read(lines + "b.lab A drop\n")
        #expect(read.table.rules.count == RuleTable.mostOfName + 1)
        #expect(read.result.diagnostics.list.count == 300 - RuleTable.mostOfName)
        #expect(read.result.diagnostics.list[0].message.contains("a.lab. has 256 rules already"))
    }

    @Test("What can't be read keeps its last good rules, of that file alone")
    func kept() throws {
        let folder = try TestSupport.TemporaryFolder()
        let one = try folder.write("a.lab A drop\n", to: "one.rules")
        let two = try folder.write("b.lab A drop\n", to: "two.rules")
        let first = RuleReader.load(paths: [one, two], settings: HostsSettings())
        try FileManager.default.removeItem(atPath: one)
        try folder.write("c.lab A drop\n", to: "two.rules")
        let second = RuleReader.load(paths: [one, two], settings: HostsSettings(), last: first.table)
        #expect(second.table.rules.map { "\($0.name)" } == ["a.lab.", "c.lab."])
        #expect(second.result.kept == [one])
    }

    @Test("A name's rules are those that a plain comparison finds, in the order of their lines")
    func agreesWithComparison() throws {
        var random = SeededGenerator(seed: 9)
        let labels = ["a", "b", "c"]
        func name(_ most: Int) -> String {
            (0..<Int.random(in: 1...most, using: &random)).map { _ in labels.randomElement(using: &random) ?? "a" }
                .joined(separator: ".")
        }
        for _ in 0..<100 {
            let lines = (0..<20).map { _ -> String in
                let front = ["", "*.", "."].randomElement(using: &random) ?? ""
                return Int.random(in: 0..<12, using: &random) == 0 ? "* A drop" : "\(front)\(name(4)) A drop"
            }
            let table = try read(lines.joined(separator: "\n")).table
            for _ in 0..<40 {
                let asked = name(6)
                var lookup = LookupName()
                lookup.assign(try #require(Name(asked + ".")))
                let expected = lines.indices.filter { index in
                    let pattern = lines[index].split(separator: " ")[0]
                    if pattern == "*" { return true }
                    if pattern.hasPrefix("*.") { return asked.hasSuffix(pattern.dropFirst()) }
                    if pattern.hasPrefix(".") { return asked.hasSuffix(pattern) || asked == pattern.dropFirst() }
                    return asked == pattern
                }
                #expect(table.rules(for: lookup, isAsked: true).map(Int.init) == expected, "\(asked) in \(lines)")
                #expect(table.has(lookup, isAsked: true) == !expected.isEmpty)
            }
        }
    }

    @Test("Counts are bounded, and those in use stay")
    func counts() {
        let counts = RuleCounts()
        for key in 0..<200_000 as Range<UInt64> {
            _ = counts.next(key)
            if key.isMultiple(of: 1000) { _ = counts.next(.max) }
        }
        #expect(counts.next(.max) == 201)
        #expect(counts.peeking.next(.max) == 202)
        #expect(counts.next(.max) == 202)
        counts.reset()
        #expect(counts.next(.max) == 1)
    }
}
