import Foundation

/// The metrics of a server.
enum Metric: String, Codable, CaseIterable, Sendable {
    /// CPU time of the whole process per answered query, all threads, in microseconds.
    case cpu
    /// Queries per second with one core of load.
    case rate
    /// Latency at half that rate in microseconds: median and 99th percentile.
    case p50, p99
    /// Average size of an answer in bytes.
    case size
    /// Unanswered queries under full load.
    case lost
    /// Lines in the lookup log per answered query.
    case lines
    /// Seconds from exec to the first answer.
    case start
    /// Resident memory at the first answer, in megabytes (10^6 bytes).
    case memory
    /// CPU time until the first answer, in seconds.
    case startCPU
    /// Seconds from the change of a file to the first answer that shows it.
    case edit
    /// Seconds of a zone transfer, and its CPU time.
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

/// What stub53 must reach.
struct Bar: Sendable {
    /// At most this many times the echo of the same run.
    var echoes: Double?
    /// Below these in the same run.
    var below: [Peer] = []
    /// At most this, in the metric's unit.
    var most: Double?
    /// Two workers achieve at least this many times the rate of one.
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

/// One task, and the servers measured at it.
struct Work: Sendable {
    enum Kind: Sendable {
        /// Answers from `content` under full load, then under half of it.
        case answers(Content, Load)
        /// From exec to the first answer.
        case start(Content)
        /// An edit of a hosts file with this many lines, under a steady load.
        case edit(lines: Int)
        /// A transfer of a zone with this many names.
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
    /// The figures in the table, each with its bar.
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
        Work(
            id: "dot-upstream", title: "cache misses, upstream over TLS",
            kind: .answers(.forwardedEncrypted(https: false), .udp), servers: [.echo, .stub53, .unbound, .dnsdist],
            lines: [Line(metric: .cpu, bar: Bar(below: [.unbound]))]),
        Work(
            id: "doh-upstream", title: "cache misses, upstream over HTTPS",
            kind: .answers(.forwardedEncrypted(https: true), .udp), servers: [.echo, .stub53, .dnsdist],
            lines: [Line(metric: .cpu)]),
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

    /// Each query is for a new name.
    var isOfMisses: Bool { ["misses", "dot-upstream", "doh-upstream"].contains(id) }

    /// The tasks that `rows` select: by ID, or else by a prefix of it.
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
