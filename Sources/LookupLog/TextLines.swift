import DNSWire
import Glibc
import Lookup
import Platform

/// A lookup as one line for people: aligned columns, with the reason in the middle and the duration at the end.
///
/// Columns only grow, up to a limit; a longer value shifts the rest of its own line. Nothing is wrapped.
struct TextLines {
    private let colors: Bool
    private var second: UInt64 = .max
    /// `17:00:00` of `second`, in local time.
    private var secondText: [UInt8] = []
    private var places = PlaceTexts(.plain)
    private var upstreams = UpstreamTexts([], .plain)
    private var processes = ProcessTexts(.plain)
    private var client = Column(width: 15, limit: 36)
    private var name = Column(width: 16, limit: 40)
    private var type = Column(width: 5, limit: 10)
    private var reason = Column(width: 24, limit: 44)
    private var code = Column(width: 8, limit: 10)
    private var answer = Column(width: 16, limit: 48)

    /// The most answers shown; the rest is a count.
    private static let answersShown = 3
    /// Once the answers shown have this many bytes, the rest is a count; a single longer one is cut.
    private static let answerLength = 64

    struct Column {
        var width: Int
        let limit: Int

        mutating func pad(from start: Int, _ line: inout LineBuffer) {
            width = max(width, min(line.count - start, limit))
            line.append(blanks: width - (line.count - start))
            line.append("  ")
        }
    }

    init(colors: Bool) { self.colors = colors }

    mutating func setUpstreams(_ names: [String]) { upstreams = UpstreamTexts(names, .plain) }

    mutating func append(_ record: LookupRecord, to line: inout LineBuffer) {
        let message = record.message
        appendTime(record.time, to: &line)
        var start = line.count
        line.append(record.client)
        processes.append(record, before: " ", to: &line)
        if record.viewNumber > 0 {
            line.append(" @")
            line.append(text: record.view, .plain)
        }
        client.pad(from: start, &line)
        line.append(record.transport.word)
        line.append("  ")
        start = line.count
        if record.hasQuestion { line.append(nameIn: message, at: Header.length, .plain) } else { line.append("-") }
        name.pad(from: start, &line)
        start = line.count
        if record.hasQuestion {
            line.append(record.type)
            if record.recordClass != .in {
                line.append(UInt8(ascii: " "))
                line.append(record.recordClass)
            }
        } else {
            line.append("-")
        }
        type.pad(from: start, &line)
        appendSource(record.source, to: &line)
        start = line.count
        appendReason(record, to: &line)
        reason.pad(from: start, &line)

        start = line.count
        appendCode(record, to: &line)
        code.pad(from: start, &line)
        start = line.count
        appendAnswers(record, to: &line)
        answer.pad(from: start, &line)
        Self.append(microseconds: record.durationMicroseconds, to: &line)
        line.append(UInt8(ascii: "\n"))
    }

    /// Appends a line with the number of lookups that have no line, and the reason if known.
    mutating func append(lost count: UInt64, time: UInt64, reason: StaticString? = nil, to line: inout LineBuffer) {
        appendTime(time, to: &line)
        line.append("lost ")
        line.append(decimal: count)
        line.append(count == 1 ? " lookup" : " lookups")
        if let reason {
            line.append(" (")
            line.append(reason)
            line.append(UInt8(ascii: ")"))
        }
        line.append(UInt8(ascii: "\n"))
    }

    private mutating func appendTime(_ time: UInt64, to line: inout LineBuffer) {
        let second = time / 1_000_000
        if second != self.second {
            self.second = second
            secondText = Array(CalendarTime(seconds: Int(second), .local).time.utf8)
        }
        line.append(secondText)
        line.append(UInt8(ascii: "."))
        line.append(decimal: UInt32(truncatingIfNeeded: time / 1000 % 1000), digits: 3)
        line.append("  ")
    }

    private func appendSource(_ source: SourceKind, to line: inout LineBuffer) {
        if colors {
            line.append("\u{1B}[")
            line.append(source.terminalColor)
            line.append(UInt8(ascii: "m"))
        }
        line.append(source.word)
        if colors { line.append("\u{1B}[0m") }
        line.append(blanks: SourceKind.longestWord - source.word.utf8CodeUnitCount + 2)
    }

    /// The rule, or, without one, the server and its time.
    private mutating func appendReason(_ record: LookupRecord, to line: inout LineBuffer) {
        // If a chain ends in local data, its last line decided, even if upstream was asked for earlier names.
        if record.source == .upstream || record.place.isNowhere, upstreams.append(record, to: &line) {
            line.append(UInt8(ascii: " "))
            Self.append(microseconds: record.upstreamMicroseconds, to: &line)
            guard let handshake = record.upstreamSetup.handshakeMicroseconds else { return }
            line.append(" (handshake ")
            Self.append(microseconds: handshake, to: &line)
            line.append(")")
        } else if !record.place.isNowhere {
            places.append(record.place, to: &line)
        } else {
            line.append("-")
        }
    }

    /// The response code, or NODATA where NOERROR would mislead.
    private func appendCode(_ record: LookupRecord, to line: inout LineBuffer) {
        let kind = record.answerKind
        if kind == .noData || kind == .dropped, let word = kind.word { return line.append(word) }
        if let code = record.responseCode { line.append(code) }
    }

    /// Only the data: the line has the names already.
    private mutating func appendAnswers(_ record: LookupRecord, to line: inout LineBuffer) {
        if record.isMasked { return line.append("masked") }
        let kind = record.answerKind
        if kind == .referral || kind == .transfer, let word = kind.word { line.append(word) }
        if kind == .referral { return }
        if kind == .transfer { line.append(", ") }
        let message = record.message
        let start = line.count
        var cursor = record.answersStart
        var shown = 0
        while shown < min(record.answers, Self.answersShown), line.count - start < Self.answerLength,
            let answer = record.nextAnswer(&cursor)
        {
            if shown > 0 { line.append(", ") }
            line.append(dataOf: answer, in: message, .plain)
            shown += 1
        }
        if line.count - start > Self.answerLength {
            line.cut(to: start + Self.answerLength - 3)
            line.append("...")
        }
        if record.answers > shown {
            line.append(shown > 0 ? " +" : "+")
            line.append(decimal: UInt32(truncatingIfNeeded: record.answers - shown))
            line.append(" more")
        }
        // Of a stale answer the source says as much.
        if let error = record.extendedError, record.answers == 0 || record.source != .stale {
            if record.answers > 0 { line.append(" (") }
            if record.extendedText.isEmpty {
                line.append(text: error.description, .plain)
            } else {
                line.append(text: record.extendedText, .plain)
            }
            if record.answers > 0 { line.append(")") }
        }
        if record.privateAnswer == .passed { line.append(line.count > start ? " (private)" : "(private)") }
        if record.isTruncated { line.append(line.count > start ? " (truncated)" : "(truncated)") }
        if record.faultCount > 0 {
            line.append(line.count > start ? " (" : "(")
            line.append(faultsOf: record, &places)
            line.append(")")
        }
    }

    /// `9 us`, `11.4 ms`, `5.0 s`.
    static func append(microseconds: UInt32, to line: inout LineBuffer) {
        if microseconds < 1000 {
            line.append(decimal: microseconds)
            return line.append(" us")
        }
        let isSeconds = microseconds >= 10_000_000
        let tenths = isSeconds ? microseconds / 100_000 : microseconds / 100
        line.append(decimal: tenths / 10)
        line.append(UInt8(ascii: "."))
        line.append(decimal: tenths % 10)
        line.append(isSeconds ? " s" : " ms")
    }
}
