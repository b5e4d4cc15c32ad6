import DNSWire
import Foundation
import LDNS
import LookupLog
import Testing

@testable import Daemon
@testable import LocalData
@testable import Lookup
@testable import Pipeline
@testable import Platform
@testable import Transports
@testable import Upstream

/// What a scenario's query got.
struct ScenarioAnswer {
    var rcode: String
    var flags: [String]
    var answers: [String]
    var authority: [String]
    var ede: UInt16?
    var source: String?
    var masked: Bool?

    init(message: [UInt8], decision: Decision?) throws {
        let packet = try LDNS.Message(wire: message)
        rcode = "\(packet.responseCode)"
        let bits = Header.Flags(rawValue: UInt16(message[2]) << 8 | UInt16(message[3]))
        let names: [(Header.Flags, String)] = [
            (.authoritative, "aa"), (.truncated, "tc"), (.recursionDesired, "rd"), (.recursionAvailable, "ra"),
            (.authenticData, "ad"), (.checkingDisabled, "cd"),
        ]
        flags = names.filter { bits.contains($0.0) }.map(\.1)
        answers = Self.lines(packet.records(.answer))
        authority = Self.lines(packet.records(.authority))
        ede = Self.extendedError(message)
        guard let decision else { return }
        masked = decision.masked
        source = "\(decision.source)"
        if !decision.place.isNowhere {
            let path = decision.place.path.split(separator: "/").last.map(String.init) ?? ""
            source =
                "\(decision.source) \(decision.place.line == 0 ? decision.place.path : "\(path):\(decision.place.line)")"
        }
    }

    private static func lines(_ records: [LDNS.Message.Record]) -> [String] {
        records.map {
            "\($0.owner) \($0.ttl) \($0.recordClass) \($0.type) \(Presentation.text(rdata: $0.rdata, type: $0.type))"
        }
    }

    private static func extendedError(_ message: [UInt8]) -> UInt16? {
        message.withUnsafeBytes { bytes in
            guard let opt = MessageReader.walk(bytes)?.opt, let base = bytes.baseAddress else { return nil }
            var cursor = opt.rdata
            while cursor + 4 <= opt.end {
                if base.readUInt16(cursor) == EDNS.Option.extendedError { return base.readUInt16(cursor + 4) }
                cursor += 4 + Int(base.readUInt16(cursor + 2))
            }
            return nil
        }
    }

