import DNSWire
import Daemon
import FoundationEssentials
import Inspector
import Platform

/// When each process asked for the name the last time, and what it was told.
extension Examination {
    private struct Asked: Decodable {
        struct Process: Decodable {
            let pid: Int32
            let command: String
        }
        let time: String
        let client: String
        let process: Process?
        let type: String?
        let rcode: String?
        let rule: String?
        let answers: [String]?

        /// It runs still, so that it may hold what it was told. A program of this machine that is not known has most
        /// often ended; of other machines nothing is known.
        var isRunning: Bool {
            guard let process else { return SocketAddress(text: client)?.isLoopback == false }
            guard let command = try? FileText.bytes(of: "/proc/\(process.pid)/comm", limit: 4096) else { return false }
            return String(decoding: command, as: UTF8.self)[...].trimmed == process.command[...]
        }

        var who: String { process.map { "\($0.command) (process \($0.pid))" } ?? client }

        var addresses: Set<String> { (answers ?? []).addresses }
    }

    private static let most = 2000
    private static let mostShown = 10

    func lookupFindings(_ name: Name, _ answers: Answers, _ daemon: Daemon) async throws -> [Finding] {
        var bytes: [UInt8] = []
        do {
            let filter = "name:\(name)".percentEncoded
            try await daemon.client.send(.get, "/v1/lookups?format=json&limit=\(Self.most)&filter=\(filter)") {
                bytes += $0
            }
        } catch {
            // It keeps no lookups.
            return [
                Finding(
                    .lookups, "who asked for \(name.shown) is not known", why: "\(error)",
                    mend: "start the daemon with --history PATH")
            ]
        }
        let decoder = JSONDecoder()
        let lookups = bytes.split(separator: UInt8(ascii: "\n")).compactMap {
            try? decoder.decode(Asked.self, from: Data($0))
        }
        guard !lookups.isEmpty else {
            return [
                Finding(
                    .lookups, "no program has asked stub53 for \(name.shown)",
                    why: "its history has no lookup of the name",
                    mend:
                        "see that the program asks this machine's resolver: a browser may have the name in its own "
                        + "cache, or ask a server of its own (DNS over HTTPS)")
            ]
        }
        var findings: [Finding] = []
        // Upstream's answers change by themselves.
        for now in answers.both where now.answer.isLocal {
            // The oldest come first.
            var last: [String: Asked] = [:]
            for lookup in lookups where lookup.type == now.type {
                // Another port is no other program.
                let address = lookup.client.split(separator: ":").dropLast().joined(separator: ":")
                last[lookup.process.map { "\($0.command) \($0.pid)" } ?? address] = lookup
            }
            for asked in last.values.sorted(by: { $0.time > $1.time })
            where asked.isRunning && (asked.addresses != now.addresses || asked.rcode != now.answer.responseCode) {
                let told =
                    asked.addresses.isEmpty
                    ? asked.rcode ?? "nothing" : asked.addresses.sorted().joined(separator: ", ")
                findings.append(
                    Finding(
                        .lookups, "\(asked.who) has not asked for \(name.shown) \(now.type) since it changed",
                        why: "at \(asked.time) it was told \(told)\(asked.rule.map { " (\($0))" } ?? ""); now it is "
                            + "\(now.answer.summary)\(now.answer.rule.map { " (\($0))" } ?? "")",
                        mend: "have it ask again: restart it, or clear its cache (chrome://net-internals/#dns, "
                            + "about:networking#dns)"))
            }
        }
        return Array(findings.prefix(Self.mostShown))
    }
}
