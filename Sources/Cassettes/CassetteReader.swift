import DNSWire
import LocalData
import Lookup
package import Platform
import Upstream

/// Reads cassettes, strictly: what is wrong is told with its line, and nothing is guessed.
///
/// Each message goes through the same walk and scrubber as one from the network.
package struct CassetteReader: ~Copyable {
    private let file: Place
    private var tape = CassetteTape()
    private var diagnostics = Diagnostics()
    private var records = RecordLineReader()
    private var scrubber = AnswerScrubber()
    private var line = 0
    private var key: FetchKey?
    /// Where each question stands.
    private var questions: [FetchKey: Int] = [:]
    private var draft: Draft?
    private var hasEnded = false
    /// The line that the next ones belong to can't be used, which is told.
    private var isSkipping = false

    /// A reply whose lines are being read.
    private struct Draft {
        var line: Int
        var code: ResponseCode?
        var microseconds: UInt32
        var transport = UpstreamTransport.udp
        var times = 1
        /// The lines of the message, as written.
        var lines: [String] = []
        var flags = Header.Flags()
        var answers: [[UInt8]] = []
        var authority: [[UInt8]] = []
        var error: [UInt8]?
        /// The records, to be read if they count: section, text, line.
        var records: [(isAnswer: Bool, text: [UInt8], line: Int)] = []
        var wire: [UInt8]?
        var digest: String?
    }

    /// Reads a file; nil if it can't be used, for reasons in `diagnostics`.
    package static func read(path: String) -> (tape: CassetteTape?, diagnostics: Diagnostics) {
        let place = Place(path: path)
        do throws(FileText.Failure) {
            let file = try FileText(path: path, limit: CassetteTape.largestFile, acceptsPipes: false)
            return CassetteReader.read(file.bytes, of: place)
        } catch {
            var diagnostics = Diagnostics()
            diagnostics.error(place, "\(error); record a cassette with --record")
            return (nil, diagnostics)
        }
    }

    package static func read(
        _ text: UnsafeRawBufferPointer, of file: Place
    ) -> (tape: CassetteTape?, diagnostics: Diagnostics) {
        var reader = CassetteReader(file)
        return reader.read(text)
    }

    private init(_ file: Place) { self.file = file }

    private mutating func read(
        _ text: UnsafeRawBufferPointer
    ) -> (tape: CassetteTape?, diagnostics: Diagnostics) {
        var rest = text.starts(with: [0xEF, 0xBB, 0xBF]) ? text.dropFirst(3) : text[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: CassetteText.newline) ?? rest.endIndex
            line += 1
            let whole = rest[rest.startIndex..<end]
            rest = end < rest.endIndex ? rest[(end + 1)...] : rest[end...]
            if line == 1 {
                guard isHead(whole) else { return (nil, diagnostics) }
                continue
            }
            take(Self.trimmed(whole))
            // Of garbage, the first lines tell enough.
            if diagnostics.list.count >= 100 { return (nil, diagnostics) }
        }
        if text.isEmpty {
            line = 1
            _ = isHead(text[...])
        } else if !hasEnded {
            finish()
            problem(
                "the cassette is cut off: its last line is not '\(CassetteText.end)'; record it anew, or add that line "
                    + "if nothing is missing")
        }
        return (diagnostics.hasErrors ? nil : tape, diagnostics)
    }

    private mutating func isHead(_ text: Slice<UnsafeRawBufferPointer>) -> Bool {
        let bytes = Self.trimmed(text)
        guard bytes.starts(with: CassetteText.mark.utf8) else {
            problem(
                "this is no cassette: one starts with the line '\(CassetteText.mark)\(CassetteText.version)'; name "
                    + "another file, or record one with --record")
            return false
        }
        let version = bytes.dropFirst(CassetteText.mark.utf8.count)
        guard version.elementsEqual("\(CassetteText.version)".utf8) else {
            problem(
                "the cassette has version \(quoted(version)), and this stub53 reads version \(CassetteText.version); "
                    + "record it anew, or use the stub53 that it was made with")
            return false
        }
        return true
    }

    private static func trimmed(_ text: Slice<UnsafeRawBufferPointer>) -> [UInt8] {
        func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D }
        var text = text.drop(while: isBlank)
        while let last = text.last, isBlank(last) { text = text.dropLast() }
        return Array(text)
    }

    private mutating func problem(_ message: String, line: Int? = nil) {
        diagnostics.error(file.line(line ?? self.line), message)
    }

    // MARK: Lines

    private mutating func take(_ bytes: [UInt8]) {
        guard !bytes.isEmpty, bytes[0] != UInt8(ascii: "#") else { return }
        guard !hasEnded else { return problem("nothing may follow '\(CassetteText.end)'; move that line to the end") }
        // No line has anything to write beyond ASCII; escapes stand for other bytes.
        guard bytes.allSatisfy({ (0x20...0x7E).contains($0) || $0 == 0x09 }) else {
            return problem("\(quoted(bytes)) has bytes that are not printable ASCII; write them as \\DDD")
        }
        let word = String(decoding: bytes.prefix { $0 != 0x20 && $0 != 0x09 }, as: UTF8.self)
        let rest = Array(bytes.dropFirst(word.utf8.count).drop { $0 == 0x20 || $0 == 0x09 })
        switch word {
        case CassetteText.end where rest.isEmpty:
            finish()
            hasEnded = true
        case "question":
            finish()
            key = question(rest)
            isSkipping = key == nil
        case "reply":
            finish()
            if !isSkipping || key != nil {
                draft = reply(rest)
                isSkipping = draft == nil
            }
        case "flags", "answer", "authority", "ede", "wire", "digest":
            guard draft != nil else {
                if !isSkipping { problem("'\(word)' belongs below a line 'reply ...'") }
                return
            }
            part(word, rest, bytes)
        default:
            problem(
                "\(quoted(word.utf8)) is unknown; a line starts with question, reply, flags, answer, authority, ede, wire, "
                    + "digest or \(CassetteText.end)")
        }
    }

    /// `NAME TYPE [do] [cd]`.
    private mutating func question(_ text: [UInt8]) -> FetchKey? {
        let words = Self.words(text)
        guard words.count >= 2, let name = Name(words[0]), let type = RecordType(mnemonic: words[1]),
            words[2...].allSatisfy({ $0 == "do" || $0 == "cd" }), Set(words[2...]).count == words.count - 2
        else {
            problem("\(quoted(text)) is no question; one is NAME TYPE [do] [cd], as acme.org. A")
            return nil
        }
        let key = FetchKey(
            Name(uncheckedWire: name.canonicalWire),
            Question(type: type, dnssecOK: words.contains("do"), checkingDisabled: words.contains("cd")))
        if let first = questions[key] {
            problem("this question stands at line \(first) already; put its replies there")
            return nil
        }
        questions[key] = line
        return key
    }

    /// `NUMBER RCODE TIME TRANSPORT [times N]`, or `NUMBER silence TIME [times N]`. The number is for readers.
    private mutating func reply(_ text: [UInt8]) -> Draft? {
        guard key != nil else {
            problem("'reply' belongs below a line 'question NAME TYPE'")
            return nil
        }
        var words = Self.words(text)
        var times = 1
        if words.count > 3, words[words.count - 2] == "times" {
            times = Int(words[words.count - 1]) ?? 0
            words.removeLast(2)
        }
        let isSilence = words.count == 3 && words[1] == CassetteText.silence
        guard isSilence || words.count == 4, Int(words[0]) != nil, let time = Self.microseconds(words[2]),
            (1...1_000_000_000).contains(times)
        else {
            problem(
                "\(quoted(text)) is no reply; one is NUMBER RCODE TIME TRANSPORT [times N], as 1 NOERROR 11.2ms udp, or "
                    + "NUMBER \(CassetteText.silence) TIME")
            return nil
        }
        var draft = Draft(line: line, microseconds: time)
        draft.times = times
        if !isSilence {
            guard let code = ResponseCode(mnemonic: words[1]) else {
                problem("\(quoted(words[1].utf8)) is no RCODE; one is NOERROR, NXDOMAIN, SERVFAIL or another")
                return nil
            }
            guard let transport = UpstreamTransport.allCases.first(where: { $0.description == words[3] }) else {
                problem("\(quoted(words[3].utf8)) is no transport; one is udp, tcp, dot or doh")
                return nil
            }
            draft.code = code
            draft.transport = transport
        }
        return draft
    }

    /// One line of a message; `whole` is the line with its first word.
    private mutating func part(_ word: String, _ text: [UInt8], _ whole: [UInt8]) {
        guard !(word == "ede" && draft?.error != nil), !(word == "wire" && draft?.wire != nil),
            !(word == "digest" && draft?.digest != nil)
        else { return problem("the reply has a line '\(word)' already; remove one") }
        switch word {
        case "wire":
            guard let wire = Base64.bytes(of: text), !wire.isEmpty, wire.count <= 65_535 else {
                return problem("this is no message in base64; remove the line if those above say all")
            }
            draft?.wire = wire
            return
        case "digest":
            draft?.digest = String(decoding: text, as: UTF8.self)
            return
        case "flags":
            for word in Self.words(text) {
                guard let flag = CassetteText.flagWords.first(where: { $0.word == word })?.flag else {
                    let known = CassetteText.flagWords.map(\.word).joined(separator: ", ")
                    return problem("\(quoted(word.utf8)) is no flag; known are \(known)")
                }
                draft?.flags.insert(flag)
            }
        case "ede":
            guard let error = Self.error(text) else {
                return problem("\(quoted(text)) is no extended error; one is CODE [TEXT], as 22 no server answers")
            }
            draft?.error = error
        default: draft?.records.append((word == "answer", text, line))
        }
        draft?.lines.append(String(decoding: whole, as: UTF8.self))
    }

    private static func words(_ text: [UInt8]) -> [String] {
        text.split { $0 == 0x20 || $0 == 0x09 }.map { String(decoding: $0, as: UTF8.self) }
    }

    /// `11.2ms`.
    private static func microseconds(_ text: String) -> UInt32? {
        guard text.hasSuffix("ms") else { return nil }
        let parts = text.dropLast(2).split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count <= 2, let whole = UInt32(parts[0]), whole <= 3_600_000,
            parts[0].utf8.allSatisfy(ASCII.isDigit)
        else { return nil }
        guard parts.count == 2 else { return whole * 1000 }
        guard parts[1].utf8.count == 1, let tenth = UInt32(parts[1]) else { return nil }
        return whole * 1000 + tenth * 100
    }

    /// `CODE [TEXT]` as the bytes of the option.
    private static func error(_ text: [UInt8]) -> [UInt8]? {
        let code = text.prefix { ASCII.isDigit($0) }
        guard let number = UInt16(String(decoding: code, as: UTF8.self)) else { return nil }
        var rest = text[code.endIndex...]
        guard rest.isEmpty || rest.removeFirst() == 0x20 else { return nil }
        var bytes = [UInt8(number >> 8), UInt8(truncatingIfNeeded: number)]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "\\") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(3)
            guard digits.count == 3, digits.allSatisfy(ASCII.isDigit),
                let value = UInt8(String(decoding: digits, as: UTF8.self))
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(3)
        }
        return bytes
    }

    // MARK: Replies

    /// Ends the reply whose lines have been read.
    private mutating func finish() {
        guard let draft = draft.take(), let key else { return }
        var message: [UInt8] = []
        if let code = draft.code {
            guard let made = self.message(draft, code, key) else { return }
            guard isUsable(made, key) else {
                return problem(
                    "the reply is no answer to \(Name(uncheckedWire: key.name)) \(key.type) that could be given to a client; "
                        + "remove it, or write its records", line: draft.line)
            }
            message = made
        } else if !draft.lines.isEmpty || draft.wire != nil {
            return problem("a silence has no message; remove the lines below it", line: draft.line)
        }
        var reply = CassetteReply(message: message, microseconds: draft.microseconds, transport: draft.transport)
        reply.times = draft.times
        reply.line = draft.line
        if !tape.take(reply, for: key) {
            problem("the cassette holds more than \(CassetteTape.maximumSize >> 20) MiB of messages; split it")
        }
    }

    /// The wire form, unless the lines say something else.
    private mutating func message(_ draft: Draft, _ code: ResponseCode, _ key: FetchKey) -> [UInt8]? {
        if let wire = draft.wire {
            let isUnedited =
                draft.digest.map { $0 == CassetteText.digest(code.description, draft.lines) } ?? draft.lines.isEmpty
            if isUnedited {
                // It may have been edited itself.
                return wire.withUnsafeBytes { RecordedMessage.normalize($0, key) } ?? wire
            }
        }
        var sections: (answers: [[UInt8]], authority: [[UInt8]]) = ([], [])
        var isWhole = true
        for record in draft.records {
            guard let read = records.read(record.text, at: file.line(record.line), &diagnostics) else {
                isWhole = false
                continue
            }
            let bytes = RecordedMessage.record(owner: read.owner, type: read.type, ttl: read.ttl, rdata: read.rdata)
            if record.isAnswer { sections.answers.append(bytes) } else { sections.authority.append(bytes) }
        }
        guard isWhole else { return nil }
        let message = RecordedMessage.make(
            key, code, draft.flags, answers: sections.answers, authority: sections.authority, error: draft.error)
        if message == nil { problem("the message has more than 65,535 bytes; remove records", line: draft.line) }
        return message
    }

    private mutating func isUsable(_ message: [UInt8], _ key: FetchKey) -> Bool {
        message.withUnsafeBytes { bytes in
            guard let summary = MessageReader.walk(bytes), RecordedMessage.isAnswer(bytes, summary, key) else {
                return false
            }
            return (try? scrubber.check(bytes, summary, for: key, ttls: UpstreamAnswer.TTLs())) != nil
        }
    }
}
