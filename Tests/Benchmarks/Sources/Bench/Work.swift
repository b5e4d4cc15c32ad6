import Foundation

/// What is measured of a server.
enum Metric: String, Codable, CaseIterable, Sendable {
    /// Microseconds of whole-process CPU time per answered query, all threads.
    case cpu
    /// Queries per second, as many as one core of load asks for.
    case rate
    /// Microseconds to the answer at half that rate: median, and what 99 of 100 stay below.
    case p50, p99
    /// Bytes of an answer, on average.
    case size
    /// Queries of the full load without an answer.
    case lost
    /// Lines of the lookup log for each answered query.
    case lines
    /// Seconds from exec to the first answer.
    case start
    /// Resident megabytes (10^6 bytes) when it first answers.
    case memory
    /// Seconds of CPU time until then.
    case startCPU
    /// Seconds from the change of a file to the first answer from it.
    case edit
    /// Seconds of a zone transfer, and of CPU time for it.
    case transfer, transferCPU

    var unit: String {
        switch self {
        case .cpu, .p50, .p99: "us"
        case .rate: "q/s"
        case .lost, .lines: ""
        case .start, .startCPU, .edit, .transfer, .transferCPU: "s"
        case .memory: "MB"
        case .size: "B"
        }
    }

    var title: String {
        switch self {
        case .cpu: "CPU per query"
        case .rate: "queries per second"
        case .p50: "p50 at half load"
        case .p99: "p99 at half load"
        case .size: "size of an answer"
        case .lost: "queries lost"
        case .lines: "log lines per query"
        case .start: "start to first answer"
        case .memory: "resident memory"
        case .startCPU: "CPU of the start"
        case .edit: "save to new answer"
        case .transfer: "time"
        case .transferCPU: "CPU"
        }
    }
}

/// What stub53 has to reach.
struct Bar: Sendable {
    /// At most so many times the echo of the same run.
    var echoes: Double?
    /// Below these in the same run.
    var below: [Peer] = []
    /// At most this, in the metric's unit.
    var most: Double?
    /// Two workers carry at least so many times what one carries.
    var scale: Double?

    var text: String {
        var parts: [String] = []
        if let echoes { parts.append("<= \(Report.number(echoes)) x echo") }
        if !below.isEmpty { parts.append("below \(below.map(\.rawValue).joined(separator: ", "))") }
        if let most { parts.append("<= \(Report.number(most))") }
        if let scale { parts.append(">= \(Report.number(scale)) x one") }
        return parts.joined(separator: ", ")
    }
}

/// One thing that servers do, and who does it.
struct Work: Sendable {
    enum Kind: Sendable {
        /// Answers of `content` under full load, then under half of it.
        case answers(Content, Load)
        /// From exec to the first answer.
        case start(Content)
        /// An edit of a hosts file of so many lines, under a steady load.
        case edit(lines: Int)
        /// A transfer of a zone of so many names.
        case transfer(names: Int)
    }

    struct Line: Sendable {
        var metric: Metric
        var bar: Bar?
    }

    var id: String
    var title: String
    var kind: Kind
    var servers: [Peer]
    /// The figures of the table, each with what it has to be.
    var lines: [Line]

    static let all: [Work] = answers + encrypted + files + growth + [workers]

