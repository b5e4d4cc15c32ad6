import DNSWire
import Lookup
package import LookupLog
package import Platform
import Upstream

/// Makes a tape of the responses in captures.
package struct CassetteImport: Sendable {
    package private(set) var tape = CassetteTape()
    /// Replies taken.
    package private(set) var count = 0
    /// Responses that can't be replayed, by the reason.
    package private(set) var skipped: [String: Int] = [:]
    private let servers: [SocketAddress]
    /// Queries that no response has come to.
    private var queries: [Exchange: (time: UInt64, dnssecOK: Bool, checkingDisabled: Bool)] = [:]

    private struct Exchange: Hashable {
        var client: SocketAddress
        var server: SocketAddress
        var id: UInt16
        var question: [UInt8]
    }

    /// More are forgotten.
    private static let mostQueries = 100_000

    /// - Parameter servers: whose responses are taken; of all if there is none. Ports don't count.
    package init(from servers: [SocketAddress] = []) { self.servers = servers.map { $0.withPort(0) } }

    /// Adds the responses of a capture, in the order of their times. Where it has a resolver's own queries, those of its
    /// clients, which it answered from them, are left out.
    package mutating func add(_ capture: Capture) {
        for (reason, count) in capture.skipped { skipped[reason, default: 0] += count }
        let hasUpstream = capture.messages.contains { $0.isUpstream == true }
        var scrubber = AnswerScrubber()
        // Stable: the order in the file counts where times are equal.
        for message in capture.messages.enumerated().sorted(by: { ($0.1.time, $0.0) < ($1.1.time, $1.0) }).map(\.1)
        where !hasUpstream || message.isUpstream == true {
            add(message, &scrubber)
        }
    }

    private mutating func add(_ message: CapturedMessage, _ scrubber: inout AnswerScrubber) {
        message.bytes.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, bytes.count >= Header.length, let summary = MessageReader.walk(bytes),
                summary.questionEnd > Header.length
            else { return skip("a malformed message") }
            let flags = Header.Flags(rawValue: base.readUInt16(2))
            var name: [UInt8] = []
            guard flags.opcode == .query, MessageReader.expandName(bytes, at: Header.length, into: &name) else {
                return
            }
            name = name.map(ASCII.lowercased)
            let isResponse = flags.contains(.response)
            let server = isResponse ? message.source : message.target
            guard servers.isEmpty || servers.contains(server.withPort(0)) else { return }
            let type = base.readUInt16(summary.questionEnd - 4)
            let exchange = Exchange(
                client: isResponse ? message.target : message.source, server: server, id: base.readUInt16(0),
                question: name + [UInt8(type >> 8), UInt8(truncatingIfNeeded: type)])
            let dnssecOK = (summary.opt?.ttl ?? 0) & UInt32(EDNS.dnssecOK) != 0
            guard isResponse else {
                if queries.count < Self.mostQueries, queries[exchange] == nil {
                    queries[exchange] = (message.time, dnssecOK, flags.contains(.checkingDisabled))
                }
                return
            }
            let query = queries.removeValue(forKey: exchange)
            // The client asks again over TCP.
            if flags.contains(.truncated), message.transport == .udp { return }
            let recordType = RecordType(rawValue: type)
            guard ![.axfr, .ixfr].contains(recordType) else { return skip("a zone transfer") }
            let key = FetchKey(
                Name(uncheckedWire: name),
                Question(
                    type: recordType, dnssecOK: query?.dnssecOK ?? dnssecOK,
                    checkingDisabled: query?.checkingDisabled ?? flags.contains(.checkingDisabled)))
            guard let kept = RecordedMessage.normalize(bytes, key),
                (try? scrubber.check(bytes, summary, for: key, ttls: .init())) != nil
            else { return skip("a response that is no answer to its question") }
            let sent = message.queryTime ?? query?.time ?? message.time
            let microseconds = UInt32(clamping: message.time - min(message.time, sent))
            guard
                tape.append(
                    CassetteReply(
                        message: kept, microseconds: min(microseconds, 60_000_000), transport: message.transport),
                    to: key)
            else { return skip("a response beyond \(CassetteTape.maximumSize >> 20) MiB") }
            count += 1
        }
    }

    private mutating func skip(_ reason: String) { skipped[reason, default: 0] += 1 }
}
