/// Lookups as text outside of the log: for what is read back, exported, or sent to whoever watches.
public struct LookupFormatter: ~Copyable {
    public enum Form: String, Sendable, Hashable, CaseIterable { case text, json, csv }

    public let form: Form
    private var lines = LineBuffer(capacity: 16 * 1024)
    private var text: TextLines
    private var json = JSONLines()
    private var csv = CSVLines()

    /// - Parameters:
    ///   - colors: text form: a colour for the source.
    ///   - upstreams: the servers that answers come from, in the order of `LookupRecord.upstream`.
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

    /// The first line of CSV; nothing in the other forms.
    public mutating func appendHeader() {
        if form == .csv { lines.append(CSVLines.header) }
    }

    /// - Parameter id: the number that the line shows.
    public mutating func append(_ record: LookupRecord, id: UInt64) {
        switch form {
        case .text: text.append(record, to: &lines)
        case .json: json.append(record, id: id, to: &lines)
        case .csv: csv.append(record, id: id, to: &lines)
        }
    }

    /// With the number that the log gave it.
    public mutating func append(_ lookup: StoredLookup) { lookup.withRecord { append($0, id: lookup.number) } }

    /// The line that says how many lookups are missing; CSV has none.
    public mutating func append(lost count: UInt64, time: UInt64, reason: StaticString? = nil) {
        switch form {
        case .text: text.append(lost: count, time: time, reason: reason, to: &lines)
        case .json: json.append(lost: count, time: time, reason: reason, to: &lines)
        case .csv: break
        }
    }

    /// How much there is.
    public var count: Int { lines.count }

    /// Calls `body` with all that was appended since the last time.
    public mutating func take<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { lines.removeFirst(lines.count) }
        return try body(lines.bytes)
    }

    /// All that was appended since the last time.
    public mutating func take() -> [UInt8] { take { Array($0) } }
}
