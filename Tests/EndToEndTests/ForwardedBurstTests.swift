import Foundation
import TestSupport
import Testing

/// Upstream's answers are sent in batches, each to its client.
@Suite("A burst of questions for upstream")
struct ForwardedBurstTests {
    @Test(
        "is answered to each client, from the address that it asked, whichever thread took the query",
        arguments: [1, 3])
    func clients(workers: Int) async throws {
        // The address encodes the question: the number at the start of the name.
        let upstream = try ScriptedServer { query, _ in
            let digits = query[13..<(13 + Int(query[12]))].filter { $0 >= 0x30 && $0 <= 0x39 }
            let number = Int(String(decoding: digits, as: UTF8.self)) ?? 0
            return .send(Reply.addresses(query, [[10, 0, UInt8(number >> 8), UInt8(number & 0xFF)]]))
        }
        let folder = try TemporaryFolder()
        let daemon = try await DaemonProcess([
            "--config", try folder.write("upstream.timeout: 60s\n", to: "stub53.yaml"), "--no-hosts", "--upstream",
            "127.0.0.1:\(upstream.port)", "--listen", "0.0.0.0:0", "--log", "none",
            "--workers", "\(workers)",
        ])
        try await blocking {
            // A connected socket accepts answers only from the address it asked.
            let clients = try (0..<8).map { try DatagramClient(port: daemon.port, host: UInt8(1 + $0 % 4)) }
            // No more at once than any system's buffers hold, even if the daemon is slow to read.
            for burst in 0..<8 {
                let numbers = (burst * 100)..<(burst * 100 + 100)
                for number in numbers {
                    #expect(clients[number % 8].send(Wire.query("n\(number).burst.example", id: UInt16(number))))
                }
                for (index, client) in clients.enumerated() {
                    var open = Set(numbers.filter { $0 % 8 == index })
                    while !open.isEmpty {
                        let answer = try #require(client.receiveNow())
                        let number = Int(Wire.id(answer))
                        #expect(Wire.code(answer) == 0 && Wire.answers(answer) == 1)
                        #expect(answer.suffix(2) == [UInt8(number >> 8), UInt8(number & 0xFF)])
                        #expect(open.remove(number) != nil)
                    }
                }
            }
        }
        withExtendedLifetime(upstream) {}
    }
}
