import Foundation
import LookupLog
import Testing

@testable import Inspector

@Suite("Pages")
struct PageTests {
    @Test(
        "What is put into a page stays text, whatever it is",
        arguments: [
            "<script>alert(1)</script>", "\" onmouseover=\"x", "' x='", "&amp;", "\u{202E}gro.emca", "\u{0}\u{1B}[2J",
        ])
    func escaping(_ hostile: String) {
        let page: HTML = "<td title=\"\(hostile)\">\(hostile)</td>"
        let inner = page.text.dropFirst("<td title=\"".count).dropLast("</td>".count)
        #expect(inner.filter { $0 == "<" || $0 == "'" }.isEmpty)
        // The quote that ends the attribute, and the bracket that ends the tag.
        #expect(inner.filter { $0 == "\"" }.count == 1 && inner.filter { $0 == ">" }.count == 1)
        #expect(!page.text.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x202E })
    }

    @Test("A lookup whose every field is hostile makes no markup of its own")
    func hostileLookup() throws {
        let evil = "<img src=x onerror=alert(1)>\\\"'"
        var lookup = Self.lookup(1, name: evil, type: "TYPE65280", source: "upstream", answers: ["x 0 IN TXT \(evil)"])
        lookup.rule = evil
        lookup.upstream = evil
        lookup.process = .init(pid: 1, command: evil)
        lookup.ede = .init(code: 0, text: evil)
        lookup.chain = [.init(name: evil, source: "hosts", rule: evil)]
        let navigation = try #require(Navigation(lookups: [lookup]))
        for page in [
            LookupsPage.list([navigation], losses: [], filter: evil, older: nil, command: evil),
            LookupsPage.body(
                [], losses: [], filter: evil, problem: evil, older: nil, newest: 1, command: evil),
            LookupsPage.detail(navigation), NamePage.search(names: [evil], query: evil),
        ] {
            #expect(!page.text.contains("<img") && !page.text.contains("onerror=alert(1)>\\\""))
        }
    }

    @Test("Lookups of one visit are one row: same client, same name, close in time")
    func grouping() {
        let second: UInt64 = 1_000_000
        let visit = [("HTTPS", 0), ("AAAA", 300), ("A", 450)].map { type, time in
            Self.lookup(
                10 * second + UInt64(time), name: "acme.org.", type: type,
                answers: type == "A" ? ["acme.org. 0 IN A 127.0.0.1"] : [])
        }
        let later = Self.lookup(14 * second, name: "acme.org.")
        let other = Self.lookup(10 * second + 100, name: "acme.org.", client: "127.0.0.2:1")
        // Newest first, but for two that the log has in the other order.
        var all = (visit + [later, other]).sorted { $0.microseconds > $1.microseconds }
        all.swapAt(1, 2)
        let groups = Navigation.group(all)
        #expect(groups.map { $0.lookups.map(\.type) } == [["A"], ["A"], ["HTTPS", "AAAA", "A"]])
        #expect(groups[2].main.type == "A")
        #expect(groups[2].duration == 11)
    }

    @Test("What waited for upstream and was logged later is in its place by time")
    func loggedLate() {
        let start: UInt64 = 10_000_000
        // AAAA came a moment after A, and was answered first.
        let lookups = [("AAAA", start + 900), ("A", start)].map { Self.lookup($1, type: $0) }
        for found in [Navigation(lookups: lookups)].compactMap(\.self) + Navigation.group(lookups.reversed()) {
            #expect(found.lookups.map(\.type) == ["A", "AAAA"])
            #expect(found.duration == 11)
            #expect(LookupsPage.detail(found).text.contains("911 us"))
        }
        #expect(Navigation.group(lookups.reversed()).count == 1)
    }

    @Test("A machine whose clock stands at 1970 has charts, too", arguments: [0, 5, 899] as [UInt64])
    func firstSeconds(_ now: UInt64) {
        let seconds = LookupTotals().seconds(900, now: now)
        #expect(seconds.isEmpty)
        #expect(Chart.columns(seconds, now: now, span: 900, each: 10).count == 90)
        #expect(Chart.pulse(seconds, now: now, lost: 0).text.contains("0/s"))
    }

    @Test("The root's page has a path that browsers leave as it is")
    func links() {
        #expect(LookupsPage.link(".") == "/name")
        #expect(LookupsPage.link(#"a\.b/..?.x."#) == "/name/a%5C.b%2F..%3F.x.")
    }

    @Test("The diagram tells in order who asked whom, and what came back")
    func diagram() throws {
        var lookup = Self.lookup(1, name: "www.acme.org.", source: "hosts", answers: ["acme.org. 0 IN A 127.0.0.14"])
        lookup.chain = [
            .init(name: "www.acme.org.", source: "zone", rule: "zones/acme.org.zone:10"),
            .init(name: "acme.org.", source: "hosts", rule: "/etc/hosts:12"),
        ]
        let svg = SequenceDiagram(try #require(Navigation(lookups: [lookup]))).svg.text
        let order = [
            "zone acme.org.zone", "hosts hosts", "A www.acme.org.?", "www.acme.org.: line 10", "acme.org.: line 12",
            "127.0.0.14",
        ]
        var rest = svg[...]
        for text in order {
            let range = try #require(rest.firstRange(of: text), "\(text) after the others")
            rest = rest[range.upperBound...]
        }
    }

    @Test("Lookups that come in another order than they were asked have their diagram, too")
    func disorder() throws {
        let lookups = [Self.lookup(500, type: "A"), Self.lookup(100, type: "HTTPS"), Self.lookup(.max, type: "AAAA")]
        let navigation = try #require(Navigation(lookups: lookups))
        #expect(navigation.lookups.map(\.type) == ["HTTPS", "A", "AAAA"])
        let page = LookupsPage.detail(navigation)
        #expect(page.text.contains("HTTPS acme.org.?") && page.text.contains(">400 us<"))
    }

    @Test("What was lost is said where it is missing")
    func losses() {
        let rows = [Self.lookup(9_000_000), Self.lookup(1_000_000)].compactMap { Navigation(lookups: [$0]) }
        let page = LookupsPage.list(
            rows, losses: [.init(time: 5_000_000, count: 7, reason: "full")], filter: "", older: nil, command: "")
        let parts = page.text.components(separatedBy: "<tr ")
        #expect(parts.count == 4 && parts[2].contains("7 lookups are missing here: full"))
    }

    @Test("All that a page loads is below 80 kB")
    func size() {
        let rows = (0..<InspectorPages.pageSize).compactMap {
            Navigation(lookups: [Self.lookup(UInt64($0) * 10_000_000)])
        }
        let list = LookupsPage.list(rows, losses: [], filter: "", older: nil, command: "")
        let page = Layout.page(.lookups, title: "", addresses: [], pulse: "", list)
        #expect(PackageResources.app_css.count + PackageResources.app_js.count < 20_000)
        #expect(page.text.utf8.count < 80_000)
    }

    static func lookup(
        _ time: UInt64, name: String = "acme.org.", type: String = "A", client: String = "127.0.0.1:5",
        source: String = "hosts", answers: [String] = []
    ) -> LoggedLookup {
        let time = min(time, 1 << 62)
        return LoggedLookup(
            time: "2026-11-23T17:00:00.123456Z", client: client, transport: "udp", name: name, type: type,
            flags: ["rd"],
            source: source, rule: "/etc/hosts:12", rcode: "NOERROR", answers: answers, durationUs: 11,
            key: Int64(time & 0xFFFF_FFFF), microseconds: time)
    }
}
