import Foundation

/// The result of one measurement of one server.
typealias Sample = [Metric: Double]

/// Measures one server at one task, from its start to its end.
struct Measurement {
    let settings: Settings
    let data: DataFiles
    let starter: Starter
    let folder: String

    init(settings: Settings, folder: String) {
        self.settings = settings
        self.folder = folder
        data = DataFiles(folder: folder)
        starter = Starter(settings: settings, data: data, folder: folder)
    }

    func measure(_ work: Work, _ peer: Peer) throws -> Sample {
        switch work.kind {
        case .answers(let content, let load):
            // The baseline is always one datagram in and one out.
            return try withServer(peer, content) { server in
                try answers(server, peer, content, peer == .echo ? .udp : load, missing: work.isOfMisses)
            }
        case .start(let content): return try withServer(peer, content) { _ in [:] }
        case .transfer(let names): return try withServer(peer, .zone(names)) { try transfer($0, names) }
        case .edit(let lines): return try edit(peer, lines)
        }
    }

    private func withServer(_ peer: Peer, _ content: Content, _ body: (Server) throws -> Sample) throws -> Sample {
        let servers = try starter.start(peer, content)
        defer { for server in servers.reversed() { server.stop() } }
        guard let server = servers.last else { return [:] }
        var sample: Sample = [
            .start: server.startTime, .memory: server.memory / 1e6, .startCPU: server.child.processorTime,
        ]
        sample.merge(try body(server), uniquingKeysWith: { $1 })
        return sample
    }

    // MARK: Answers

    private func answers(
        _ server: Server, _ peer: Peer, _ content: Content, _ load: Load, missing: Bool
    ) throws -> Sample {
        let questions = try questions(content, missing: missing)
        func full(_ seconds: Int?) throws -> FullLoad {
            try FullLoad(
                load, workers: peer == .stub53Two ? 2 : 1,
                port: peer == .echo ? server.port : server.setup.encryptedPort ?? server.port, questions: questions,
                seconds: seconds,
                settings: settings, folder: folder)
        }
        // Fills the cache for hits, and uses all code and data once.
        if !missing { _ = try full(content == .forwarded ? nil : 1) }

        let before = server.child.processorTime
        let result = try full(settings.seconds)
        // Includes remaining work for these queries, such as writing the last lines of a log.
        usleep(50_000)
        let spent = server.child.processorTime - before
        if peer != .echo { try check(result, content) }
        var sample: Sample = [
            .cpu: spent / result.completed * 1e6, .rate: result.rate, .lost: result.lost, .size: result.answerSize,
        ]
        if case .loggedHosts = content, peer != .echo {
            sample[.lines] = try linesPerQuery(server, questions: questions)
        }
        if load == .udp, !missing {
            let steady = try SteadyLoad(
                port: server.port, questions: sampleQuestions(content), rate: result.rate / 2,
                seconds: Double(settings.seconds))
            sample[.p50] = steady.quantile(0.5) * 1e6
            sample[.p99] = steady.quantile(0.99) * 1e6
        }
        return sample
    }

    /// Errors are cheap to answer: figures count only if the answers are the data.
    private func check(_ result: FullLoad, _ content: Content) throws {
        var expected = 1.0
        switch content {
        case .zone, .encryptedZone: expected = DataFiles.existingShare
        default: break
        }
        // Allow four standard deviations: a short run has few questions.
        let chance = 4 * (expected * (1 - expected) / result.completed).squareRoot()
        guard abs(result.noError - expected) < 0.01 + chance else {
            throw Failure("\(result.noError) of the answers are NOERROR instead of \(expected)")
        }
        // An A record after the question takes 16 bytes.
        guard result.answerSize >= result.querySize + 15 * expected else {
            throw Failure("answers of \(result.answerSize) bytes to queries of \(result.querySize) hold no addresses")
        }
    }

