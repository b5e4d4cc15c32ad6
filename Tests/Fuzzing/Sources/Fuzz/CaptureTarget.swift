import DNSWire
import Lookup
import LookupLog
import Platform

@testable import Cassettes

/// Any capture of packets or dnstap: what it has makes a cassette that can be read.
enum CaptureTarget {
    static let target = FuzzTarget(
        name: "capture", longest: 1024,
        seeds: { [CassetteExport.packets(tape), classic, dnstap] },
        words: {
            [[0x0A, 0x0D, 0x0D, 0x0A], [0xA1, 0xB2, 0xC3, 0xD4], [0x81, 0], [8, 0], [0x86, 0xDD], [0, 53]]
        },
        prepare: { { run($0) } })

    private static let message: [UInt8] =
        [0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 1, 97, 0, 0, 1, 0, 1]
        + [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]

    private static var tape: CassetteTape {
        var tape = CassetteTape()
        tape.append(
            CassetteReply(message: message, microseconds: 1000, transport: .udp),
            to: FetchKey(Name("a.")!, Question(type: .a)))
        return tape
    }

    /// TCP over Ethernet in pcap.
    private static var classic: [UInt8] {
        let tcp: [UInt8] =
            [0, 53, 0x9C, 0x40, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0, 0, UInt8(message.count)] + message
        let start: [UInt8] = [0, 53, 0x9C, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 2, 0, 0, 0, 0, 0, 0]
        var file: [UInt8] = [0xA1, 0xB2, 0xC3, 0xD4, 0, 2, 0, 4] + [UInt8](repeating: 0, count: 12) + [0, 0, 0, 1]
        for segment in [start, tcp] {
            let ip: [UInt8] = [0x45, 0, 0, UInt8(20 + segment.count), 0, 0, 0x40, 0, 64, 6, 0, 0]
            let packet =
                [UInt8](repeating: 2, count: 12) + [8, 0] + ip + [192, 0, 2, 53, 192, 0, 2, 1] + segment
            let length: [UInt8] = [0, 0, 0, UInt8(packet.count)]
            file += [0, 0, 0, 1, 0, 0, 0, 0] + length + length + packet
        }
        return file
    }

    private static var dnstap: [UInt8] {
        let body: [UInt8] = [0x08, 8, 0x18, 1, 0x40, 10, 0x60, 10, 0x72, UInt8(message.count)] + message
        let frame = [0x72, UInt8(body.count)] + body + [0x78, 1]
        let type = Array("protobuf:dnstap.Dnstap".utf8)
        return [0, 0, 0, 0, 0, 0, 0, 34, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 22] + type
            + [0, 0, 0, UInt8(frame.count)] + frame
    }

    private static func run(_ input: UnsafeRawBufferPointer) {
        guard let capture = Capture.read(input) else { return }
        var made = CassetteImport()
        made.add(capture)
        var tape = made.tape
        let text = CassetteText.write(&tape)
        let again = text.withUnsafeBytes { CassetteReader.read($0, of: .init(path: "capture")) }
        expect(again.diagnostics.list.isEmpty, "what was made can be read: \(again.diagnostics.list)")
        expect(again.tape?.count == tape.count, "all of it is read")
    }
}
