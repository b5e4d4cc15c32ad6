import DNSWire
import Foundation
import History
import Lookup
import LookupLog
import Platform
import Testing

@testable import Inspector

@Suite("Pages")
struct PageTests {
    @Test(
        "Interpolated values stay text, whatever they contain",
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

    @Test("A lookup with hostile values in every field adds no markup")
    func hostileLookup() throws {
        let evil = "<img src=x onerror=alert(1)>\\\"'"
        let name = try #require(Name("acme.org.")?.prepending(label: Array(evil.utf8)))
        let lookup = Self.lookup(
            1, name: name, type: RecordType(rawValue: 65_280), source: .upstream,
            answers: [(.txt, [UInt8(evil.utf8.count)] + evil.utf8)], upstreams: [evil]
        ) {
            $0.place = Place(path: evil, line: 7)
            $0.upstream = 0
            $0.process = ClientProcess(pid: 1, command: evil)
            $0.extendedError = .other
            $0.extendedText = Array(evil.utf8)
            $0.hops = [SourceKind.upstream, .hosts].map {
                .init(nameOffset: UInt16(Header.length), source: $0, place: Place(path: evil, line: 1))
            }
        }
        let navigation = try #require(Navigation(lookups: [lookup]))
        let detail = LookupsPage.detail(navigation).text
        #expect(detail.components(separatedBy: "&lt;img src=x onerror=alert(1)&gt;").count > 6)
        for page in [
            LookupsPage.list([navigation], losses: [], filter: evil, older: nil, command: evil),
            LookupsPage.body(
                [], losses: [], filter: evil, problem: evil, older: nil, newest: 1, command: evil),
            LookupsPage.detail(navigation), NamePage.search(names: [evil], query: evil),
        ] {
            #expect(!page.text.contains("<img") && !page.text.contains("onerror=alert(1)>\\\""))
        }
    }

    @Test("A private address of a public name is marked, in the row and in the details")
    func privateAddress() throws {
        let lookup = Self.lookup(1, source: .upstream, answers: [(.a, [10, 0, 0, 1])]) { $0.privateAnswer = .passed }
        let navigation = try #require(Navigation(lookups: [lookup]))
        let row = LookupsPage.list([navigation], losses: [], filter: "", older: nil, command: "").text
        #expect(row.contains(">A upstream private</span>"), "\(row)")
        let detail = LookupsPage.detail(navigation).text
        #expect(detail.contains("private address of a public name, passed"), "\(detail)")
    }

    @Test("Lookups of one navigation share a row: same client, same name, close in time")
    func grouping() {
        let second: UInt64 = 1_000_000
        let visit = [(RecordType.https, 0), (.aaaa, 300), (.a, 450)].map { type, time in
            Self.lookup(
                10 * second + time, type: type, answers: type == .a ? [(.a, [127, 0, 0, 1])] : [])
        }
        let later = Self.lookup(14 * second)
        let other = Self.lookup(10 * second + 100, client: "127.0.0.2")
        // Newest first, except two that the log has in the other order.
        var all = (visit + [later, other]).sorted { $0.time > $1.time }
        all.swapAt(1, 2)
        let groups = Navigation.group(all)
        #expect(groups.map { $0.lookups.map(\.type) } == [[.a], [.a], [.https, .aaaa, .a]])
        #expect(groups[2].main.type == .a)
        #expect(groups[2].duration == 11)
    }

    @Test("A lookup that waited for upstream and was logged late is sorted by its time")
    func loggedLate() {
        let start: UInt64 = 10_000_000
        // AAAA came shortly after A and was answered first.
        let lookups = [(RecordType.aaaa, start + 900), (.a, start)].map { Self.lookup($1, type: $0) }
        for found in [Navigation(lookups: lookups)].compactMap(\.self) + Navigation.group(lookups.reversed()) {
            #expect(found.lookups.map(\.type) == [.a, .aaaa])
            #expect(found.duration == 11)
            #expect(LookupsPage.detail(found).text.contains("911 us"))
        }
        #expect(Navigation.group(lookups.reversed()).count == 1)
    }

    @Test("Charts also work if the clock is at 1970", arguments: [0, 5, 899] as [UInt64])
    func firstSeconds(_ now: UInt64) {
        let seconds = LookupTotals().seconds(900, now: now)
        #expect(seconds.isEmpty)
        #expect(Chart.columns(seconds, now: now, span: 900, each: 10).count == 90)
        #expect(Chart.pulse(seconds, now: now, lost: 0).text.contains("0/s"))
    }

    @Test("The root's page has a path that browsers don't change")
    func links() {
        #expect(LookupsPage.link(".") == "/name")
        #expect(LookupsPage.link(#"a\.b/..?.x."#) == "/name/a%5C.b%2F..%3F.x.")
    }

    @Test("The diagram shows in order who asked whom, and what was answered")
    func diagram() throws {
        let name = try #require(Name("www.acme.org."))
        let lookup = Self.lookup(1, name: name, answers: [(.a, [127, 0, 0, 14])]) {
            $0.hops = [
                .init(nameOffset: 12, source: .zone, place: Place(path: "zones/acme.org.zone", line: 10)),
                // After the first label.
                .init(nameOffset: 16, source: .hosts, place: Place(path: "/etc/hosts", line: 12)),
            ]
        }
        let svg = SequenceDiagram(try #require(Navigation(lookups: [lookup]))).svg.text
        let order = [
            "zone zones/acme.org.zone", "hosts /etc/hosts", "A www.acme.org.?", "www.acme.org.: line 10",
            "acme.org.: line 12",
            "127.0.0.14",
        ]
        var rest = svg[...]
        for text in order {
            let range = try #require(rest.firstRange(of: text), "\(text) after the others")
            rest = rest[range.upperBound...]
        }
    }

    @Test("Lookups in a different order than asked have a diagram too")
    func disorder() throws {
        let lookups = [Self.lookup(500, type: .a), Self.lookup(100, type: .https), Self.lookup(.max, type: .aaaa)]
        let navigation = try #require(Navigation(lookups: lookups))
        #expect(navigation.lookups.map(\.type) == [.https, .a, .aaaa])
        let page = LookupsPage.detail(navigation)
        #expect(page.text.contains("HTTPS acme.org.?") && page.text.contains(">400 us<"))
    }

    @Test("Losses are shown where lookups are missing")
    func losses() {
        let rows = [Self.lookup(9_000_000), Self.lookup(1_000_000)].compactMap { Navigation(lookups: [$0]) }
        let page = LookupsPage.list(
            rows, losses: [.init(time: 5_000_000, count: 7, reason: "full")], filter: "", older: nil, command: "")
        let parts = page.text.components(separatedBy: "<tr ")
        #expect(parts.count == 4 && parts[2].contains("7 lookups are missing here: full"))
    }

    static let outcomes: [(AnswerKind, ResponseCode, String)] = [
        (.answer, .noError, "A zone"), (.answer, .nxDomain, "A zone NXDOMAIN"), (.noData, .noError, "A zone NODATA"),
        (.referral, .noError, "A zone referral"), (.transfer, .noError, "A zone transfer"),
        (.dropped, .noError, "A zone dropped"),
    ]

    @Test("A row names a lookup's result like the log and the filter", arguments: outcomes)
    func outcome(_ kind: AnswerKind, _ code: ResponseCode, _ words: String) throws {
        let lookup = Self.lookup(1, source: .zone) {
            $0.answerKind = kind
            $0.responseCode = code
        }
        #expect(LookupsPage.pill(lookup).text.hasSuffix(">\(words)</span>"))
    }

    @Test("A row shows the stored record: time, data, and the number of further answers")
    func row() throws {
        let addresses = (1...4).map { (type: RecordType.a, data: [10, 0, 0, UInt8($0)]) }
        let lookup = Self.lookup(1_795_453_200_123_456, answers: addresses)
        let page = LookupsPage.list(
            Navigation.group([lookup]), losses: [], filter: "", older: nil, command: "")
        for text in [
            ">17:00:00.123<", ">10.0.0.1, 10.0.0.2 +2<", ">/<wbr>etc/<wbr>hosts:12<", ">127.0.0.1<", ">11 us ",
        ] {
            #expect(page.text.contains(text), "\(text)")
        }
    }

    // MARK: Colours

    @Test("The style has every source, light and dark", arguments: SourceKind.allCases)
    func style(_ source: SourceKind) {
        let style = String(decoding: StyleSheet.bytes, as: UTF8.self)
        #expect(style.components(separatedBy: "--\(source): #").count == 3)
        #expect(style.components(separatedBy: "--\(source)-tint: #").count == 3)
        #expect(style.contains(".\(source) { --own: var(--\(source)); --tint: var(--\(source)-tint) }\n"))
    }

    @Test(
        "The text of every source stands out from what is behind it (WCAG 2.2, 1.4.3)", arguments: SourceKind.allCases)
    func contrast(_ source: SourceKind) throws {
        for (ink, page) in [(source.lightColors, "#ffffff"), (source.darkColors, "#121417")] {
            let text = try Self.luminance("\(ink.text)")
            for behind in [try Self.luminance("\(ink.tint)"), try Self.luminance(page)] {
                #expect((max(text, behind) + 0.05) / (min(text, behind) + 0.05) >= 4.5)
            }
        }
    }

    private static func luminance(_ color: String) throws -> Double {
        let value = try #require(Int(color.dropFirst(), radix: 16))
        let parts = [16, 8, 0].map { shift in
            let part = Double(value >> shift & 0xFF) / 255
            return part <= 0.04045 ? part / 12.92 : pow((part + 0.055) / 1.055, 2.4)
        }
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    }

    @Test("Charts count the lookups of every source and of every duration")
    func allSources() {
        let totals = LookupTotals()
        for source in SourceKind.allCases {
            for bound in LookupTotals.Durations.bounds + [.max] {
                var fields = LookupFields(client: SocketAddress(high: 0, low: 0x7F00_0001, port: 5, isIPv6: false))
                fields.time = 7_000_000
                fields.source = source
                fields.durationMicroseconds = bound
                StoredLookup(id: 1, number: 1, fields).withRecord { totals.note($0, id: 1) }
            }
        }
        let each = UInt64(LookupTotals.Durations.bucketCount)
        let column = Chart.columns(totals.seconds(900, now: 7), now: 7, span: 10, each: 10)[0]
        #expect(SourceKind.allCases.allSatisfy { column.bySource[$0] == each })
        #expect(column.durations == Array(repeating: UInt64(SourceKind.allCases.count), count: Int(each)))
        let snapshot = totals.snapshot
        #expect(Set(snapshot.counts.map(\.source)) == Set(SourceKind.allCases))
        #expect(SourceKind.allCases.allSatisfy { snapshot.durations[$0]?.count == each })
        for source in SourceKind.allCases {
            #expect(Chart.pulse(totals.seconds(900, now: 7), now: 7, lost: 0).text.contains("\(source) \(each)"))
        }
    }

    @Test("All that a page loads is below 80 kB")
    func size() {
        let rows = (0..<InspectorPages.pageSize).compactMap {
            Navigation(lookups: [Self.lookup(UInt64($0) * 10_000_000)])
        }
        let list = LookupsPage.list(rows, losses: [], filter: "", older: nil, command: "")
        let page = Layout.page(.lookups, title: "", addresses: [], pulse: "", list)
        #expect(StyleSheet.bytes.count + PackageResources.app_js.count < 20_000)
        #expect(page.text.utf8.count < 80_000)
    }

    /// An override's lookup.
    static func lookup(
        _ time: UInt64, name: Name = Name("acme.org.")!, type: RecordType = .a, client: String = "127.0.0.1",
        source: SourceKind = .hosts, answers: [(type: RecordType, data: [UInt8])] = [], upstreams: [String] = [],
        _ change: (inout LookupFields) -> Void = { _ in }
    ) -> LoggedLookup {
        var fields = LookupFields(client: SocketAddress(ip: client, port: 5)!)
        fields.time = time
        fields.type = type
        fields.recordClass = .in
        fields.flags = .recursionDesired
        fields.source = source
        fields.place = Place(path: "/etc/hosts", line: 12)
        fields.durationMicroseconds = 11
        fields.questionLength = name.wire.count + 4
        func bytes(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
        fields.message = [UInt8](repeating: 0, count: Header.length) + name.wire + bytes(type.rawValue) + [0, 1]
        for answer in answers {
            fields.message += [0xC0, 12] + bytes(answer.type.rawValue) + [0, 1, 0, 0, 0, 0]
            fields.message += bytes(UInt16(answer.data.count)) + answer.data
        }
        fields.answers = answers.count
        change(&fields)
        return LoggedLookup(
            StoredLookup(id: Int64(time & 0xFFFF_FFFF), number: 1, fields), upstreams: upstreams)
    }
}
