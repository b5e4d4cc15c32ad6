import DNSWire
import LookupLog
import Platform

/// What a tester expects of lookups: a count, and a filter in the language of `stub53 log`.
///
///     always    name:acme.org type:A source:hosts
///     never     source:upstream
///     2 times   name:api.acme.org type:A
///     at most 5 type:HTTPS
///     within 50ms name:acme.org
struct LookupExpectation: Sendable, Hashable {
    enum Count: Sendable, Hashable {
        /// Each lookup that asks what the filter says is answered as it says, and there is one.
        case always
        case never
        case exactly(Int)
        case atMost(Int)
        case atLeast(Int)
        /// Each lookup is answered within so many microseconds, and there is one.
        case within(UInt64)
    }

    /// A lookup as far as expectations are about it, from a line of the JSON log.
    struct Lookup: Decodable, Sendable, Hashable {
        var id: UInt64
        var time: String
        var client: String
        var name: String?
        var type: String?
        var source: String
        var rule: String?
        var rcode: String?
        var upstream: String?
        var microseconds: UInt64

        enum CodingKeys: String, CodingKey {
            case id, time, client, name, type, source, rule, rcode, upstream
            case microseconds = "duration_us"
        }
    }

    /// The outcome: how many there were, and those that broke it.
    struct Verdict: Sendable, Hashable {
        let expectation: LookupExpectation
        let count: Int
        /// Why it does not hold; nil: it does.
        let failure: String?
        let broken: [Lookup]
    }

    /// As it was written, with single blanks.
    let text: String
    let place: Place
    let count: Count
    let filter: String

    private static let mostLines = 10_000
    private static let mostCount = 1_000_000_000

    // MARK: Reading

