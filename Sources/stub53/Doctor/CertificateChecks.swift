import DNSWire
import Daemon
import Flow
import Glibc
import Platform

/// Certificates, of the name's web server and of the daemon's own listeners, and the clock by which they are judged.
extension Examination {
    private enum Security {
        case trusted
        case distrusted([String])
        /// No web server answers over TLS.
        case unreachable(String)
    }

    private func security(of url: String, _ lookup: any NameLookup) async -> Security {
        var limits = FlowWalk.Limits()
        limits.step = .seconds(3)
        limits.total = .seconds(10)
        limits.redirects = 0
        limits.bytes = 1
        guard let start = try? FlowURL(typed: url),
            let walk = try? FlowWalk(lookup: lookup, agent: "stub53/\(Release.version)", limits: limits)
        else { return .unreachable("it can't be asked") }
        var reason = "it has no address"
        for step in await walk.walk(from: start).steps {
            switch step.event {
            case .certificate(let report): return report.isTrusted ? .trusted : .distrusted(report.problems)
            case .connectionFailure(let address, let words): reason = "\(address): \(words)"
            default: break
            }
        }
        return .unreachable(reason)
    }

    /// Of the name, where it leads to a server of the tester's own.
    func certificateFindings(_ name: Name, _ answers: Answers) async -> [Finding] {
        let addresses = answers.addresses.sorted().compactMap { SocketAddress(ip: $0, port: 443) }
        guard answers.both.contains(where: \.answer.isLocal), !addresses.isEmpty else { return [] }
        let shown = name.shown
        let isOnly = isHTTPSOnly(name)
        let why = "browsers ask for names of this top-level domain by https only"
        let mend = "serve it with a certificate that browsers trust"
        switch await security(of: "https://\(shown)/", KnownAddresses(addresses)) {
        case .trusted: return []
        case .distrusted(let problems):
            return [
                Finding(
                    .certificate, "browsers refuse the certificate of \(shown)",
                    why: problems.joined(separator: "; ") + (isOnly ? "; \(why)" : ""),
                    mend: mend + "; if it is valid, set this machine's clock")
            ]
        case .unreachable(let reason):
            guard isOnly else { return [] }
            return [
                Finding(
                    .name, "browsers never ask \(shown) by plain http",
                    why: "\(why), and port 443 does not answer: \(reason)",
                    mend: "\(mend), or use a name below .test")
            ]
        }
    }

    /// Of the daemon's own listener for HTTPS.
    func certificateFindings(_ daemon: Daemon) async -> [Finding] {
        var findings: [Finding] = []
        for url in daemon.statistics.addresses.compactMap(\.url) {
            guard case .distrusted(let problems) = await security(of: url, KnownAddresses([])) else { continue }
            findings.append(
                Finding(
                    .certificate, "browsers refuse the certificate of \(url)", why: problems.joined(separator: "; "),
                    mend: "'stub53 trust --install' if it is of the local CA; else give --certificate and --key"))
        }
        return findings
    }

    /// The clock, as far as this machine can tell by itself: nothing here is newer than now.
    var clockFindings: [Finding] {
        let program = "/proc/self/exe"
        var status = stat()
        guard stat(program, &status) == 0 else { return [] }
        let made = Int(status.st_mtim.tv_sec)
        guard machine.now + 86_400 < made else { return [] }
        return [
            Finding(
                .clock, "this machine's clock is wrong",
                why: "it says \(CalendarTime(seconds: machine.now).date), and this program is of "
                    + "\(CalendarTime(seconds: made).date): certificates seem not to be valid yet",
                mend: "set it, as with 'timedatectl set-ntp true'")
        ]
    }
}

/// Answers with addresses that are known, so that the doctor is not among those who asked for the name.
private struct KnownAddresses: NameLookup {
    private let addresses: [SocketAddress]

    init(_ addresses: [SocketAddress]) { self.addresses = addresses }

    var description: String { "what the daemon says" }

    func ask(_ name: Name, _ type: RecordType) throws(LookupFailure) -> LookupAnswer {
        let records = addresses.filter { type == ($0.isIPv6 ? .aaaa : .a) }.map { address in
            let bytes = [address.high, address.low].flatMap { word in
                (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * $0)) }
            }
            return LookupAnswer.Record(
                owner: name, type: type, ttl: 0, rdata: bytes.suffix(address.isIPv6 ? 16 : 4), text: address.ip)
        }
        return LookupAnswer(records: records, responseCode: .noError)
    }
}
