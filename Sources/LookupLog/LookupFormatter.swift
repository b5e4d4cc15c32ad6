/// Formats lookups outside the log: read from the history, exported, or sent to subscribers.
public struct LookupFormatter: ~Copyable {
    public enum Form: String, Sendable, Hashable, CaseIterable { case text, json, csv }

    public let form: Form
    private var lines = LineBuffer(capacity: 16 * 1024)
    private var text: TextLines
    private var json = JSONLines()
    private var csv = CSVLines()

    /// - Parameters:
    ///   - colors: in text form, colours the source.
    ///   - upstreams: the upstream servers, in the order of `LookupRecord.upstream`.
    public init(_ form: Form, colors: Bool = false, upstreams: [String] = []) {
        self.form = form
        text = TextLines(colors: colors)
        setUpstreams(upstreams)
    }

    public mutating func setUpstreams(_ names: [String]) {
        switch form {
        case .text: text.setUpstreams(names)
        case .json: json.setUpstreams(names)
        case .csv: csv.setUpstreams(names)
        }
    }

    /// Appends the header line of CSV; nothing in other forms.
    public mutating func appendHeader() {
        if form == .csv { lines.append(CSVLines.header) }
    }

    /// - Parameter id: the number shown on the line.
    public mutating func append(_ record: LookupRecord, id: UInt64) {
        switch form {
        case .text: text.append(record, to: &lines)
        case .json: json.append(record, id: id, to: &lines)
        case .csv: csv.append(record, id: id, to: &lines)
        }
    }

    /// Appends it with the number it has in the log.
    public mutating func append(_ lookup: StoredLookup) { lookup.withRecord { append($0, id: lookup.number) } }

    /// Appends a line with the number of missing lookups; CSV has none.
    public mutating func append(lost count: UInt64, time: UInt64, reason: StaticString? = nil) {
        switch form {
        case .text: text.append(lost: count, time: time, reason: reason, to: &lines)
        case .json: json.append(lost: count, time: time, reason: reason, to: &lines)
        case .csv: break
        }
    }

    /// The number of bytes collected.
    public var count: Int { lines.count }

    /// Calls `body` with everything appended since the last time.
    public mutating func take<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { lines.removeFirst(lines.count) }
        return try body(lines.bytes)
    }

    /// Everything appended since the last time.
    public mutating func take() -> [UInt8] { take { Array($0) } }
}