    private static let answers: [Work] = [
        Work(
            id: "overrides", title: "overrides, 100,000 names", kind: .answers(.hosts(100_000), .udp),
            servers: [.echo, .stub53, .unbound, .dnsmasq], lines: [Line(metric: .cpu, bar: Bar(echoes: 1.2))]),
        Work(
            id: "logged", title: "the same, every lookup logged to a file",
            kind: .answers(.loggedHosts(100_000), .udp), servers: [.echo, .stub53, .unbound, .dnsmasq],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 1.5))]),
        Work(
            id: "kept", title: "and kept in the history", kind: .answers(.keptHosts(100_000), .udp),
            servers: [.echo, .stub53], lines: [Line(metric: .cpu, bar: Bar(echoes: 2.0))]),
        Work(
            id: "zone", title: "zone, 10,000 names, wildcards, NXDOMAIN", kind: .answers(.zone(10_000), .udp),
            servers: [.echo, .stub53, .nsd, .knot, .unbound],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 1.2, below: [.nsd]))]),
        Work(
            id: "cache", title: "cache hits, 2,000 names", kind: .answers(.forwarded, .udp),
            servers: [.echo, .stub53, .unbound, .dnsdist, .recursor, .dnsmasq],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 1.25, below: [.unbound, .dnsdist]))]),
        Work(
            id: "misses", title: "cache misses, distinct names", kind: .answers(.forwarded, .udp),
            servers: [.echo, .stub53, .unbound, .dnsdist, .recursor, .dnsmasq],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 3.5, below: [.dnsdist]))]),
        Work(
            id: "tcp", title: "TCP, ten connections, pipelined", kind: .answers(.zone(10_000), .tcp(connections: 10)),
            servers: [.echo, .stub53, .nsd, .knot, .unbound, .dnsdist],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 2.3, below: [.dnsdist]))]),
        Work(
            id: "tcp-one", title: "TCP, one connection, pipelined", kind: .answers(.zone(10_000), .tcp(connections: 1)),
            servers: [.echo, .stub53, .nsd, .knot, .unbound],
            lines: [Line(metric: .cpu, bar: Bar(below: [.nsd, .knot, .unbound]))]),
        Work(
            id: "tcp-each", title: "TCP, a connection for each query, one by one",
            kind: .answers(.zone(10_000), .tcpEach), servers: [.echo, .stub53, .nsd, .knot, .unbound],
            lines: [Line(metric: .cpu, bar: Bar(below: [.nsd, .knot, .unbound]))]),
    ]

    private static let encrypted: [Work] = [
        Work(
            id: "dot", title: "DNS over TLS, ten connections",
            kind: .answers(.encryptedZone(10_000, https: false), .dot), servers: [.echo, .stub53, .unbound],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 4.5, below: [.unbound]))]),
        Work(
            id: "doh", title: "DNS over HTTPS, HTTP/2, ten connections",
            kind: .answers(.encryptedZone(10_000, https: true), .doh), servers: [.echo, .stub53, .unbound],
            lines: [Line(metric: .cpu, bar: Bar(echoes: 5.5, below: [.unbound]))]),
    ]

    private static let files: [Work] = [
        Work(
            id: "million-hosts", title: "block list of 1,000,000 lines", kind: .start(.hosts(1_000_000)),
            servers: [.stub53, .dnsmasq, .unbound],
            lines: [Line(metric: .start, bar: Bar(most: 0.5)), Line(metric: .memory, bar: Bar(most: 80))]),
        Work(
            id: "million-zone", title: "zone of 1,000,000 names", kind: .start(.zone(1_000_000)),
            servers: [.stub53, .nsd, .knot],
            lines: [
                Line(metric: .start, bar: Bar(below: [.nsd, .knot])),
                Line(metric: .memory, bar: Bar(below: [.nsd, .knot])),
            ]),
        Work(
            id: "transfer", title: "AXFR of it", kind: .transfer(names: 1_000_000), servers: [.stub53, .nsd, .knot],
            lines: [
                Line(metric: .transfer, bar: Bar(below: [.nsd, .knot])),
                Line(metric: .transferCPU, bar: Bar(below: [.nsd, .knot])),
            ]),
        Work(
            id: "edit", title: "edit of a 100,000-line hosts file", kind: .edit(lines: 100_000),
            servers: [.stub53, .dnsmasq],
            lines: [Line(metric: .edit, bar: Bar(most: 0.1)), Line(metric: .lost, bar: Bar(most: 0))]),
        Work(
            id: "start", title: "default configuration", kind: .start(.nothing),
            servers: [.stub53, .dnsmasq, .unbound],
            lines: [Line(metric: .start, bar: Bar(most: 0.05)), Line(metric: .memory)]),
    ]

    private static let growth: [Work] = [3, 4, 5, 6].flatMap { exponent in
        let count = (0..<exponent).reduce(1) { product, _ in product * 10 }
        return [
            Work(
                id: "growth-hosts-\(exponent)", title: "overrides, 10^\(exponent) names",
                kind: .answers(.hosts(count), .udp), servers: [.echo, .stub53, .unbound, .dnsmasq],
                lines: [Line(metric: .cpu)]),
            Work(
                id: "growth-zone-\(exponent)", title: "zone, 10^\(exponent) names",
                kind: .answers(.zone(count), .udp), servers: [.echo, .stub53, .nsd, .knot], lines: [Line(metric: .cpu)]),
        ]
    }

    private static let workers = Work(
        id: "workers", title: "overrides, two workers", kind: .answers(.hosts(100_000), .udp),
        servers: [.echo, .stub53, .stub53Two], lines: [Line(metric: .cpu, bar: Bar(scale: 1.8))])

    /// The works that `rows` name: by id, or else by the beginning of ids.
    static func chosen(_ rows: [String]) throws -> [Work] {
        if rows.isEmpty { return all }
        var chosen = Set<String>()
        for row in rows {
            let exact = all.filter { $0.id == row }
            let found = exact.isEmpty ? all.filter { $0.id.hasPrefix(row) } : exact
            guard !found.isEmpty else {
                throw Failure("ROWS=\(row): there is no such row; there are \(all.map(\.id).joined(separator: " "))")
            }
            chosen.formUnion(found.map(\.id))
        }
        return all.filter { chosen.contains($0.id) }
    }
}
