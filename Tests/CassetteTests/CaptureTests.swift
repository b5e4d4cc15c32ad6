import DNSWire
import Lookup
import TestSupport
import Testing

@testable import Cassettes
@testable import LookupLog
@testable import Platform

@Suite("Cassettes are made of captures, and written in other forms")
struct CaptureTests {
    private typealias Text = CassetteTextTests

    private static let client = SocketAddress(high: 0, low: 0xC000_0201, port: 40_000, isIPv6: false)
    private static let server = SocketAddress(high: 0, low: 0xC000_0235, port: 53, isIPv6: false)

    private static func tape() throws -> CassetteTape {
        var tape = CassetteTape()
        for address in [7, 8, 8] as [UInt8] { tape.append(try Text.reply(Text.message(address)), to: Text.key) }
        let signed = FetchKey(Name("www.acme.org.")!, Question(type: .a, dnssecOK: true))
        tape.append(try Text.reply(Text.message(9), signed, microseconds: 500), to: signed)
        return tape
    }

    private static func read(_ bytes: [UInt8]) -> Capture? { bytes.withUnsafeBytes { Capture.read($0) } }

    @Test("Packets of a cassette make the same cassette, with times and flags")
    func packets() throws {
        let tape = try Self.tape()
        var made = CassetteImport()
        made.add(try #require(Self.read(CassetteExport.packets(tape))))
        #expect(made.count == 4 && made.skipped.isEmpty)
        #expect(made.tape.replies == tape.replies)
    }

    @Test("Only the responses of a named server are taken")
    func named() throws {
        let capture = try #require(Self.read(CassetteExport.packets(try Self.tape())))
        var made = CassetteImport(from: [Self.server])
        made.add(capture)
        #expect(made.tape.isEmpty)
    }

    // MARK: TCP

    /// A pcap file with one TCP segment a packet, over Ethernet with a VLAN tag.
    private static func segments(_ segments: [(sequence: UInt32, flags: UInt8, bytes: [UInt8])]) -> [UInt8] {
        var file: [UInt8] = [0xA1, 0xB2, 0xC3, 0xD4, 0, 2, 0, 4] + [UInt8](repeating: 0, count: 8) + [0, 1, 0, 0]
        file += [0, 0, 0, 1]
        for (number, segment) in segments.enumerated() {
            let tcp =
                [0, 53, 0x9C, 0x40] + Packet.bytes(UInt16(segment.sequence >> 16))
                + Packet.bytes(UInt16(truncatingIfNeeded: segment.sequence)) + [0, 0, 0, 0, 0x50, segment.flags]
                + [0, 0, 0, 0, 0, 0] + segment.bytes
            let ip = [0x45, 0] + Packet.bytes(UInt16(20 + tcp.count)) + [0, 0, 0x40, 0, 64, 6, 0, 0]
            let addresses: [UInt8] = [192, 0, 2, 53, 192, 0, 2, 1]
            let packet = [UInt8](repeating: 2, count: 12) + [0x81, 0, 0, 5, 8, 0] + ip + addresses + tcp
            let length = Packet.bytes(0) + Packet.bytes(UInt16(packet.count))
            file += [0, 0, 0, 1, 0, 0, 0, UInt8(number)] + length + length + packet
        }
        return file
    }

    private static func framed(_ message: [UInt8]) -> [UInt8] { Packet.bytes(UInt16(message.count)) + message }

    @Test("Messages over TCP are put together of segments, also repeated ones, from any sequence number")
    func tcp() throws {
        let stream = Self.framed(Text.message(1)) + Self.framed(Text.message(2))
        let start = UInt32.max - 20
        let parts = [0..<1, 1..<40, 20..<60, 60..<stream.count]
        let segments =
            [(start, 2, [])]
            + parts.map { (start &+ 1 &+ UInt32($0.lowerBound), 0x10 as UInt8, Array(stream[$0])) }
        let capture = try #require(Self.read(Self.segments(segments)))
        #expect(capture.messages.map(\.bytes) == [Text.message(1), Text.message(2)])
        #expect(capture.messages.allSatisfy { $0.transport == .tcp && $0.source == Self.server })
        // Where a part is missing, nothing is guessed.
        let torn = try #require(Self.read(Self.segments([segments[0], segments[1], segments[4]])))
        #expect(torn.messages.isEmpty)
        #expect(torn.skipped == ["a TCP connection of which a part is missing": 1])
    }

    // MARK: Hostile captures

    @Test("Captures that are cut off or changed in any byte are read as far as they can be, and never end the program")
    func hostile() throws {
        let packets = CassetteExport.packets(try Self.tape())
        let stream = Self.segments([(0, 2, []), (1, 16, Self.framed(Text.message(1)))])
        for file in [packets, stream, Self.dnstap] {
            for count in 0..<file.count { _ = Self.read(Array(file[..<count])) }
            for index in file.indices {
                for value in [0, 0x7F, 0xFF] as [UInt8] {
                    var changed = file
                    changed[index] = value
                    var made = CassetteImport()
                    if let capture = Self.read(changed) { made.add(capture) }
                }
            }
        }
    }

    /// START, one FORWARDER_RESPONSE that took 2 ms, STOP.
    private static var dnstap: [UInt8] {
        let message: [UInt8] =
            [0x08, 8, 0x10, 1, 0x18, 3, 0x2A, 4, 192, 0, 2, 53, 0x38, 53, 0x40, 10, 0x4D, 0, 0, 0, 0, 0x60, 10, 0x6D]
            + [0x80, 0x84, 0x1E, 0, 0x72, UInt8(Text.message().count)] + Text.message()
        let frame = [0x72, UInt8(message.count)] + message + [0x78, 1]
        return FrameStream.start + [0, 0, 0, UInt8(frame.count)] + frame + FrameStream.stop
    }

    @Test("A dnstap file of any server gives times and transports")
    func dnstapFile() throws {
        var made = CassetteImport()
        made.add(try #require(Self.read(Self.dnstap)))
        let reply = try #require(made.tape.replies[Text.key]?.first)
        #expect(reply.microseconds == 2000 && reply.transport == .dot)
    }

    @Test("What is no capture is told from one")
    func noCapture() {
        for bytes in [[], Array("stub53 cassette 1\n".utf8), [UInt8](repeating: 0, count: 100)] as [[UInt8]] {
            #expect(Self.read(bytes) == nil)
        }
    }

    // MARK: Export

    @Test("A hosts file has the addresses behind aliases, of the last reply")
    func hosts() throws {
        #expect(CassetteExport.hosts(try Self.tape()) == "192.0.2.8 www.acme.org\n192.0.2.9 www.acme.org\n")
    }

    @Test("A zone has a SOA, name servers, and the records of its names")
    func zone() throws {
        var tape = CassetteTape()
        tape.append(try Text.reply(Text.message(7)), to: Text.key)
        #expect(
            CassetteExport.zone(tape, apex: Name("acme.org.")!) == """
                $ORIGIN acme.org.
                acme.org. 3600 IN SOA localhost. nobody.invalid. 1 3600 600 86400 60
                acme.org. 3600 IN NS localhost.
                lb1.acme.org. 60 IN A 192.0.2.7
                www.acme.org. 60 IN CNAME lb1.acme.org.

                """)
    }

    @Test("A scenario asks each question and expects its reply")
    func scenario() throws {
        var tape = CassetteTape()
        tape.append(try Text.reply(Text.message(7)), to: Text.key)
        let text = CassetteExport.scenario(tape, name: "c")
        #expect(
            text.contains(
                """
                STEP 2 CHECK_ANSWER
                ENTRY_BEGIN
                MATCH qname rcode answer
                REPLY QR RD RA NOERROR
                SECTION QUESTION
                www.acme.org. IN A
                SECTION ANSWER
                www.acme.org. 60 IN CNAME lb1.acme.org.
                lb1.acme.org. 60 IN A 192.0.2.7
                ENTRY_END
                """))
    }
}
