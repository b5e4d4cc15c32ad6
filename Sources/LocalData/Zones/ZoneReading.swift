internal import DNSWire
internal import LDNS
import Platform

/// A bounded list of problems: those beyond the limit are only counted.
struct DiagnosticList {
    let limit: Int
    private(set) var listed: [Diagnostic] = []
    private var warnings = 0
    private(set) var unlistedErrors = 0
    private(set) var unlistedWarnings = 0

    init(limit: Int) { self.limit = limit }

    /// Warnings may use half of the list, so that there is always room for errors.
    mutating func add(_ diagnostic: Diagnostic) {
        let isError = diagnostic.severity == .error
        if listed.count < limit, isError || warnings < limit / 2 {
            listed.append(diagnostic)
            if !isError { warnings += 1 }
        } else if isError {
            unlistedErrors += 1
        } else {
            unlistedWarnings += 1
        }
    }

    /// In file order, with a final line that counts the unlisted ones.
    func sorted() -> [Diagnostic] {
        var result = listed.sorted { ($0.place.file, $0.place.line) < ($1.place.file, $1.place.line) }
        if unlistedErrors + unlistedWarnings > 0 {
            result.append(
                Diagnostic(
                    result.last.map { Place(file: $0.place.file, line: 0) } ?? .nowhere,
                    unlistedErrors > 0 ? .error : .warning,
                    "\(unlistedErrors + unlistedWarnings) more problems, \(unlistedErrors) of them errors"))
        }
        return result
    }
}

/// One reading of a master file and its includes: the state carried from entry to entry.
struct ZoneReading: ~Copyable {
    let limits: ZoneReader.Limits
    private(set) var records = ZoneRecords()
    var diagnostics: DiagnosticList
    private(set) var files: [String] = []

    /// The wire form that completes relative names; empty if there is none.
    private(set) var origin: [UInt8]
    /// `$TTL`, or the minimum of an SOA without a TTL.
    private var defaultTTL: UInt32?
    /// The last explicit TTL (RFC 1035 5.1), used if there is no `$TTL`.
    private var lastTTL: UInt32?
    /// 0 until a record has had an owner name.
    private var ownerLength = 0
    /// The last owner name was unreadable: entries that inherit it are skipped without another message.
    private var isOwnerUnreadable = false

    private var openFiles: [FileText.Identity] = []
    private var includes = 0
    private var bytesRead = 0
    var generated = 0
    /// Set while lines come from `$GENERATE`; `isRepeating` after the first, so that only that one gets warnings.
    private var isGenerating = false
    private var isRepeating = false

    // Lent to the tokenizer and the parser of the current entry; freed in deinit.
    private let tokenStorage = UnsafeMutablePointer<ZoneToken>.allocate(capacity: ZoneTokenizer.maximumTokens + 1)
    private let owner = UnsafeMutablePointer<UInt8>.allocate(capacity: Name.maximumLength)
    private let rdata = UnsafeMutablePointer<UInt8>.allocate(capacity: RecordDataParser.maximumLength + 1)

    init(name: Name?, limits: ZoneReader.Limits) {
        self.limits = limits
        diagnostics = DiagnosticList(limit: limits.diagnostics)
        origin = name?.wire ?? []
    }

    deinit {
        tokenStorage.deallocate()
        owner.deallocate()
        rdata.deallocate()
    }

    // MARK: Files

    /// Reads `path`; `place` is the `$INCLUDE` line that names it.
    mutating func readFile(_ path: String, from place: Place? = nil) {
        files.append(path)
        let place = place ?? Place(path: path)
        let file: FileText
        do throws(FileText.Failure) {
            // Each included file has what those before it left. A pipe could not be read again.
            file = try FileText(path: path, limit: limits.bytes - bytesRead, acceptsPipes: false)
        } catch {
            return diagnostics.add(Diagnostic(place, .error, "\(quoted(path.utf8)) \(error)"))
        }
        guard !openFiles.contains(file.identity) else {
            return diagnostics.add(Diagnostic(place, .error, "\(quoted(path.utf8)) includes itself"))
        }
        bytesRead += file.bytes.count
        if records.entries.isEmpty {
            // A typical line has 30 bytes and needs about as many; growing by doubling would double the peak.
            records.reserveCapacity(bytes: file.bytes.count, entries: file.bytes.count / 32)
        }
        openFiles.append(file.identity)
        var text = file.bytes.bindMemory(to: UInt8.self)
        if text.starts(with: [0xEF, 0xBB, 0xBF]) {
            // nsd, knot and bind read it as part of the first owner name. Report it, and check the rest.
            diagnostics.add(
                Diagnostic(
                    Place(path: path, line: 1), .error, "the file starts with a byte order mark; save it without"))
            text = UnsafeBufferPointer(rebasing: text[3...])
        }
        read(text, path: path, file: Place(path: path))
        openFiles.removeLast()
    }

