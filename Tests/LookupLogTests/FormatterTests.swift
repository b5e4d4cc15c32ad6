import DNSWire
import Lookup
import Platform
import TestSupport
import Testing

@testable import LookupLog

@Suite("Lookups as text outside the log")
struct FormatterTests {
    private func fields(_ change: (inout LookupFields) -> Void = { _ in }) -> LookupFields {
        var fields = LookupFields(client: SocketAddress(ip: "127.0.0.1", port: 54_321)!)
        fields.time = 1_795_453_200_123_456
        fields.type = .a
        fields.recordClass = .in
        fields.flags = [.recursionDesired, .authenticData]
        fields.source = .hosts
        fields.place = Place(path: "/etc/hosts", line: 12)
        fields.durationMicroseconds = 11
        let wire = Name("acme.org.")!.wire
        fields.questionLength = wire.count + 4
        fields.message = [UInt8](repeating: 0, count: Header.length) + wire + [0, 1, 0, 1]
        fields.message += [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 127, 0, 0, 1]
        fields.answers = 1
        change(&fields)
        return fields
    }

    private func line(_ form: LookupFormatter.Form, _ fields: LookupFields, upstreams: [String] = []) -> String {
        var formatter = LookupFormatter(form, upstreams: upstreams)
        formatter.append(StoredLookup(id: 1, number: 7, fields))
        return String(decoding: formatter.take(), as: UTF8.self)
    }

    @Test("JSON has the process after the client, if known")
    func process() {
        let known = fields { $0.process = ClientProcess(pid: 4711, command: "a\"b") }
        #expect(
            line(.json, known).hasPrefix(
                #"{"time":"2026-11-23T17:00:00.123456Z","id":7,"client":"127.0.0.1:54321","#
                    + #""process":{"pid":4711,"command":"a\"b"},"transport":"udp""#))
        #expect(!line(.json, fields()).contains("process"))
        #expect(line(.text, known).contains("  127.0.0.1:54321 a\"b  udp"))
    }

    @Test("A command can't break or forge a line", arguments: LookupFormatter.Form.allCases)
    func hostileCommand(_ form: LookupFormatter.Form) {
        let line = line(form, fields { $0.process = ClientProcess(pid: 1, command: "a\r\n\u{1B}[31m\u{202E},\"") })
        #expect(line.filter(\.isNewline).count == 1)
        #expect(line.unicodeScalars.dropLast(2).allSatisfy { $0.value >= 0x20 && $0.value != 0x202E })
    }

    @Test("CSV is a header and one line of cells per lookup")
    func csv() {
        var formatter = LookupFormatter(.csv, upstreams: ["192.0.2.1:53"])
        formatter.appendHeader()
        formatter.append(StoredLookup(id: 1, number: 7, fields()))
        let upstream = fields {
            $0.source = .upstream
            $0.place = .nowhere
            $0.process = ClientProcess(pid: 9, command: "dig")
            $0.upstream = 0
            $0.upstreamMicroseconds = 11_200
            $0.upstreamSetup = UpstreamSetup(microseconds: 14_320)
            $0.extendedError = .staleAnswer
            $0.extendedText = Array("old, \"very\"".utf8)
            $0.message += $0.message.suffix(16)
            $0.answers = 2
            $0.privateAnswer = .passed
        }
        formatter.append(StoredLookup(id: 2, number: 8, upstream))
        #expect(
            String(decoding: formatter.take(), as: UTF8.self) == """
                time,id,client,process,pid,transport,name,type,class,flags,source,rule,rcode,answers,upstream,\
                upstream_us,duration_us,ede_code,ede_text,answer_kind,private,handshake_us,faults,view\r
                2026-11-23T17:00:00.123456Z,7,127.0.0.1:54321,,,udp,acme.org.,A,IN,rd ad,hosts,/etc/hosts:12,NOERROR,\
                acme.org. 0 IN A 127.0.0.1,,,11,,,,,,,\r
                2026-11-23T17:00:00.123456Z,8,127.0.0.1:54321,dig,9,udp,acme.org.,A,IN,rd ad,upstream,,NOERROR,\
                "acme.org. 0 IN A 127.0.0.1; acme.org. 0 IN A 127.0.0.1",192.0.2.1:53/udp,11200,11,3,\
                "old, ""very""\",,passed,14300,,\r

                """)
    }