    /// Reads one expectation a line; `#` begins a comment. Problems are told by line.
    static func read(_ text: [UInt8], path: String) -> (expectations: [LookupExpectation], problems: Diagnostics) {
        var expectations: [LookupExpectation] = []
        var problems = Diagnostics()
        let file = Place(path: path)
        let text = text.starts(with: [0xEF, 0xBB, 0xBF]) ? text.dropFirst(3) : text[...]
        // As bytes: a String takes CRLF for one character.
        for (index, line) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            let place = file.line(index + 1)
            let written = line.prefix { $0 != UInt8(ascii: "#") }
            let words = String(decoding: written, as: UTF8.self).split(whereSeparator: \.isWhitespace).map(String.init)
            if words.isEmpty { continue }
            if let wrong = written.first(where: { ($0 < 0x20 && !(0x09...0x0D).contains($0)) || $0 == 0x7F }) {
                problems.error(place, "holds the control character \(wrong), which no name or word has; remove it")
                continue
            }
            guard expectations.count < mostLines else {
                problems.error(place, "there are more than \(mostLines) expectations; leave some out")
                break
            }
            do throws(Problem) { expectations.append(try LookupExpectation(words, place)) } catch {
                problems.error(place, error.description)
            }
        }
        if expectations.isEmpty, !problems.hasErrors {
            problems.error(file, "holds no expectation; one is as in: never source:upstream")
        }
        return (expectations, problems)
    }

    /// For `--fail-on-upstream`: nothing is answered from there, nor was asked for there in vain.
    static let neverUpstream = ["source:upstream,stale", "source:none rcode:SERVFAIL"].map { filter in
        LookupExpectation(
            text: "never \(filter)", place: Place(path: "--fail-on-upstream"), count: .never, filter: filter)
    }

    /// The verdict on lookups that were not kept: nobody knows what they were, so nothing is proved.
    static func missing(_ reason: String) -> Verdict {
        Verdict(
            expectation: LookupExpectation(
                text: "every lookup is kept", place: Place(path: "history"), count: .never, filter: ""),
            count: 0, failure: "\(reason): raise history.max-rate, or look at the disk", broken: [])
    }

    private init(text: String, place: Place, count: Count, filter: String) {
        (self.text, self.place, self.count, self.filter) = (text, place, count, filter)
    }

    struct Problem: Error, CustomStringConvertible {
        let description: String
        init(_ description: String) { self.description = description }
    }

    private init(_ words: [String], _ place: Place) throws(Problem) {
        let taken: Int
        (count, taken) = try Self.count(words)
        filter = words.dropFirst(taken).joined(separator: " ")
        text = words.joined(separator: " ")
        self.place = place
        do { _ = try LookupFilter(words: filter) } catch { throw Problem(error.description) }
        if count == .always, question == filter {
            throw Problem("'always' says how something is answered: name a source or an rcode, as source:hosts")
        }
    }

    private static func count(_ words: [String]) throws(Problem) -> (Count, Int) {
        let first = words[0].lowercased()
        let second = words.count > 1 ? words[1].lowercased() : ""
        switch first {
        case "always": return (.always, 1)
        case "never": return (.never, 1)
        case "at":
            guard words.count > 2, let number = number(words[2]), ["most", "least"].contains(second) else { break }
            return (second == "most" ? .atMost(number) : .atLeast(number), 3)
        case "within":
            guard let time = microseconds(second) else {
                throw Problem("'within' is followed by a time, as in: within 50ms name:acme.org")
            }
            return (.within(time), 2)
        default:
            guard let number = number(first) else { break }
            guard ["time", "times"].contains(second) else {
                throw Problem("a number is followed by 'times', as in: \(number) times name:acme.org")
            }
            return (.exactly(number), 2)
        }
        throw Problem(
            "\(quoted(words[0].utf8)) is no count; there are always, never, N times, at most N, at least N and within TIME"
        )
    }

    private static func number(_ text: String) -> Int? {
        guard text.utf8.allSatisfy(ASCII.isDigit), let number = Int(text), number <= mostCount else { return nil }
        return number
    }

    private static func microseconds(_ text: String) -> UInt64? {
        for (unit, factor) in [("us", UInt64(1)), ("ms", 1_000), ("s", 1_000_000)] where text.hasSuffix(unit) {
            guard let number = number(String(text.dropLast(unit.count))), number > 0 else { return nil }
            return UInt64(number) * factor
        }
        return nil
    }

    // MARK: Judging

    /// The part of the filter that is about what was asked, by whom.
    private var question: String {
        filter.split(separator: " ").filter {
            !$0.lowercased().hasPrefix("source:") && !$0.lowercased().hasPrefix("rcode:")
        }
        .joined(separator: " ")
    }

    /// The filters whose lookups `judge` needs.
    var filters: [String] { count == .always ? [question, filter] : [filter] }

    /// - Parameter lookups: those of each filter in `filters`.
    func judge(_ lookups: [[Lookup]]) -> Verdict {
        let found = lookups.first ?? []
        func verdict(_ failure: String?, _ broken: [Lookup] = []) -> Verdict {
            Verdict(expectation: self, count: found.count, failure: failure, broken: failure == nil ? [] : broken)
        }
        switch count {
        case .always:
            // Not by their numbers: each daemon begins with 1.
            let right = Set(lookups.last ?? [])
            let wrong = found.filter { !right.contains($0) }
            if found.isEmpty { return verdict("there was no such lookup") }
            return verdict(wrong.isEmpty ? nil : "\(wrong.count) of \(found.count) were answered otherwise", wrong)
        case .never: return verdict(found.isEmpty ? nil : "there were \(found.count)", found)
        case .exactly(let number): return verdict(found.count == number ? nil : "there were \(found.count)", found)
        case .atMost(let number): return verdict(found.count <= number ? nil : "there were \(found.count)", found)
        case .atLeast(let number): return verdict(found.count >= number ? nil : "there were \(found.count)", found)
        case .within(let most):
            let late = found.filter { $0.microseconds > most }
            if found.isEmpty { return verdict("there was no such lookup") }
            return verdict(late.isEmpty ? nil : "\(late.count) of \(found.count) took longer", late)
        }
    }
}

extension LookupExpectation.Lookup: CustomStringConvertible {
    /// `acme.org. A: upstream 10.0.0.1:53/udp NOERROR in 11.2 ms, asked by 127.0.0.1:4711`
    var description: String {
        let asked = name.map { "\($0) \(type ?? "")" } ?? "an unreadable message"
        let by = [source, rule ?? upstream, rcode].compactMap { $0 }.joined(separator: " ")
        return "\(asked): \(by) in \(microseconds / 1000).\(microseconds / 100 % 10) ms, asked by \(client) at \(time)"
    }
}
