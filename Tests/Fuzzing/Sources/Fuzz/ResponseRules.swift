import DNSWire
import LDNS

/// Rules for every message that we write.
enum ResponseRules {
    /// One record of a message, with uncompressed names.
    struct Record: Hashable {
        var owner: [UInt8]
        var type: RecordType
        var recordClass: RecordClass
        var ttl: UInt32
        var rdata: [UInt8]

        var ownerName: Name { Name(uncheckedWire: owner.map(ASCII.lowercased)) }
    }

    struct Sections {
        var summary: MessageReader.Summary
        var answers: [Record] = []
        var authority: [Record] = []
        var additional: [Record] = []
    }

    /// Checks that a message passes our strict walk and that libldns parses it alike.
    static func sections(_ message: UnsafeRawBufferPointer, _ what: @autoclosure () -> String) -> Sections {
        guard let summary = MessageReader.walk(message), summary.isSound, summary.length == message.count else {
            broken("\(what()): no message: \(hex(message))")
        }
        var sections = Sections(summary: summary)
        var cursor = summary.records
        for index in 0..<(summary.answers + summary.authority + summary.additional) {
            guard let record = MessageReader.record(message, at: cursor) else { broken("\(what()): cut short") }
            cursor = record.end
            var read = Record(
                owner: [], type: record.type, recordClass: record.recordClass, ttl: record.ttl, rdata: [])
            expect(
                MessageReader.expandName(message, at: record.start, into: &read.owner)
                    && MessageReader.expandRDATA(message, record, into: &read.rdata),
                "\(what()): a record that can't be read: \(hex(message))")
            if index < summary.answers {
                sections.answers.append(read)
            } else if index < summary.answers + summary.authority {
                sections.authority.append(read)
            } else {
                sections.additional.append(read)
            }
        }
        return sections
    }

    /// - RFC: 1035 4.1.1 (header), 4.2.1 (512 bytes); 6891 6.1.1 (OPT answers OPT), 6.1.4 (flags), 6.2.5 (size).
    static func check(_ response: UnsafeRawBufferPointer, to message: UnsafeRawBufferPointer, isDatagram: Bool) {
        func holds(_ holds: Bool, _ rule: String, line: UInt = #line) {
            expect(holds, "\(rule): \(hex(message)) got \(hex(response))", line: line)
        }
        let summary = sections(response, "a response to \(hex(message))").summary
        holds(PacketCheck.accepts(response), "libldns reads it")
        let flags = Header.Flags(rawValue: UInt16(response[2]) << 8 | UInt16(response[3]))
        let asked = Header.Flags(rawValue: UInt16(message[2]) << 8 | UInt16(message[3]))
        holds(response[0] == message[0] && response[1] == message[1], "the ID is the query's")
        holds(flags.contains(.response) && flags.opcode == asked.opcode, "QR=1, and the opcode is the query's")
        holds(flags.rawValue & 0x40 == 0, "Z=0")
        let opt = summary.opt
        holds(opt.map { UInt8(truncatingIfNeeded: $0.ttl >> 16) == 0 } ?? true, "we speak version 0")
        holds(opt.map { $0.ttl & 0x7FFF == 0 } ?? true, "no EDNS flag but DO")
        if summary.questionEnd > Header.length {
            let question = Header.length..<summary.questionEnd
            holds(
                message.count >= question.upperBound && response[question].elementsEqual(message[question]),
                "the question is echoed")
        }
        if asked.opcode == .query {
            holds(flags.contains(.recursionDesired) == asked.contains(.recursionDesired), "RD is the query's")
        } else {
            holds(flags.rawValue & 0x07F0 == 0, "the flags are QUERY's own")
        }

        var name = LookupName()
        var query = Query()
        let verdict = query.parse(message, name: &name)
        holds((opt != nil) == query.hasEDNS, "OPT answers OPT")
        guard isDatagram else { return }
        holds(response.count <= min(max(Int(query.payloadSize), 512), 1232), "as long as the client can take")
        if case .fail = verdict { holds(response.count <= message.count, "no error is longer than its query") }
    }
}
