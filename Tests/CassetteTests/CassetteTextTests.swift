import DNSWire
import Glibc
import Lookup
import TestSupport
import Testing

@testable import Cassettes
@testable import Platform

@Suite("A cassette is text that a reviewer reads, edits, and gets back")
struct CassetteTextTests {
    static let key = FetchKey(Name("www.acme.org.")!, Question(type: .a))

    /// A response with a compressed alias and an address, a cookie, and an ID.
    static func message(_ address: UInt8 = 7, ttl: UInt8 = 60) -> [UInt8] {
        var bytes: [UInt8] = [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 1]
        for label in ["wWw", "acme", "org"] { bytes += [UInt8(label.utf8.count)] + Array(label.utf8) }
        bytes += [0, 0, 1, 0, 1]
        bytes += [0xC0, 0x0C, 0, 5, 0, 1, 0, 0, 0, 60, 0, 6, 3] + Array("lb1".utf8) + [0xC0, 0x10]
        bytes += [0xC0, 0x2A, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4, 192, 0, 2, address]
        bytes += [0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]
        return bytes
    }

    static func reply(_ message: [UInt8], _ key: FetchKey = key, microseconds: UInt32 = 11_200) throws -> CassetteReply
    {
        let kept = try #require(message.withUnsafeBytes { RecordedMessage.normalize($0, key) })
        return CassetteReply(message: kept, microseconds: microseconds, transport: .udp)
    }

    static func read(_ text: String) -> (tape: CassetteTape?, problems: [String]) {
        let (tape, diagnostics) = Array(text.utf8).withUnsafeBytes {
            CassetteReader.read($0, of: Place(path: "c"))
        }
        return (tape, diagnostics.list.map { "\($0)" })
    }

    static func written(_ tape: CassetteTape) -> String {
        var tape = tape
        return String(decoding: CassetteText.write(&tape), as: UTF8.self)
    }

    static func sample() throws -> CassetteTape {
        var tape = CassetteTape()
        tape.append(try reply(message()), to: key)
        return tape
    }

