import Foundation
import FoundationXML
import Platform
import Testing

@testable import stub53

/// `stub53 expect` and `exec --expect`: what a file says, what it means, and how it is told.
@Suite("Expectations of lookups")
struct ExpectationTests {
    private func read(_ text: String) -> (expectations: [LookupExpectation], problems: [String]) {
        let (expectations, problems) = LookupExpectation.read(Array(text.utf8), path: "dns.expect")
        return (expectations, problems.list.map(\.description))
    }

    private func lookup(_ id: UInt64, microseconds: UInt64 = 100) -> LookupExpectation.Lookup {
        .init(
            id: id, time: "2026-11-23T17:00:00.000000Z", client: "127.0.0.1:1", name: "acme.org.", type: "A",
            source: "hosts", rule: "hosts:1", rcode: "NOERROR", upstream: nil, microseconds: microseconds)
    }

    private func failure(_ text: String, _ lookups: [LookupExpectation.Lookup]...) throws -> String? {
        try #require(read(text).expectations.first).judge(lookups).failure
    }

    @Test("each line is a count and a filter; comments and blank lines are skipped")
    func lines() {
        let (expectations, problems) = read(
            """
            # what the page asks
            always    name:acme.org type:A source:hosts
            never source:upstream   # nothing leaves

            2 times   name:api.acme.org
            1 time    name:one.acme.org
            at most 5 type:HTTPS
            At Least 1 rcode:NXDOMAIN
            within 50ms name:acme.org
            never
            """)
        #expect(problems == [])
        #expect(
            expectations.map(\.count) == [
                .always, .never, .exactly(2), .exactly(1), .atMost(5), .atLeast(1), .within(50_000), .never,
            ])
        #expect(expectations[0].filters == ["name:acme.org type:A", "name:acme.org type:A source:hosts"])
        #expect(expectations[1].text == "never source:upstream" && expectations[1].place.line == 3)
    }

    @Test(
        "a bad line is told with its number and the right form",
        arguments: [
            ("sometimes name:a", "is no count"), ("2 name:a", "followed by 'times'"),
            ("at 5 name:a", "is no count"), ("within name:a", "followed by a time"), ("within 0ms x", "a time"),
            ("never nmae:a", "did you mean name:?"), ("always name:a", "'always' says how something is answered"),
            ("99999999999999999999 times name:a", "is no count"), ("-1 times a", "is no count"),
            ("never client:a\u{1}b", "control character 1"),
        ])
    func badLines(_ line: String, _ reason: String) throws {
        let problems = read("never source:upstream\n" + line).problems
        let problem = try #require(problems.first)
        #expect(problems.count == 1 && problem.contains("dns.expect:2") && problem.contains(reason), "\(problem)")
    }

    @Test("bad lines are told together, also of a file from Windows")
    func manyBad() {
        let problems = read("\u{FEFF}never name:a\r\nsometimes\r\n\r\nnever nmae:a\r\n").problems
        #expect(problems.count == 2)
        #expect(
            problems.first?.hasPrefix("dns.expect:2: ") == true && problems.last?.hasPrefix("dns.expect:4: ") == true)
    }

    @Test("a file without expectations is an error, since it could not fail", arguments: ["", "# nothing\n", "\n\n"])
    func nothing(_ text: String) {
        #expect(read(text).problems.first?.contains("holds no expectation") == true)
    }

    @Test("each kind holds, and fails with the reason")
    func verdicts() throws {
        let (one, two) = (lookup(1), lookup(2, microseconds: 60_000))
        #expect(try failure("never name:a", []) == nil)
        #expect(try failure("never name:a", [one]) == "there were 1")
        #expect(try failure("2 times name:a", [one, two]) == nil)
        #expect(try failure("2 times name:a", [one]) == "there were 1")
        #expect(try failure("at most 1 name:a", [one]) == nil)
        #expect(try failure("at most 1 name:a", [one, two]) == "there were 2")
        #expect(try failure("at least 1 name:a", [one]) == nil)
        #expect(try failure("at least 1 name:a", []) == "there were 0")
        #expect(try failure("within 50ms name:a", [one]) == nil)
        #expect(try failure("within 50ms name:a", [one, two]) == "1 of 2 took longer")
        #expect(try failure("within 50ms name:a", []) == "there was no such lookup")
        #expect(try failure("always name:a source:hosts", [one, two], [one, two]) == nil)
        #expect(try failure("always name:a source:hosts", [one, two], [one]) == "1 of 2 were answered otherwise")
        #expect(try failure("always name:a source:hosts", [], []) == "there was no such lookup")
        // Of another daemon, which numbers its own.
        var other = one
        other.source = "upstream"
        other.time = "2026-11-23T18:00:00.000000Z"
        #expect(try failure("always name:a source:hosts", [one, other], [one]) == "1 of 2 were answered otherwise")
    }

    private var report: ExpectationReport {
        let expectations = read("never name:a,b\nalways name:<&>\" rcode:NOERROR\n").expectations
        return ExpectationReport(verdicts: [
            expectations[0].judge([[]]), expectations[1].judge([(1...25).map { lookup($0) }, []]),
        ])
    }

    @Test("the text lists what failed, and the lookups that broke it")
    func text() {
        #expect(
            report.text.hasPrefix("dns.expect:2: always name:<&>\" rcode:NOERROR: 25 of 25 were answered otherwise\n"))
        #expect(report.text.contains("\n  acme.org. A: hosts hosts:1 NOERROR in 0.1 ms, asked by 127.0.0.1:1 at "))
        #expect(report.text.hasSuffix("\n  and 5 more\n1 of 2 expectations hold\n"))
    }

    @Test("TAP has a plan, and numbers each")
    func tap() {
        let lines = report.tap.split(separator: "\n")
        #expect(
            lines[..<4] == [
                "TAP version 13", "1..2", "ok 1 - never name:a,b", "not ok 2 - always name:<&>\" rcode:NOERROR",
            ])
        #expect(lines[4] == "  ---" && lines.last == "  ...")
    }

    @Test("JUnit's XML is well-formed, and counts")
    func junit() throws {
        final class Counter: NSObject, XMLParserDelegate {
            var cases: [String] = []
            var failures: [String] = []
            func parser(
                _ parser: XMLParser, didStartElement name: String, namespaceURI: String?, qualifiedName: String?,
                attributes: [String: String]
            ) {
                if name == "testcase" { cases.append(attributes["name"] ?? "") }
                if name == "failure" { failures.append(attributes["message"] ?? "") }
            }
        }
        let counter = Counter()
        let parser = XMLParser(data: Data(report.junit.utf8))
        parser.delegate = counter
        #expect(parser.parse())
        #expect(counter.cases == ["never name:a,b", "always name:<&>\" rcode:NOERROR"])
        #expect(counter.failures == ["25 of 25 were answered otherwise"])
    }

    @Test("lookups that were not kept are a failure of their own")
    func missing() {
        let report = ExpectationReport(verdicts: [LookupExpectation.missing("3 are missing")])
        #expect(report.text.hasPrefix("history: every lookup is kept: 3 are missing: raise history.max-rate"))
        #expect(report.failures.count == 1)
    }

    @Test("Markdown has a row for each")
    func markdown() {
        #expect(report.markdown.contains("| ok | `never name:a,b` | 0 |"))
        #expect(report.markdown.contains("| **failed** | `always name:<&>\" rcode:NOERROR`: 25 of 25"))
    }
}
