internal import CLinux
internal import DNSWire
internal import Glibc
import LocalData
import Lookup
public import Platform

extension LookupFilter {
    /// The word before the colon: what a condition is about.
    public enum Kind: String, Sendable, Hashable, CaseIterable {
        case name, type, source, rcode, client, transport, view, since, until
    }

    /// Why a text is not a filter, and how to fix it: one sentence.
    public struct Problem: Error, Sendable, Hashable, CustomStringConvertible {
        public let description: String
        init(_ description: String) { self.description = description }
    }

    /// Reads conditions separated by blanks: `type:HTTPS source:upstream since:10m`.
    ///
    /// A word without a kind matches names that contain it; one with `*` is a pattern. `KIND:A,B` means A or B.
    /// - Parameter now: the time that `since` and `until` are relative to, in microseconds since 1970.
    public init(words: String, now: UInt64 = SystemClock.wall()) throws(Problem) {
        self.init()
        for word in words.split(whereSeparator: \.isWhitespace) {
            guard let colon = word.firstIndex(of: ":") else {
                if word.contains("*") {
                    try add(.name, word, now: now)
                } else {
                    try checkRoom(for: String(word))
                    names.append(.containing(word))
                }
                continue
            }
            let kind = word[..<colon].lowercased()
            guard let kind = Kind(rawValue: kind) else {
                let near = nearest(to: kind, among: Kind.allCases.map(\.rawValue))
                throw Problem(
                    "\(quoted(kind.utf8)) is no kind of filter; "
                        + (near.map { "did you mean \($0):?" }
                            ?? "there are \(Kind.allCases.map { $0.rawValue + ":" }.joined(separator: " "))"))
            }
            try add(kind, word[word.index(after: colon)...], now: now)
        }
    }

    /// Adds the comma-separated conditions that follow a colon.
    public mutating func add(
        _ kind: Kind, _ values: some StringProtocol, now: UInt64 = SystemClock.wall()
    ) throws(Problem) {
        let parts = values.split(separator: ",")
        guard !parts.isEmpty else {
            throw Problem("\(kind): has nothing behind it; give a value, as in \(kind.example)")
        }
        for part in parts { try add(kind, one: String(part), now) }
    }

    /// The most conditions: each is checked for every lookup, or for every stored name.
    private static let most = 64

    private func checkRoom(for text: String) throws(Problem) {
        let count =
            names.count + types.count + sources.count + codes.count + clients.count + transports.count
            + views.count
        guard count < Self.most else {
            throw Problem("the filter has more than \(Self.most) conditions; leave some out")
        }
        guard text.utf8.count <= NamePattern.longestText else {
            throw Problem("\(quoted(text.utf8.prefix(32))) and so on is longer than any name; give a shorter one")
        }
    }

    private mutating func add(_ kind: Kind, one text: String, _ now: UInt64) throws(Problem) {
        try checkRoom(for: text)
        switch kind {
        case .name:
            // Names are stored as they were asked: as A-labels.
            guard let ascii = InternationalName.toASCII(text) else {
                throw Problem("\(quoted(text.utf8)) can't be written as a domain name (RFC 5891); give whole labels")
            }
            do { names.append(try NamePattern(ascii)) } catch {
                throw Problem("\(quoted(text.utf8)) is no name: \(error)")
            }
        case .type:
            guard let type = RecordType(mnemonic: text) else {
                throw Self.unknown(
                    text, "record type", RecordType.mnemonics.map(\.0), "A, AAAA, HTTPS, TYPE65 and so on")
            }
            types.append(type)
        case .source:
            guard let source = SourceKind(word: text) else {
                let all = SourceKind.allCases.map(\.description)
                throw Self.unknown(text, "source", all, all.joined(separator: ", "))
            }
            sources.append(source)
        case .rcode: codes.append(try Self.code(text))
        case .client: clients.append(Self.client(text))
        case .transport:
            guard let transport = Transport.allCases.first(where: { $0.description == text.lowercased() }) else {
                let all = Transport.allCases.map(\.description)
                throw Self.unknown(text, "transport", all, all.joined(separator: ", "))
            }
            transports.append(transport)
        case .view: views.append(text)
        case .since: since = try Self.time(text, now)
        case .until: until = try Self.time(text, now)
        }
    }

    private static func unknown(_ text: String, _ what: String, _ words: [String], _ examples: String) -> Problem {
        let near = nearest(to: text, among: words)
        return Problem(
            "\(quoted(text.utf8)) is no \(what); " + (near.map { "did you mean \($0)?" } ?? "there are \(examples)"))
    }