    private mutating func read(_ text: UnsafeBufferPointer<UInt8>, path: String, file: Place) {
        var tokenizer = ZoneTokenizer(text, storage: tokenStorage)
        defer { warnAboutCarriageReturn(tokenizer.carriageReturnLine, file) }
        while true {
            do throws(ZoneProblem) {
                guard try tokenizer.next() else { return }
                try entry(tokenizer, path: path, place: file.line(Int(tokenizer.entryLine)))
            } catch {
                let line = error.line == 0 ? tokenizer.entryLine : error.line
                diagnostics.add(Diagnostic(file.line(Int(line)), .error, error.message))
            }
        }
    }

    private mutating func warnAboutCarriageReturn(_ line: UInt32, _ file: Place) {
        guard line > 0 else { return }
        let message = "lines end with CR LF, which \(ZoneCheckers.knot.refuse); save the file with LF alone"
        diagnostics.add(Diagnostic(file.line(Int(line)), .warning, message))
    }

    /// Warns of constructs that `parser` accepted but a checker would refuse.
    private mutating func reportCheckerWarnings(_ parser: RecordDataParser, _ place: Place) {
        guard !parser.checkerWarnings.isEmpty, !isRepeating else { return }
        for warning in parser.checkerWarnings {
            let line = isGenerating ? place : place.line(Int(warning.token.line))
            diagnostics.add(Diagnostic(line, .warning, parser.bad(warning.token, warning.message).message))
        }
    }

    private mutating func entry(
        _ tokenizer: borrowing ZoneTokenizer, path: String, place: Place
    ) throws(ZoneProblem) {
        guard let first = tokenizer.tokens.first else { return }
        if !tokenizer.startsWithBlank, !first.isQuoted, tokenizer.text[Int(first.start)] == UInt8(ascii: "$") {
            return try directive(tokenizer, path: path, place: place)
        }
        try record(tokenizer, place: place)
    }

    // MARK: Directives

    func parser(_ tokenizer: borrowing ZoneTokenizer, at index: Int) -> RecordDataParser {
        RecordDataParser(
            text: tokenizer.text, tokens: tokenizer.tokens, index: index, origin: origin, output: rdata)
    }

    private mutating func directive(
        _ tokenizer: borrowing ZoneTokenizer, path: String, place: Place
    ) throws(ZoneProblem) {
        var parser = parser(tokenizer, at: 1)
        let first = tokenizer.tokens[0]
        let directive = String(decoding: parser.bytes(of: first).prefix(16), as: UTF8.self)
        let capitals = directive.uppercased()
        if capitals != directive { parser.warn(.nsd, first, "the directive is in small letters", "write \(capitals)") }
        switch capitals {
        case "$ORIGIN":
            try parser.newOrigin()
            origin = Array(parser.bytes)
        case "$TTL":
            let ttl = try parser.ttl()
            try parser.expectEnd()
            defaultTTL = ttl
        case "$INCLUDE":
            let token = try parser.next("a file name")
            try parser.unescaped(token)
            let name = String(decoding: parser.bytes, as: UTF8.self)
            guard !name.isEmpty else { throw parser.bad(token, "the file name is empty") }
            parser.truncate(to: 0)
            var inner = origin
            if !parser.isAtEnd {
                try parser.newOrigin()
                inner = Array(parser.bytes)
            }
            try include(Self.path(name, beside: path), origin: inner, place: place)
        case "$GENERATE":
            parser.warn([.nsd, .knot], first, "the directive is BIND's own", "write the records out")
            try generate(tokenizer, place: place)
        default:
            throw parser.bad(first, "this directive is unknown; known are $ORIGIN, $TTL, $INCLUDE and $GENERATE")
        }
        reportCheckerWarnings(parser, place)
    }

