import DNSWire
import Lookup
import Platform

/// A lookup as one line of JSON: a stable format that programs rely on.
struct JSONLines {
    private var clock = ClockText()
    private var places = PlaceTexts(.json)
    private var upstreams = UpstreamTexts([], .json)
    private var processes = ProcessTexts(.json)

    mutating func setUpstreams(_ names: [String]) { upstreams = UpstreamTexts(names, .json) }

    mutating func append(_ record: LookupRecord, id: UInt64, to line: inout LineBuffer) {
        let message = record.message
        let kind = record.answerKind
        appendTime(record.time, to: &line)
        line.append("\",\"id\":")
        line.append(decimal: id)
        line.append(",\"client\":\"")
        line.append(record.client)
        line.append(UInt8(ascii: "\""))
        processes.append(record, to: &line)
        line.append(",\"transport\":\"")
        line.append(record.transport.word)
        line.append("\",\"name\":\"")
        let nameStart = line.count
        if record.hasQuestion { line.append(nameIn: message, at: Header.length, .json) }
        let nameEnd = line.count
        line.append("\",\"type\":\"")
        if record.hasQuestion { line.append(record.type) }
        line.append("\",\"class\":\"")
        if record.hasQuestion { line.append(record.recordClass) }
        line.append("\",\"flags\":[")
        appendFlags(record, to: &line)
        line.append("],\"source\":\"")
        line.append(record.source.word)
        line.append("\",\"rule\":")
        appendRule(record.place, to: &line)
        line.append(",\"rcode\":")
        if let code = record.responseCode {
            line.append(UInt8(ascii: "\""))
            line.append(code)
            line.append(UInt8(ascii: "\""))
        } else {
            line.append("null")
        }
        line.append(",\"answers\":[")
        let left = appendAnswers(record, message, name: nameStart..<nameEnd, to: &line)
        line.append("],\"upstream\":")
        if !upstreams.append(record, to: &line) { line.append("null") }
        line.append(",\"duration_us\":")
        line.append(decimal: record.durationMicroseconds)
        line.append(",\"ede\":")
        if let error = record.extendedError {
            line.append("{\"code\":")
            line.append(decimal: error.rawValue)
            line.append(",\"text\":\"")
            if record.extendedText.isEmpty {
                line.append(text: error.description, .json)
            } else {
                line.append(text: record.extendedText, .json)
            }
            line.append("\"}")
        } else {
            line.append("null")
        }
        // Optional members: most lines have none of them.
        if record.upstream != nil {
            line.append(",\"upstream_us\":")
            line.append(decimal: record.upstreamMicroseconds)
        }
        if let word = record.upstreamSetup.word {
            line.append(",\"upstream_connection\":\"")
            line.append(word)
            line.append(UInt8(ascii: "\""))
        }
        if let microseconds = record.upstreamSetup.handshakeMicroseconds {
            line.append(",\"handshake_us\":")
            line.append(decimal: microseconds)
        }
        if record.hopCount > 1 { appendChain(record, message, to: &line) }
        if record.viewNumber > 0 {
            line.append(",\"view\":\"")
            line.append(text: record.view, .json)
            line.append(UInt8(ascii: "\""))
        }
        if record.faultCount > 0 { appendFaults(record, to: &line) }
        if kind != .answer, kind != .dropped, let word = kind.word {
            line.append(",\"answer_kind\":\"")
            line.append(word)
            line.append(UInt8(ascii: "\""))
        }
        if record.isMasked { line.append(",\"masked\":true") }
        if let word = record.privateAnswer.word {
            line.append(",\"private\":\"")
            line.append(word)
            line.append(UInt8(ascii: "\""))
        }
        if record.isTruncated { line.append(",\"truncated\":true") }
        if left > 0 {
            line.append(",\"answers_left\":")
            line.append(decimal: UInt32(truncatingIfNeeded: left))
        }
        line.append("}\n")
    }

    /// Appends a line with the number of lookups that have no line, and the reason if known.
    mutating func append(lost count: UInt64, time: UInt64, reason: StaticString? = nil, to line: inout LineBuffer) {
        appendTime(time, to: &line)
        line.append("\",\"lost\":")
        line.append(decimal: count)
        if let reason {
            line.append(",\"reason\":\"")
            line.append(reason)
            line.append(UInt8(ascii: "\""))
        }
        line.append("}\n")
    }

    private mutating func appendTime(_ time: UInt64, to line: inout LineBuffer) {
        line.append("{\"time\":\"")
        clock.append(time, to: &line)
    }

    private func appendFlags(_ record: LookupRecord, to line: inout LineBuffer) {
        var isFirst = true
        record.forEachFlag { word in
            line.append(isFirst ? "\"" : ",\"")
            line.append(word)
            line.append(UInt8(ascii: "\""))
            isFirst = false
        }
    }

    private mutating func appendRule(_ place: Place, to line: inout LineBuffer) {
        if place.isNowhere { return line.append("null") }
        line.append(UInt8(ascii: "\""))
        places.append(place, to: &line)
        line.append(UInt8(ascii: "\""))
    }

    /// Returns how many answers the record does not hold.
    private func appendAnswers(
        _ record: LookupRecord, _ message: UnsafeRawBufferPointer, name: Range<Int>, to line: inout LineBuffer
    ) -> Int {
        var cursor = record.answersStart
        for index in 0..<record.answers {
            guard let answer = record.nextAnswer(&cursor) else { return record.answers - index }
            line.append(index == 0 ? "\"" : ",\"")
            line.append(answer, in: message, .json)
            line.append(UInt8(ascii: "\""))
        }
        return 0
    }

    private mutating func appendFaults(_ record: LookupRecord, to line: inout LineBuffer) {
        line.append(",\"faults\":[")
        for index in 0..<record.faultCount {
            let fault = record.fault(index)
            line.append(index == 0 ? "{\"actions\":[" : ",{\"actions\":[")
            var isFirst = true
            for (action, word) in Faults.Actions.words where fault.actions.contains(action) {
                line.append(isFirst ? "\"" : ",\"")
                line.append(word)
                line.append(UInt8(ascii: "\""))
                isFirst = false
            }
            line.append("],\"rule\":")
            appendRule(fault.place, to: &line)
            line.append(UInt8(ascii: "}"))
        }
        line.append(UInt8(ascii: "]"))
    }

    private mutating func appendChain(
        _ record: LookupRecord, _ message: UnsafeRawBufferPointer, to line: inout LineBuffer
    ) {
        line.append(",\"chain\":[")
        for index in 0..<record.hopCount {
            let hop = record.hop(index)
            line.append(index == 0 ? "{\"name\":\"" : ",{\"name\":\"")
            line.append(nameIn: message, at: Int(hop.nameOffset), .json)
            line.append("\",\"source\":\"")
            line.append(hop.source.word)
            line.append("\",\"rule\":")
            appendRule(hop.place, to: &line)
            line.append(UInt8(ascii: "}"))
        }
        line.append(UInt8(ascii: "]"))
    }
}