    /// Lines in the lookup log per query: losing lines would be an advantage.
    private func linesPerQuery(_ server: Server, questions: String) throws -> Double {
        let path =
            server.setup.folder + "/" + (server.setup.command[0] == "unbound" ? "unbound.log" : Starter.lookupLog)
        usleep(300_000)
        let before = try lineCount(path)
        let result = try FullLoad(
            .udp, port: server.port, questions: questions, seconds: nil, settings: settings, folder: folder)
        usleep(300_000)
        return (try lineCount(path) - before) / result.completed
    }

    private func lineCount(_ path: String) throws -> Double {
        guard let file = fopen(path, "r") else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        var count = 0
        while case let length = fread(&bytes, 1, bytes.count, file), length > 0 {
            count += bytes[..<length].count { $0 == UInt8(ascii: "\n") }
        }
        return Double(count)
    }

    private func questions(_ content: Content, missing: Bool) throws -> String {
        switch content {
        case .nothing: throw Failure("nothing to ask")
        case .hosts(let count), .loggedHosts(let count), .keptHosts(let count): try data.hostQuestions(count)
        case .zone(let count), .encryptedZone(let count, _): try data.zoneQuestions(count)
        // More than any server gets through.
        case .forwarded, .forwardedEncrypted:
            try data.remoteQuestions(missing ? 300_000 * max(settings.seconds, 1) : 2000)
        }
    }

    private func sampleQuestions(_ content: Content) -> [Question] {
        (0..<1000).map { index in
            switch content {
            case .nothing: Question(name: "localhost.")
            case .hosts(let count), .loggedHosts(let count), .keptHosts(let count):
                Question(name: DataFiles.host(index * 7919 % count))
            case .zone(let count), .encryptedZone(let count, _): Question(name: DataFiles.owner(index * 7919 % count))
            case .forwarded, .forwardedEncrypted: Question(name: "www.remote\(index).example.")
            }
        }
    }

    // MARK: Files

    private func transfer(_ server: Server, _ names: Int) throws -> Sample {
        let before = server.child.processorTime
        let transfer = try Transfer(port: server.port, apex: DataFiles.apex)
        let spent = server.child.processorTime - before
        let expected = DataFiles.recordCount(names) + 1
        guard transfer.records == expected else {
            throw Failure("AXFR: \(transfer.records) records instead of \(expected)")
        }
        return [.transfer: transfer.seconds, .transferCPU: spent]
    }

    /// Replaces a file under load, as editors do; a server that does not watch files gets a signal.
    private func edit(_ peer: Peer, _ lines: Int) throws -> Sample {
        let original = try data.hosts(lines)
        let kept = original + ".kept"
        let edited = original + ".edited"
        let question = Question(name: DataFiles.host(lines / 2))
        let old = "\(DataFiles.hostAddress(lines / 2, of: lines)) \(question.name.dropLast())\n"
        let text = try String(contentsOfFile: original, encoding: .utf8)
        try text.write(toFile: kept, atomically: false, encoding: .utf8)
        defer { rename(kept, original) }
        try text.replacing(old, with: "192.0.2.53 \(question.name.dropLast())\n")
            .write(toFile: edited, atomically: false, encoding: .utf8)

        return try withServer(peer, .hosts(lines)) { server in
            let eventAt = 0.5
            let steady = try SteadyLoad(
                port: server.port, questions: sampleQuestions(.hosts(lines)), rate: Self.editRate,
                seconds: 3, watch: .init(question: question, address: [192, 0, 2, 53]),
                eventAt: eventAt
            ) {
                guard rename(edited, original) == 0 else {
                    throw Failure("rename: \(String(cString: strerror(errno)))")
                }
                if peer != .stub53 { kill(server.child.pid, SIGHUP) }
            }
            guard let watchedAt = steady.watchedAt else {
                throw Failure("\(peer.rawValue): the edit was never answered")
            }
            return [
                .edit: watchedAt - eventAt, .lost: Double(steady.lost), .p50: steady.quantile(0.5) * 1e6,
                .p99: steady.quantile(0.99) * 1e6,
            ]
        }
    }

    /// Queries per second during the edit.
    private static let editRate = 10_000.0
}
