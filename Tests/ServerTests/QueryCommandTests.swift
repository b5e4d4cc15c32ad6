import Foundation
import Glibc
import Synchronization
import TestSupport
import Testing

/// A scripted DNS server on loopback: UDP and TCP on one port, each on its own thread.
final class ScriptedServer: Sendable {
    /// Makes the datagrams to send for a query, in order.
    typealias Script = @Sendable (_ query: [UInt8], _ overTCP: Bool) -> [[UInt8]]

    let port: UInt16
    private let datagrams: Int32
    private let listener: Int32

    init(_ script: @escaping Script) throws {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        func bindSocket(_ descriptor: Int32) -> Bool {
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) == 0 }
            }
        }
        let stream = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        let datagram = socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
        guard bindSocket(stream) else { throw POSIXError(.EADDRINUSE) }
        _ = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(stream, $0, &length) }
        }
        guard bindSocket(datagram), listen(stream, 8) == 0 else { throw POSIXError(.EADDRINUSE) }
        port = UInt16(bigEndian: address.sin_port)
        datagrams = datagram
        listener = stream
        Thread.detachNewThread { Self.serveDatagrams(datagram, script) }
        Thread.detachNewThread { Self.serveStreams(stream, script) }
    }

    deinit {
        shutdown(datagrams, Int32(SHUT_RDWR))
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private static func serveDatagrams(_ descriptor: Int32, _ script: Script) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            var client = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            withUnsafeMutablePointer(to: &client) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { client in
                    let count = recvfrom(descriptor, &buffer, buffer.count, 0, client, &length)
                    guard count > 12 else { return }
                    for reply in script(Array(buffer[..<count]), false) {
                        _ = sendto(descriptor, reply, reply.count, 0, client, length)
                    }
                }
            }
            // Shut down: an unconnected socket reads nothing.
            if length == 0 || client.ss_family == 0 { break }
        }
        close(descriptor)
    }

    private static func serveStreams(_ descriptor: Int32, _ script: Script) {
        while true {
            let connection = accept(descriptor, nil, nil)
            guard connection >= 0 else { break }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(connection, &buffer, buffer.count, 0)
            if count > 14 {
                for reply in script(Array(buffer[2..<count]), true) {
                    let framed = [UInt8(reply.count >> 8), UInt8(reply.count & 0xFF)] + reply
                    // In two parts, which the reader must join.
                    _ = send(connection, framed, 1, Int32(MSG_NOSIGNAL))
                    _ = send(connection, Array(framed[1...]), framed.count - 1, Int32(MSG_NOSIGNAL))
                }
            }
            close(connection)
        }
        close(descriptor)
    }

    /// A response to `query`: its question, and one A record with this address and name.
    static func response(
        _ query: [UInt8], address: [UInt8] = [192, 0, 2, 1], flags: [UInt8] = [0x81, 0x80], answers: Int = 1,
        opt: [UInt8]? = nil
    ) -> [UInt8] {
        var end = 12
        while query[end] != 0 { end += Int(query[end]) + 1 }
        end += 5
        let head = Array(query[..<2]) + flags + [0, 1, 0, UInt8(answers), 0, 0, 0, opt == nil ? 0 : 1]
        let record: [UInt8] = [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4] + address
        var message = head + query[12..<end]
        for _ in 0..<answers { message += record }
        if let opt { message += [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, UInt8(opt.count)] + opt }
        return message
    }
}

@Suite("query accepts only the response to its own question")
struct QueryCommandTests {
    private func ask(_ arguments: [String], _ script: @escaping ScriptedServer.Script) async throws -> Command.Result {
        let server = try ScriptedServer(script)
        let patience = arguments.contains("--timeout") ? [] : ["--timeout", "\(longestWait)"]
        let result = try await Command.run(["query"] + arguments + patience + ["@127.0.0.1:\(server.port)"])
        withExtendedLifetime(server) {}
        return result
    }

