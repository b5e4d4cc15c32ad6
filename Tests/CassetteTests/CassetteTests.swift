import DNSWire
import Foundation
import Lookup
import Synchronization
import TestSupport
import Testing

@testable import Cassettes
@testable import Platform
@testable import Upstream

@Suite("A cassette plays what was recorded, and records what is said")
struct CassetteTests {
    private typealias Text = CassetteTextTests

    private static func address(_ play: CassettePlay) -> UInt8? {
        guard case .reply(let reply) = play else { return nil }
        return CassetteText.readable(reply.message).lines.last?.split(separator: ".").last.flatMap { UInt8($0) }
    }

    private static func playing(
        _ tape: CassetteTape, _ unknown: Cassette.Unknown = .fail, timing: Cassette.Timing = .none
    ) -> Cassette {
        Cassette(playing: tape, of: "c", unknown: unknown, timing: timing)
    }

    private static func tape(_ addresses: [UInt8], _ key: FetchKey = Text.key) throws -> CassetteTape {
        var tape = CassetteTape()
        for address in addresses { tape.append(try Text.reply(Text.message(address), key), to: key) }
        return tape
    }

    @Test("Replies to a question come in their order, and the last one again and again")
    func sequence() throws {
        let cassette = Self.playing(try Self.tape([1, 1, 2, 3]))
        #expect((0..<6).map { _ in Self.address(cassette.play(Text.key)) } == [1, 1, 2, 3, 3, 3])
    }

    @Test("Only the last may be cached, so that no other is passed over")
    func successors() throws {
        let cassette = Self.playing(try Self.tape([1, 2]))
        let marks = (0..<3).map { _ -> Bool? in
            guard case .reply(let reply) = cassette.play(Text.key) else { return nil }
            return reply.hasSuccessor
        }
        #expect(marks == [true, false, false])
    }

    @Test("A question with other flags gets the reply without regard to them, if there is no other")
    func flags() throws {
        let cassette = Self.playing(try Self.tape([1]))
        for question in [
            Question(type: .a, dnssecOK: true), Question(type: .a, checkingDisabled: true),
            Question(type: .a, dnssecOK: true, checkingDisabled: true),
        ] {
            #expect(Self.address(cassette.play(FetchKey(Name("www.acme.org.")!, question))) == 1)
        }
    }