    @Test("No CSV cell is a formula", arguments: ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0,x"])
    func formula(_ text: String) throws {
        let name = try #require(Name("example.")?.prepending(label: Array(text.utf8)))
        let line = line(
            .csv,
            fields {
                $0.process = ClientProcess(pid: 1, command: text)
                $0.questionLength = name.wire.count + 4
                $0.message = [UInt8](repeating: 0, count: Header.length) + name.wire + [0, 1, 0, 1]
                $0.answers = 0
            })
        for start in ["=", "+", "-", "@"] {
            #expect(!line.contains("," + start) && !line.contains(",\"" + start), "\(line)")
        }
    }

    @Test("The number of missing lookups is a line, with the reason if known")
    func lost() {
        var formatter = LookupFormatter(.json)
        formatter.append(lost: 3, time: 1_795_453_200_000_000, reason: "rate")
        #expect(
            String(decoding: formatter.take(), as: UTF8.self)
                == #"{"time":"2026-11-23T17:00:00.000000Z","lost":3,"reason":"rate"}"# + "\n")
        #expect(formatter.count == 0)
    }

    @Test("With very many processes, the oldest lose their numbers, which no other gets")
    func manyProcesses() {
        var numbers = ProcessNumbers()
        let first = numbers.number(of: ClientProcess(pid: 1, command: "dig"))
        var seen: Set<UInt32> = [first]
        for pid in 2...150_000 as ClosedRange<Int32> {
            let number = numbers.number(of: ClientProcess(pid: pid, command: "c"))
            seen.insert(number)
            if numbers.at(number)?.pid != pid { Issue.record("\(pid)") }
        }
        #expect(seen.count == 150_000 && !seen.contains(0))
        #expect(numbers.at(first) == nil && numbers.at(0) == nil)
    }

    @Test("Processes from the history have separate numbers")
    func keptProcesses() {
        var fields = LookupFields(client: SocketAddress(ip: "127.0.0.1", port: 1)!)
        fields.process = ClientProcess(pid: 4, command: "kept")
        let asking = ClientProcess.number(of: ClientProcess(pid: 5, command: "asking"))
        #expect(StoredLookup(id: 1, number: 1, fields).withRecord { $0.process?.command } == "kept")
        #expect(ClientProcess.at(asking)?.command == "asking")
    }

    @Test("A slow subscriber is told of everything it missed, including losses reported in what it missed")
    func slowWatcher() async throws {
        let live = LiveLookups()
        let subscription = try #require(live.subscribe(.json) { _ in true })
        var id: UInt64 = 0
        func note() {
            id += 1
            StoredLookup(id: 1, number: id, fields()).withRecord { live.note($0, id: id) }
            live.flush()
        }
        // More than two megabytes, then still more for which there is no room.
        for _ in 0..<8000 { note() }
        live.note(lost: 5, time: 1)
        live.flush()
        note()
        var pieces = subscription.makeAsyncIterator()
        var shown: [UInt8] = []
        for _ in 0..<10 { shown += await pieces.next()?.bytes ?? [] }
        note()
        live.finish()
        while let piece = await pieces.next() { shown += piece.bytes }
        let lines = String(decoding: shown, as: UTF8.self).split(separator: "\n")
        let lookups = lines.count { $0.contains(#""id":"#) }
        let lost = lines.filter { $0.contains(#""lost":"#) }
        #expect(lines.last?.contains(#""id":8002,"#) == true)
        #expect(lookups > 1000 && lookups < 8000 && lost.count == 1)
        #expect(lost.first?.contains("\"lost\":\(8002 - lookups + 5)}") == true, "\(lookups) \(lost)")
    }
}