    @Test("It is sorted, without IDs, cookies and times of day, and reads back as it was")
    func roundTrip() throws {
        var tape = try Self.sample()
        let other = FetchKey(Name("acme.org.")!, Question(type: .aaaa, dnssecOK: true))
        tape.append(CassetteReply(message: [], microseconds: 4_000_000, transport: .udp), to: other)
        tape.append(try Self.reply(Self.message(8)), to: Self.key)
        let text = Self.written(tape)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let plain = lines.filter { !$0.hasPrefix("    wire") && !$0.hasPrefix("    digest") && !$0.hasPrefix("#") }
        #expect(
            plain.joined(separator: "\n") == """
                stub53 cassette 1

                question acme.org. AAAA do
                  reply 1 silence 4000.0ms

                question www.acme.org. A
                  reply 1 NOERROR 11.2ms udp
                    flags rd ra
                    answer www.acme.org. 60 IN CNAME lb1.acme.org.
                    answer lb1.acme.org. 60 IN A 192.0.2.7
                  reply 2 NOERROR 11.2ms udp
                    flags rd ra
                    answer www.acme.org. 60 IN CNAME lb1.acme.org.
                    answer lb1.acme.org. 60 IN A 192.0.2.8

                end

                """)
        let read = Self.read(text)
        #expect(read.problems == [])
        #expect(read.tape?.replies == tape.replies)
        #expect(read.tape?.replies[Self.key]?.map(\.line) == [9, 15])
        #expect(read.tape.map(Self.written) == text)
    }

    @Test("Lines of replies are counted as they stand in the file")
    func lines() throws {
        let text = Self.written(try Self.sample())
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let line = try #require(Self.read(text).tape?.replies[Self.key]?.first?.line)
        #expect(lines[line - 1].hasPrefix("  reply 1 "))
    }

    @Test("What is edited counts, and the wire form below it does not")
    func edited() throws {
        let text = Self.written(try Self.sample())
        let edits: [(from: String, to: String, reads: String)] = [
            ("192.0.2.7", "198.51.100.1", "answer lb1.acme.org. 60 IN A 198.51.100.1"),
            ("60 IN A", "5 IN A", "answer lb1.acme.org. 5 IN A 192.0.2.7"),
            ("flags rd ra", "flags rd ra ad", "flags rd ra ad"),
            ("reply 1 NOERROR", "reply 1 NXDOMAIN", "NXDOMAIN"),
            ("    flags rd ra\n", "    flags rd ra\n    ede 15 no\\032way\n", "ede 15 no way"),
            ("    flags rd ra\n", "", "NOERROR"),
        ]
        for edit in edits {
            let read = Self.read(text.replacing(edit.from, with: edit.to))
            #expect(read.problems == [], "\(edit)")
            let message = try #require(read.tape?.replies[Self.key]?.first?.message)
            let readable = CassetteText.readable(message)
            let lines = [readable.code] + readable.lines
            #expect(lines.contains(edit.reads), "\(edit): \(lines)")
            #expect(lines.contains("flags rd ra") == !edit.from.contains("flags") || edit.to.contains("ede"))
        }
    }

    @Test("Line ends of Windows, blank lines, comments and other indentation change nothing")
    func spacing() throws {
        let tape = try Self.sample()
        let text = Self.written(tape)
        for variant in [
            text.replacing("\n", with: "\r\n"), text.replacing("\n", with: "\n\n# said by the lab\n"),
            text.replacing("    ", with: "\t"), "\u{FEFF}" + text,
        ] {
            let read = Self.read(variant)
            #expect(read.problems == [])
            #expect(read.tape?.replies == tape.replies)
        }
    }

    @Test("A reply can be written by hand, without wire form")
    func byHand() throws {
        let read = Self.read(
            """
            stub53 cassette 1
            question WWW.Acme.org. HTTPS
            reply 1 NOERROR 0ms doh times 3
            answer www.acme.org. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1
            end
            """)
        #expect(read.problems == [])
        let key = FetchKey(Name("www.acme.org.")!, Question(type: .https))
        let reply = try #require(read.tape?.replies[key]?.first)
        #expect(reply.times == 3)
        #expect(
            CassetteText.readable(reply.message).lines == [
                "answer www.acme.org. 300 IN HTTPS 1 . alpn=h2 ipv4hint=192.0.2.1"
            ])
    }

    @Test("The same reply again is only counted, whatever its TTLs")
    func repeated() throws {
        var tape = CassetteTape()
        for (address, ttl) in [(7, 60), (7, 12), (8, 60), (7, 60)] as [(UInt8, UInt8)] {
            tape.append(try Self.reply(Self.message(address, ttl: ttl)), to: Self.key)
        }
        #expect(tape.replies[Self.key]?.map(\.times) == [2, 1, 1])
        #expect(Self.written(tape).contains("reply 1 NOERROR 11.2ms udp times 2\n"))
    }

    // MARK: What is wrong

    @Test(
        "What can't be used is told with its line and a remedy",
        arguments: [
            ("", "c:1: this is no cassette"), ("\u{7F}ELF\n\n\n", "c:1: this is no cassette"),
            ("stub53 cassette 2\nend\n", "c:1: the cassette has version '2'"),
            ("stub53 cassette 1\n", "c:1: the cassette is cut off"),
            ("stub53 cassette 1\nquestion a. A\n  reply 1 NOERR", "c:3: '1 NOERR' is no reply"),
            ("stub53 cassette 1\nquestion a. A\nend\nquestion b. A\n", "c:4: nothing may follow 'end'"),
            ("stub53 cassette 1\nquestion a A NOW\nend\n", "c:2: 'a A NOW' is no question"),
            ("stub53 cassette 1\nquestion a. A\nquestion A. A\nend\n", "c:3: this question stands at line 2 already"),
            ("stub53 cassette 1\nreply 1 NOERROR 1ms udp\nend\n", "c:2: 'reply' belongs below a line 'question"),
            ("stub53 cassette 1\nquestion a. A\nflags rd\nend\n", "c:3: 'flags' belongs below a line 'reply"),
            ("stub53 cassette 1\nquestion a. A\nreply 1 YES 1ms udp\nend\n", "c:3: 'YES' is no RCODE"),
            ("stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1s udp\nend\n", "c:3: '1 NOERROR 1s udp' is no reply"),
            ("stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms pigeon\nend\n", "c:3: 'pigeon' is no transport"),
            ("stub53 cassette 1\nquestion a. A\nreply 1 silence 1ms\nflags rd\nend\n", "c:3: a silence has no message"),
            (
                "stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nanswer a. 1 IN A 1.2.3\nend\n",
                "c:4: '1.2.3'"
            ),
            (
                "stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nanswer $INCLUDE /etc/hostname\nend\n",
                "c:4: "
            ),
            ("stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nwire AA!A\nend\n", "c:4: this is no message"),
            (
                "stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nwire AAAA\nend\n",
                "c:3: the reply is no answer"
            ),
            ("stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nflags rd zz\nend\n", "c:4: 'zz' is no flag"),
            (
                "stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nede x\nend\n",
                "c:4: 'x' is no extended error"
            ),
            (
                "stub53 cassette 1\nquestion a. A\nreply 1 NOERROR 1ms udp\nede 1\nede 2\nend\n",
                "c:5: the reply has a line 'ede' already"
            ),
            ("stub53 cassette 1\nqestion a. A\nend\n", "c:2: 'qestion' is unknown"),
            ("stub53 cassette 1\nquestion a\u{1B}[2J. A\nend\n", "c:2: 'question a\\027[2J. A' has bytes"),
        ])
    func problems(_ text: String, _ expected: String) {
        let read = Self.read(text)
        #expect(read.tape == nil)
        #expect(read.problems.contains { $0.hasPrefix(expected) }, "\(read.problems)")
    }

    @Test("A wire form is checked like a message from the network: another question's answer is refused")
    func otherQuestion() throws {
        var tape = try Self.sample()
        let other = FetchKey(Name("bank.example.")!, Question(type: .a))
        tape.replies[other] = tape.replies[Self.key]
        let read = Self.read(Self.written(tape))
        #expect(read.tape == nil)
        #expect(read.problems.first?.contains("the reply is no answer to bank.example. A") == true, "\(read.problems)")
    }

    @Test("Cut off at any byte, it is refused; nothing is read in part")
    func cutOff() throws {
        let text = Self.written(try Self.sample())
        for count in 0..<(text.utf8.count - 1) {
            let part = String(decoding: text.utf8.prefix(count), as: UTF8.self)
            #expect(Self.read(part).tape == nil, "at byte \(count)")
        }
    }

    @Test("A file of a gigabyte is refused without being read")
    func huge() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("stub53 cassette 1\n", to: "c")
        #expect(truncate(path, 1 << 30) == 0)
        let read = CassetteReader.read(path: path)
        #expect(read.tape == nil)
        #expect(read.diagnostics.list.map(\.message) == ["is larger than 256 MiB; record a cassette with --record"])
    }
}