    private static let codeWords = (0...23).map { ResponseCode(rawValue: $0).description }.filter {
        !$0.hasPrefix("RCODE")
    }
    /// In upper case, for comparison.
    private static let kindWords = AnswerKind.allCases.compactMap { kind in
        kind.word.map { (word: "\($0)".uppercased(), kind: kind) }
    }
    public static let privateWord = "private"

    private static func code(_ text: String) throws(Problem) -> Code {
        let upper = text.uppercased()
        if text.lowercased() == privateWord { return .privateAddress }
        if let known = kindWords.first(where: { $0.word == upper }) { return .kind(known.kind) }
        for value in 0...23 as ClosedRange<UInt16> where ResponseCode(rawValue: value).description == upper {
            return .code(ResponseCode(rawValue: value))
        }
        let digits = upper.hasPrefix("RCODE") ? upper.dropFirst(5) : upper[...]
        if digits.utf8.allSatisfy(ASCII.isDigit), let value = UInt16(digits) {
            return .code(ResponseCode(rawValue: value))
        }
        throw unknown(
            text, "response code", codeWords + kindWords.map(\.word) + [privateWord],
            "NOERROR, NODATA, NXDOMAIN, SERVFAIL, REFUSED and so on")
    }

    private static func client(_ text: String) -> Client {
        if let address = SocketAddress(ip: text, port: 0) { return .address(address.unmapped) }
        if text.utf8.allSatisfy(ASCII.isDigit), let pid = Int32(text) { return .process(pid) }
        return .command(text.utf8.map(ASCII.lowercased))
    }

    // MARK: Times

    /// `10m` (before `now`), `2026-11-23`, `2026-11-23T17:00[:00[.123]]`; in UTC with `Z`, with an offset (`+01:00`), or else in
    /// local time.
    static func time(_ text: String, _ now: UInt64) throws(Problem) -> UInt64 {
        if let back = duration(text) { return now - min(back, now) }
        if let time = CalendarTime.wall(of: text) { return time }
        throw Problem(
            "\(quoted(text.utf8)) is no time; give how long ago (30s, 10m, 2h, 1d) or when (2026-11-23T17:00, with Z for UTC)"
        )
    }

    /// Microseconds: numbers with units, in any order: `1h30m`.
    private static func duration(_ text: String) -> UInt64? {
        var sum: UInt64 = 0
        var number: UInt64?
        for byte in text.utf8 {
            if ASCII.isDigit(byte) {
                let (ten, tooMuch) = (number ?? 0).multipliedReportingOverflow(by: 10)
                guard !tooMuch, ten < 1 << 50 else { return nil }
                number = ten + UInt64(byte - 48)
                continue
            }
            let factor: UInt64
            switch byte {
            case UInt8(ascii: "s"): factor = 1
            case UInt8(ascii: "m"): factor = 60
            case UInt8(ascii: "h"): factor = 3600
            case UInt8(ascii: "d"): factor = 86_400
            case UInt8(ascii: "w"): factor = 7 * 86_400
            default: return nil
            }
            guard let value = number, value < 1 << 30 else { return nil }
            let seconds = value * factor
            // 34,000 years: longer ones make no sense and would overflow.
            guard seconds < 1 << 40 else { return nil }
            sum += seconds * 1_000_000
            guard sum < 1 << 62 else { return nil }
            number = nil
        }
        return number == nil && !text.isEmpty ? sum : nil
    }
}

extension LookupFilter.Kind: CustomStringConvertible {
    public var description: String { rawValue }

    /// Common values, for completion.
    public var usualValues: [String] {
        switch self {
        case .type: ["A", "AAAA", "HTTPS", "CNAME", "MX", "TXT", "PTR"]
        case .source: SourceKind.allCases.map(\.description)
        case .rcode:
            ["NOERROR", "NXDOMAIN", "SERVFAIL", "REFUSED"] + AnswerKind.allCases.compactMap { $0.word.map { "\($0)" } }
                + [LookupFilter.privateWord]
        case .transport: Transport.allCases.map(\.description)
        case .since: ["5m", "1h", "1d"]
        case .name, .client, .view, .until: []
        }
    }

    var example: String {
        switch self {
        case .name: "name:*.acme.org"
        case .type: "type:HTTPS"
        case .source: "source:upstream"
        case .rcode: "rcode:NXDOMAIN"
        case .client: "client:127.0.0.1"
        case .transport: "transport:doh"
        case .view: "view:phones"
        case .since, .until: "\(rawValue):10m"
        }
    }
}