    /// After an included file, origin and current owner are restored; `$TTL` stays (RFC 1035 5.1).
    private mutating func include(_ path: String, origin inner: [UInt8], place: Place) throws(ZoneProblem) {
        guard openFiles.count <= limits.includeDepth else {
            throw ZoneProblem("$INCLUDE is nested deeper than \(limits.includeDepth) files")
        }
        includes += 1
        guard includes <= limits.includes else { throw ZoneProblem("more than \(limits.includes) $INCLUDE lines") }
        let outer = origin
        let outerOwner = Array(UnsafeBufferPointer(start: owner, count: ownerLength))
        origin = inner
        readFile(path, from: place)
        origin = outer
        restoreOwner(outerOwner)
    }

    private mutating func restoreOwner(_ bytes: [UInt8]) {
        for (position, byte) in bytes.enumerated() { owner[position] = byte }
        ownerLength = bytes.count
    }

    /// A relative path is relative to the folder of the file that contains it.
    private static func path(_ name: String, beside file: String) -> String {
        guard !name.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return name }
        return file[...slash] + name
    }

    /// Reads one line generated by `$GENERATE`, as if it were at `place`.
    mutating func generatedLine(_ line: [UInt8], place: Place, isFirst: Bool) throws(ZoneProblem) {
        let outerOwner = Array(UnsafeBufferPointer(start: owner, count: ownerLength))
        (isGenerating, isRepeating) = (true, !isFirst)
        defer {
            (isGenerating, isRepeating) = (false, false)
            restoreOwner(outerOwner)
        }
        try line.withUnsafeBufferPointer { text throws(ZoneProblem) in
            var tokenizer = ZoneTokenizer(text, storage: tokenStorage)
            guard try tokenizer.next() else { return }
            try record(tokenizer, place: place)
        }
    }

    /// Reads one record that stands alone; nil if the line is blank.
    mutating func readLine(_ line: [UInt8], place: Place) throws(ZoneProblem) -> ZoneRecords.Entry? {
        lastTTL = nil
        records = ZoneRecords()
        try line.withUnsafeBufferPointer { text throws(ZoneProblem) in
            var tokenizer = ZoneTokenizer(text, storage: tokenStorage)
            guard try tokenizer.next() else { return }
            try record(tokenizer, place: place)
        }
        return records.entries.last
    }

    // MARK: Records

    private mutating func record(_ tokenizer: borrowing ZoneTokenizer, place: Place) throws(ZoneProblem) {
        var parser = parser(tokenizer, at: 0)
        if tokenizer.startsWithBlank {
            guard !isOwnerUnreadable else { return }
            guard ownerLength > 0 else { throw ZoneProblem("the first record has no owner name") }
        } else {
            isOwnerUnreadable = true
            let token = try parser.next("an owner name")
            try parser.name(token)
            isOwnerUnreadable = false
            if token.isQuoted { parser.warn([.nsd, .knot], token, "the owner name is in quotes", "write it without") }
            if tokenizer.startsWithParenthesis {
                parser.warn(.knot, token, "a parenthesis precedes the owner name", "put it after the name")
            }
            ownerLength = parser.length
            owner.update(from: rdata, count: ownerLength)
            parser.truncate(to: 0)
        }
        let stated = try ttlAndClass(&parser)
        let typeToken = try parser.next("a record type")
        let type = try parser.type(of: typeToken)
        guard !type.isMeta else { throw parser.bad(typeToken, "a zone can't hold records of this type") }
        try recordData(&parser, type: type, typeToken)

        if let stated { lastTTL = stated }
        var ttl = stated ?? defaultTTL ?? lastTTL
        if ttl == nil, type == .soa {
            // As in named, the minimum serves as `$TTL`.
            let minimum = parser.bytes.suffix(4).reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
            ttl = minimum & 0x8000_0000 == 0 ? minimum : 0
            defaultTTL = ttl
        }
        guard let ttl else { throw ZoneProblem("the record has no TTL; start the file with a line such as '$TTL 1h'") }
        let isKept = records.append(
            owner: UnsafeBufferPointer(start: owner, count: ownerLength), type: type, ttl: ttl, rdata: parser.bytes,
            place: place)
        guard isKept else { throw ZoneProblem("the zone is larger than 4 GiB") }
        reportCheckerWarnings(parser, place)
    }

    /// `[TTL] [class]` in either order; the class must be IN.
    private func ttlAndClass(_ parser: inout RecordDataParser) throws(ZoneProblem) -> UInt32? {
        var ttl: UInt32?
        var hasClass = false
        while !parser.isAtEnd {
            let token = parser.tokens[parser.index]
            let bytes = parser.bytes(of: token)
            guard !token.isQuoted, let first = bytes.first else { break }
            if ttl == nil, ASCII.isDigit(first) {
                ttl = try parser.ttl()
            } else if !hasClass, let isIN = Self.isClassIN(bytes) {
                guard isIN else { throw parser.bad(token, "only class IN is served") }
                hasClass = true
                parser.index += 1
                if bytes.count > 2 { parser.warn(.knot, token, "the class has this name", "write IN") }
            } else {
                break
            }
        }
        return ttl
    }

    /// Nil if `bytes` name no class.
    private static func isClassIN(_ bytes: UnsafeBufferPointer<UInt8>) -> Bool? {
        if bytes.count == 2, bytes[0] & 0xDF == UInt8(ascii: "I"), bytes[1] & 0xDF == UInt8(ascii: "N") { return true }
        switch bytes[0] & 0xDF {
        // ANY and NONE are classes only in messages, and ANY is also a type.
        case UInt8(ascii: "C"), UInt8(ascii: "H"):
            guard bytes.count <= 10 else { return nil }
            return RecordClass(mnemonic: String(decoding: bytes, as: UTF8.self)).map { $0 == .in }
        default: return nil
        }
    }

    private func recordData(
        _ parser: inout RecordDataParser, type: RecordType, _ typeToken: ZoneToken
    ) throws(ZoneProblem) {
        parser.recordType = type
        let shape = RecordDataShape.of(type)
        let isNumbered = TypeMnemonic.isNumbered(parser.bytes(of: typeToken))
        let isGeneric = parser.isAtGeneric
        // No checker knows this type by number yet, so they accept any bytes.
        let isOpaque = isNumbered && ZoneCheckers.refusingText(afterNumberOf: type) == .all
        if isGeneric {
            parser.index += 1
            try parser.generic()
        } else if let shape {
            guard !isOpaque else {
                throw parser.bad(typeToken, "after this number, RDATA is written as \\# LENGTH HEX")
            }
            try parser.parse(shape)
        } else {
            try parser.put(fromLibrary(&parser, type: type, typeToken))
        }
        if let shape, isGeneric || shape.needsCheck, let problem = RecordDataCheck.problem(parser.bytes, shape) {
            guard isOpaque else { throw parser.bad(typeToken, problem) }
            parser.warn(typeToken, problem)
        }
        parser.warnAboutRecord(typeToken, isNumbered: isNumbered, isGeneric: isGeneric)
    }

    /// Reads types without a shape here with libldns.
    private func fromLibrary(
        _ parser: inout RecordDataParser, type: RecordType, _ typeToken: ZoneToken
    ) throws(ZoneProblem) -> [UInt8] {
        guard LDNS.ZoneEntry.knows(type) else {
            throw parser.bad(typeToken, "records of this type are written as \\# LENGTH HEX")
        }
        do throws(LDNS.LibraryError) {
            return try LDNS.ZoneEntry.rdata(type: type, text: parser.restAsText(), origin: origin)
        } catch {
            throw parser.bad(typeToken, "libldns can't read this record: \(error)")
        }
    }

    consuming func finish() -> (records: ZoneRecords, diagnostics: DiagnosticList, files: [String]) {
        (records, diagnostics, files)
    }
}
