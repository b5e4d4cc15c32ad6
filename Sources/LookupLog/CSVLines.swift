import DNSWire
import Lookup
import Platform

/// A lookup as one CSV line, for spreadsheets and scripts.
///
/// A cell that a spreadsheet would read as a formula gets a leading apostrophe, because anyone can choose names.
/// - RFC: 4180.
struct CSVLines: ~Copyable {
    /// The first line: the column names.
    static let header: StaticString = """
        time,id,client,process,pid,transport,name,type,class,flags,source,rule,rcode,answers,upstream,upstream_us,\
        duration_us,ede_code,ede_text,answer_kind,private,handshake_us,faults,view\r\n
        """

    private var clock = ClockText()
    private var places = PlaceTexts(.plain)
    private var processes = ProcessTexts(.plain)
    private var upstreams = UpstreamTexts([], .plain)
    /// The cell being written.
    private var cell = LineBuffer(capacity: 1024)

    mutating func setUpstreams(_ names: [String]) { upstreams = UpstreamTexts(names, .plain) }

    mutating func append(_ record: LookupRecord, id: UInt64, to line: inout LineBuffer) {
        let message = record.message
        clock.append(record.time, to: &line)
        line.append(UInt8(ascii: ","))
        line.append(decimal: id)
        cell.append(record.client)
        endCell(&line)
        processes.append(record, to: &cell)
        endCell(&line)
        if let process = record.process { cell.append(decimal: UInt32(clamping: process.pid)) }
        endCell(&line)
        cell.append(record.transport.word)
        endCell(&line)
        if record.hasQuestion { cell.append(nameIn: message, at: Header.length, .plain) }
        endCell(&line)
        if record.hasQuestion { cell.append(record.type) }
        endCell(&line)
        if record.hasQuestion { cell.append(record.recordClass) }
        endCell(&line)
        var isFirst = true
        record.forEachFlag { word in
            if !isFirst { cell.append(UInt8(ascii: " ")) }
            cell.append(word)
            isFirst = false
        }
        endCell(&line)
        cell.append(record.source.word)
        endCell(&line)
        if !record.place.isNowhere { places.append(record.place, to: &cell) }
        endCell(&line)
        if let code = record.responseCode { cell.append(code) }
        endCell(&line)
        appendAnswers(record)
        endCell(&line)
        _ = upstreams.append(record, to: &cell)
        endCell(&line)
        if record.upstream != nil { cell.append(decimal: record.upstreamMicroseconds) }
        endCell(&line)
        cell.append(decimal: record.durationMicroseconds)
        endCell(&line)
        if let error = record.extendedError { cell.append(decimal: error.rawValue) }
        endCell(&line)
        if let error = record.extendedError {
            if record.extendedText.isEmpty {
                cell.append(text: error.description, .plain)
            } else {
                cell.append(text: record.extendedText, .plain)
            }
        }
        endCell(&line)
        if let word = record.answerKind.word { cell.append(word) }
        endCell(&line)
        if let word = record.privateAnswer.word { cell.append(word) }
        endCell(&line)
        if let handshake = record.upstreamSetup.handshakeMicroseconds { cell.append(decimal: handshake) }
        endCell(&line)
        cell.append(faultsOf: record, &places)
        endCell(&line)
        cell.append(text: record.view, .plain)
        endCell(&line)
        line.append("\r\n")
    }

    /// `OWNER TTL CLASS TYPE RDATA` for each, separated by `; `.
    private mutating func appendAnswers(_ record: LookupRecord) {
        var cursor = record.answersStart
        for index in 0..<record.answers {
            guard let answer = record.nextAnswer(&cursor) else { return }
            if index > 0 { cell.append("; ") }
            cell.append(answer, in: record.message, .plain)
        }
    }

    /// Moves the cell into the line, after a comma, with quotes if needed.
    private mutating func endCell(_ line: inout LineBuffer) {
        line.append(UInt8(ascii: ","))
        let bytes = cell.bytes
        defer { cell.cut(to: 0) }
        let quote = UInt8(ascii: "\"")
        guard let first = bytes.first else { return }
        let isFormula =
            first == UInt8(ascii: "=") || first == UInt8(ascii: "+") || first == UInt8(ascii: "-")
            || first == UInt8(ascii: "@")
        // All texts escape control characters, so no cell contains a line end.
        let needsQuotes = bytes.contains { $0 == quote || $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: ";") }
        if needsQuotes { line.append(quote) }
        if isFormula { line.append(UInt8(ascii: "'")) }
        if needsQuotes {
            for byte in bytes {
                if byte == quote { line.append(quote) }
                line.append(byte)
            }
            line.append(quote)
        } else {
            line.append(bytes)
        }
    }
}
