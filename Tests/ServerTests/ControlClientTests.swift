import Foundation
import Inspector
import Platform
import TestSupport
import Testing

@testable import stub53

/// A complete response counts, whatever happens to the rest of the request.
@Suite("A client of the control socket")
struct ControlClientTests {
    /// How much of the request the daemon has read when it answers and closes. If bytes are left unread, closing resets
    /// the connection.
    enum Moment: String, CaseIterable {
        case nothing, oneByte, head, all
        /// It shuts down reading before it answers.
        case inputShut
    }

    /// A daemon that the test scripts, one connection at a time.
    private final class ScriptedDaemon: Sendable {
        let path: String
        private let folder: TemporaryFolder
        private let descriptor: Int32

        init(_ serve: @escaping @Sendable (Int32) -> Void) throws {
            folder = try TemporaryFolder()
            path = folder.file("control.sock")
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            let bound = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(bound == 0 && listen(descriptor, 16) == 0)
            Thread.detachNewThread { [descriptor] in
                while true {
                    let connection = accept(descriptor, nil, nil)
                    guard connection >= 0 else { return }
                    serve(connection)
                    close(connection)
                }
            }
        }

        deinit {
            shutdown(descriptor, Int32(SHUT_RDWR))
            close(descriptor)
        }
    }

    private static func response(_ status: String, _ body: String, length: Int? = nil) -> [UInt8] {
        Array(
            """
            HTTP/1.1 \(status)\r
            Content-Type: application/json\r
            Content-Length: \(length ?? body.utf8.count)\r
            Connection: close\r
            \r
            \(body)
            """.utf8)
    }

    /// Reads as much of the request as `moment` says, answers, and closes.
    private static func answer(_ connection: Int32, _ response: [UInt8], at moment: Moment) {
        switch moment {
        case .nothing: break
        case .oneByte: _ = read(connection, until: { $0.count == 1 })
        case .head: _ = read(connection, until: { $0.suffix(4) == Array("\r\n\r\n".utf8)[...] })
        case .all:
            let head = read(connection, until: { $0.suffix(4) == Array("\r\n\r\n".utf8)[...] })
            let field = String(decoding: head, as: UTF8.self).firstRange(of: "Content-Length: ")
            let rest = field.map { String(decoding: head, as: UTF8.self)[$0.upperBound...].prefix(while: \.isNumber) }
            let length = rest.flatMap { Int($0) } ?? 0
            _ = read(connection, until: { $0.count == length })
        case .inputShut: shutdown(connection, Int32(SHUT_RD))
        }
        _ = send(connection, response, response.count, Int32(MSG_NOSIGNAL))
    }

    private static func read(_ connection: Int32, until isEnough: ([UInt8]) -> Bool) -> [UInt8] {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while !isEnough(bytes), recv(connection, &byte, 1, 0) == 1 { bytes.append(byte) }
        return bytes
    }

    private struct Answer: Decodable, Equatable { var number: Int }
    private static let addition = OverrideRequest(name: "a.test", addresses: ["127.0.0.1"], seconds: nil)

    @Test("accepts the answer of a daemon that closes before it has read the request", arguments: Moment.allCases)
    func earlyAnswer(_ moment: Moment) async throws {
        let daemon = try ScriptedDaemon { Self.answer($0, Self.response("200 OK", #"{"number":7}"#), at: moment) }
        let client = ControlClient(path: daemon.path)
        // Whether part of the request finds the connection closed varies from run to run.
        for _ in 0..<20 {
            #expect(try await client.ask(.post, "/v1/overrides", Self.addition, as: Answer.self).number == 7)
            #expect(try await client.ask(.post, "/v1/reload", as: Answer.self).number == 7)
            #expect(try await client.ask(.delete, "/v1/cache", as: Answer.self).number == 7)
            #expect(try await client.ask(.get, "/v1/stats", as: Answer.self).number == 7)
        }
    }

    @Test("shows the daemon's refusal, however early it comes", arguments: Moment.allCases)
    func earlyRefusal(_ moment: Moment) async throws {
        let daemon = try ScriptedDaemon {
            Self.answer($0, Self.response("400 Bad Request", #"{"error":"not this one"}"#), at: moment)
        }
        for _ in 0..<20 {
            let failure = await #expect(throws: ServiceFailure.self) {
                try await ControlClient(path: daemon.path).ask(.post, "/v1/overrides", Self.addition, as: Answer.self)
            }
            #expect(failure?.description == "not this one")
        }
    }

    @Test("passes on all pieces of a long answer, even if the connection is reset afterwards")
    func longAnswer() async throws {
        let text = String(repeating: "one line of the log\n", count: 100_000)
        let daemon = try ScriptedDaemon { connection in
            var rest = Self.response("200 OK", text)[...]
            while !rest.isEmpty {
                let sent = rest.withUnsafeBytes { send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
                guard sent > 0 else { return }
                rest = rest.dropFirst(sent)
            }
        }
        var bytes: [UInt8] = []
        try await ControlClient(path: daemon.path).send(.get, "/v1/lookups") { bytes += $0 }
        #expect(String(decoding: bytes, as: UTF8.self) == text)
    }

    @Test("reports that the daemon has ended if the answer is incomplete or missing", arguments: [true, false])
    func brokenOff(_ begins: Bool) async throws {
        let daemon = try ScriptedDaemon {
            Self.answer($0, begins ? Self.response("200 OK", #"{"num"#, length: 12) : [], at: .all)
        }
        let failure = await #expect(throws: ServiceFailure.self) {
            try await ControlClient(path: daemon.path).ask(.post, "/v1/overrides", Self.addition, as: Answer.self)
        }
        #expect(failure?.description == "the daemon at \(daemon.path) has ended")
    }
}