    /// Compares with what the scenario says; what it does not mention is not looked at.
    func check(_ expected: Scenario.Expectation, _ path: String, seesDecision: Bool) {
        let place = "\(path):\(expected.line)"
        if let wanted = expected.rcode { #expect(rcode == wanted, "\(place)") }
        for flag in expected.flags {
            if flag.hasPrefix("-") {
                #expect(!flags.contains(String(flag.dropFirst())), "\(place): \(flag) in \(flags)")
            } else {
                #expect(flags.contains(flag), "\(place): \(flag) in \(flags)")
            }
        }
        if !expected.anyAnswers { #expect(answers == expected.answers, "\(place)") }
        if let wanted = expected.authority { #expect(Set(authority) == Set(wanted), "\(place)") }
        if let wanted = expected.ede { #expect(ede == wanted, "\(place)") }
        guard seesDecision else { return }
        if let wanted = expected.source { #expect(source == wanted, "\(place)") }
        if let wanted = expected.masked { #expect(masked == wanted, "\(place)") }
    }
}

/// Answers for zones as an upstream server would.
struct ScriptedUpstream {
    let zones: ZoneSet

    init(folder: URL) throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
        zones = ZoneSet(
            names.compactMap { name in
                let result = ZoneReader.read(path: folder.appending(path: name).path, name: nil)
                guard result.isLoadable, let apex = result.apex else {
                    Issue.record("\(name): \(result.diagnostics)")
                    return nil
                }
                return Zone(apex: apex, records: result.records, path: name)
            })
    }

    /// The whole answer, aliases followed through all its zones.
    func answer(_ message: [UInt8], mood: Scenario.UpstreamMood) -> [UInt8]? {
        guard mood != .dead else { return nil }
        var lookup = Lookup()
        return message.withUnsafeBytes { bytes -> [UInt8]? in
            guard lookup.query.parse(bytes, name: &lookup.name) == .resolve else { return nil }
            return withUnsafeTemporaryAllocation(byteCount: 4096, alignment: 8) { buffer -> [UInt8] in
                lookup.builder = ResponseBuilder(buffer: buffer, query: lookup.query, message: bytes, reserved: 0)
                lookup.takeQuestion()
                if mood == .servfail {
                    lookup.decision.responseCode = .serverFailure
                } else {
                    let pipeline = Pipeline(hosts: .empty(), zones: zones, special: .none, cache: AnswerCache())
                    _ = pipeline.resolve(&lookup)
                }
                let code = lookup.decision.responseCode.rawValue
                lookup.builder.finish(
                    flags: Header.Flags(rawValue: Header.Flags.response.rawValue | 0x0180 | code), questions: 1)
                return Array(lookup.builder.message)
            }
        }
    }
}

/// The world in which a scenario runs in process: one thread, a clock that only `pass` moves.
struct InProcessWorld: ~Copyable {
    private let configuration: Configuration
    private let cache: AnswerCache
    private let handler: QueryHandler
    private var lookup = Lookup()
    private var local: ServedData
    private let upstream: ScriptedUpstream
    private var mood = Scenario.UpstreamMood.alive
    private var now: UInt64 = 1_000_000_000
    private(set) var upstreamQueries = 0

    init(folder: URL, file: URL, hasUpstream: Bool) throws {
        var options: [Configuration.Option] = [
            .init("--hosts", "hosts.files", [folder.appending(path: "hosts").path]),
            .init("--zones", "zones.folders", [folder.appending(path: "zones").path]),
        ]
        options.append(
            hasUpstream
                ? .init("--upstream", "upstream.servers", ["127.0.0.1:1"])
                : .init("--no-upstream", "upstream.servers", ["none"]))
        let (configuration, diagnostics) = Configuration.read(file: file.path, options: options)
        try #require(!diagnostics.hasErrors, "\(diagnostics.list)")
        upstream = try ScriptedUpstream(folder: folder.appending(path: "upstream"))
        self.configuration = configuration
        let loaded = configuration.load()
        for problem in loaded.diagnostics.list where problem.severity == .error { Issue.record("\(problem)") }
        cache = AnswerCache(configuration.cache)
        local = ServedData(
            pipeline: Pipeline(hosts: loaded.hosts, zones: loaded.zones, special: loaded.special, cache: cache),
            service: ServiceSettings(cookie: ServerCookie()), recursionAvailable: hasUpstream)
        handler = QueryHandler(ring: nil)
    }

    mutating func pass(seconds: UInt64) { now += seconds * 1_000_000 }
    mutating func setMood(_ mood: Scenario.UpstreamMood) { self.mood = mood }

    mutating func reload() {
        let loaded = configuration.load()
        local = ServedData(
            pipeline: Pipeline(hosts: loaded.hosts, zones: loaded.zones, special: loaded.special, cache: cache),
            service: local.service, recursionAvailable: local.recursionAvailable)
    }

    mutating func ask(_ message: [UInt8]) throws -> ScenarioAnswer {
        var request = Lookup.Request(
            client: SocketAddress(high: 0, low: 0x7F00_0001, port: 40_000, isIPv6: false), transport: .tcp,
            arrival: Moment(wall: 0, monotonic: now))
        request.now = now
        lookup.upstream = UpstreamState()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65535, alignment: 8)
        defer { buffer.deallocate() }
        for _ in 0..<20 {
            let result = message.withUnsafeBytes {
                handler.handle($0, request, &lookup, local, into: buffer)
            }
            switch result {
            case .reply(let length):
                return try ScenarioAnswer(message: Array(buffer[..<length]), decision: lookup.decision)
            case .needs(let key):
                upstreamQueries += 1
                guard let answer = try fetch(key) else {
                    lookup.upstream.allowStale = true
                    lookup.upstream.failure = UpstreamState.Failure(.noReachableAuthority, "no upstream answers")
                    continue
                }
                cache.insert(answer, now: now)
                lookup.upstream.answers.append(answer)
            case .nothing, .transfer: throw Scenario.SyntaxError(description: "no answer")
            }
        }
        throw Scenario.SyntaxError(description: "the query asked upstream again and again")
    }

    private func fetch(_ key: FetchKey) throws -> UpstreamAnswer? {
        let name = Name(uncheckedWire: key.name)
        let query = try LDNS.Query.wire(
            name: name, type: key.type, id: 7, payloadSize: 1232, wantsSignatures: key.dnssecOK)
        guard let bytes = upstream.answer(query, mood: mood) else { return nil }
        return try bytes.withUnsafeBytes {
            try UpstreamAnswer.check($0, for: key, ttls: configuration.cache.ttls)
        }
    }
}