    @Test("What it does not have fails, is named, and is listed")
    func unknown() throws {
        let cassette = Self.playing(try Self.tape([1]))
        let key = FetchKey(Name("other.example.")!, Question(type: .https))
        for _ in 0..<2 {
            guard case .reply(let reply) = cassette.play(key) else {
                Issue.record("upstream is asked")
                return
            }
            #expect(CassetteText.readable(reply.message).code == "SERVFAIL")
            #expect("\(reply.place)" == "c")
        }
        #expect(
            cassette.finish() == [
                "c: one question is not in the cassette; to add replies, use --unknown record",
                "  other.example. HTTPS, 2 times",
            ])
        guard case .ask = Self.playing(try Self.tape([1]), .forward).play(key) else {
            Issue.record("upstream is not asked")
            return
        }
    }

    @Test("Replies take their recorded time if that is asked for")
    func timing() throws {
        for (timing, expected) in [(Cassette.Timing.none, 0), (.real, 11_200)] as [(Cassette.Timing, UInt64)] {
            guard case .reply(let reply) = Self.playing(try Self.tape([1]), timing: timing).play(Text.key) else {
                Issue.record("there is no reply")
                return
            }
            #expect(reply.delay == expected)
        }
    }

    @Test("Questions are written in canonical order of names, then by type and flags")
    func order() throws {
        var tape = CassetteTape()
        let names = [".", "a.", "*.a.", "\\001.a.", "a.a.", "a\\000.a.", "aa.a.", "z.a.a.", "b."]
        for name in names.reversed() {
            for question in [Question(type: .https), Question(type: .a, dnssecOK: true), Question(type: .a)] {
                let reply = CassetteReply(message: [], microseconds: 0, transport: .udp)
                tape.append(reply, to: FetchKey(try #require(Name(name)), question))
            }
        }
        let keys = tape.sortedKeys
        let sorted = try names.map { try #require(Name($0)) }.sorted()
        #expect(keys.map(\.name) == sorted.flatMap { [$0.wire, $0.wire, $0.wire] })
        #expect(keys.prefix(3).map(\.type) == [.a, .a, .https] && !keys[0].dnssecOK && keys[1].dnssecOK)
    }

    // MARK: Recording

    private static func hear(_ cassette: Cassette, _ message: [UInt8], _ key: FetchKey = Text.key) {
        let reply = UpstreamReply(
            RecordedReply(message: [], place: .nowhere, microseconds: 11_200, delay: 0, hasSuccessor: false))
        message.withUnsafeBytes { cassette.record(key, $0, from: reply) }
    }

    @Test("A recording is a whole file at each save, and plays what was said")
    func recording() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("c")
        let changes = Mutex(0)
        let cassette = Cassette(recording: path) { changes.withLock { $0 += 1 } }
        guard case .ask = cassette.play(Text.key) else {
            Issue.record("upstream is not asked")
            return
        }
        Self.hear(cassette, Text.message(1))
        #expect(changes.withLock { $0 } == 1)
        #expect(cassette.save(at: 1_000_000) == nil)
        #expect(CassetteReader.read(path: path).tape?.replies[Text.key]?.count == 1)
        // Not at once again.
        Self.hear(cassette, Text.message(2))
        let next = try #require(cassette.save(at: 1_000_001))
        #expect(next > 1_500_000)
        #expect(CassetteReader.read(path: path).tape?.replies[Text.key]?.count == 1)
        cassette.recordSilence(Text.key, after: 4_000_000)
        #expect(cassette.finish() == ["\(path): 3 replies recorded"])
        let tape = try #require(CassetteReader.read(path: path).tape)
        #expect(tape.replies[Text.key]?.map(\.isSilence) == [false, false, true])
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["c"])
    }

    @Test("What is added to a replayed file stands there in order, and lines move along")
    func adding() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write(Text.written(try Self.tape([1])), to: "c")
        let tape = try #require(CassetteReader.read(path: path).tape)
        let cassette = Cassette(playing: tape, of: path, unknown: .record, timing: .none)
        let key = FetchKey(Name("a.acme.org.")!, Question(type: .a))
        guard case .ask = cassette.play(key) else {
            Issue.record("upstream is not asked")
            return
        }
        cassette.recordSilence(key, after: 1000)
        _ = cassette.save(at: 1_000_000)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(
            separator: "\n", omittingEmptySubsequences: false)
        guard case .reply(let reply) = cassette.play(Text.key) else {
            Issue.record("there is no reply")
            return
        }
        #expect(lines[Int(reply.place.line) - 1] == "  reply 1 NOERROR 11.2ms udp")
    }

    @Test("A link to the file stays one, and the file's permissions stay")
    func link() throws {
        let folder = try TemporaryFolder()
        let path = try folder.write("stub53 cassette 1\nend\n", to: "kept/c")
        let files = FileManager.default
        try files.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        try files.createSymbolicLink(atPath: folder.file("c"), withDestinationPath: path)
        let cassette = Cassette(recording: folder.file("c"))
        Self.hear(cassette, Text.message(1))
        _ = cassette.finish()
        #expect(CassetteReader.read(path: path).tape?.count == 1)
        #expect(try files.destinationOfSymbolicLink(atPath: folder.file("c")) == path)
        #expect(try files.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o640)
        #expect(try files.contentsOfDirectory(atPath: folder.file("kept")) == ["c"])
    }

    @Test("Garbage from a server is not recorded")
    func garbage() throws {
        let folder = try TemporaryFolder()
        let cassette = Cassette(recording: folder.file("c"))
        Self.hear(cassette, [UInt8](repeating: 0xFF, count: 40))
        #expect(cassette.finish() == ["\(folder.file("c")): 0 replies recorded"])
    }

    @Test("Another file is not overwritten")
    func target() throws {
        let folder = try TemporaryFolder()
        var settings = CassetteSettings()
        settings.record = try folder.write("127.0.0.1 localhost\n", to: "hosts")
        var diagnostics = Diagnostics()
        #expect(settings.open(&diagnostics) {} == nil)
        #expect(diagnostics.list.first?.message.hasPrefix("this is another file than a cassette") == true)
        settings.record = "/nowhere/c"
        #expect(settings.check().list.first?.message.contains("can't be written in '/nowhere'") == true)
    }
}