    @Test("It prints a response as dig does")
    func full() async throws {
        let result = try await ask(["acme.org"]) { query, _ in
            [ScriptedServer.response(query, opt: [0, 15, 0, 6, 0, 3] + Array("old\n".utf8))]
        }
        #expect(result.code == 0)
        for line in [
            ";; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: ",
            ";; flags: qr rd ra; QUERY: 1, ANSWER: 1, AUTHORITY: 0, ADDITIONAL: 1\n",
            ";; OPT PSEUDOSECTION:\n; EDNS: version: 0, flags:; udp: 1232\n; EDE: 3 (Stale Answer): (old\\010)\n",
            ";; QUESTION SECTION:\n;acme.org.\t\t\tIN\tA\n\n",
            ";; ANSWER SECTION:\nacme.org.\t\t60\tIN\tA\t192.0.2.1\n\n",
            "(UDP)\n", ";; MSG SIZE  rcvd: 63\n",
        ] { #expect(result.output.contains(line), "\(result.output)") }
    }

    @Test("+short prints only the data", arguments: ["+short", "--short"])
    func short(_ word: String) async throws {
        let result = try await ask(["acme.org", word]) { query, _ in [ScriptedServer.response(query, answers: 2)] }
        #expect(result.output == "192.0.2.1\n192.0.2.1\n")
    }

    @Test("Forged responses before the real one are ignored")
    func forged() async throws {
        let result = try await ask(["acme.org", "+short"]) { query, _ in
            let good = ScriptedServer.response(query)
            let bad = ScriptedServer.response(query, address: [6, 6, 6, 6])
            var otherID = bad
            otherID[0] ^= 1
            var otherName = bad
            otherName[13] = UInt8(ascii: "x")
            var otherType = bad
            otherType[query.count > 24 ? 23 : 22] ^= 0x1C
            var isQuery = bad
            isQuery[2] = 0x01
            let cut = Array(bad.dropLast())
            return [otherID, otherName, otherType, isQuery, cut, [], good]
        }
        #expect(result.output == "192.0.2.1\n")
    }

    @Test("A truncated response is fetched over TCP")
    func truncated() async throws {
        let result = try await ask(["acme.org"]) { query, overTCP in
            overTCP
                ? [ScriptedServer.response(query, answers: 3)]
                : [ScriptedServer.response(query, flags: [0x83, 0x80], answers: 0)]
        }
        #expect(result.output.contains("fetched over TCP") && result.output.contains("ANSWER: 3"))
        #expect(result.output.contains("(TCP)"))
    }

    @Test("+tcp asks over TCP at once")
    func tcp() async throws {
        let result = try await ask(["acme.org", "+tcp", "+short"]) { query, overTCP in
            [ScriptedServer.response(query, address: overTCP ? [192, 0, 2, 7] : [6, 6, 6, 6])]
        }
        #expect(result.output == "192.0.2.7\n")
    }

    @Test(
        "-x asks for the address's reverse name",
        arguments: [
            ("192.0.2.1", "1.2.0.192.in-addr.arpa."),
            ("2001:db8::1", "1." + String(repeating: "0.", count: 23) + "8.b.d.0.1.0.0.2.ip6.arpa."),
        ])
    func reverse(_ test: (address: String, name: String)) async throws {
        let result = try await ask(["-x", test.address]) { query, _ in [ScriptedServer.response(query, answers: 0)] }
        #expect(result.output.contains(";\(test.name)\t") && result.output.contains("\tPTR\n"), "\(result.output)")
    }

    @Test("+dnssec and +norecurse are sent")
    func flags() async throws {
        let result = try await ask(["acme.org", "+dnssec", "+norecurse", "+short"]) { query, _ in
            let isRight = query[2] & 1 == 0 && query[query.count - 4] == 0x80
            return [ScriptedServer.response(query, address: isRight ? [192, 0, 2, 8] : [6, 6, 6, 6])]
        }
        #expect(result.output == "192.0.2.8\n")
    }

    @Test("A response that libldns can't parse is a problem, not half an answer")
    func unreadable() async throws {
        let result = try await ask(["acme.org", "TXT"]) { query, _ in
            // A character-string longer than its record.
            var message = ScriptedServer.response(query, address: [9, 65, 65, 65])
            message[message.count - 13] = 16
            return [message]
        }
        #expect(result.code == 1 && result.output.isEmpty)
        #expect(result.errors.contains("can't be read"), "\(result.errors)")
    }

    @Test("A missing response is a problem, with advice")
    func silence() async throws {
        let result = try await ask(["acme.org", "--timeout", "1"]) { _, _ in [] }
        #expect(result.code == 1)
        #expect(result.errors.contains("no response within 1.0 seconds; check the address"), "\(result.errors)")
        #expect(result.output.isEmpty)
    }
}
