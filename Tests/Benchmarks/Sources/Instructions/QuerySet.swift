import DNSWire
import Lookup
import LookupLog
import Pipeline
import Platform

/// Queries in wire form, adjacent in memory.
struct QuerySet {
    private var bytes: [UInt8] = []
    private var ranges: [Range<Int>] = []

    init(names: [String]) {
        for name in names {
            let start = bytes.count
            bytes += Self.query(name)
            ranges.append(start..<bytes.count)
        }
    }

    /// RD=1, one question, type A.
    static func query(_ name: String) -> [UInt8] {
        [0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + (Name(name) ?? .root).wire + [0, 1, 0, 1]
    }

    private func forEach(_ count: Int, _ body: (UnsafeRawBufferPointer) -> Bool) -> Int {
        var good = 0
        bytes.withUnsafeBytes { all in
            var next = 0
            for _ in 0..<count {
                if body(UnsafeRawBufferPointer(rebasing: all[ranges[next]])) { good += 1 }
                next = next + 1 == ranges.count ? 0 : next + 1
            }
        }
        return good
    }

    func repeatParsing(_ count: Int) -> Int {
        var query = Query()
        var name = LookupName()
        return forEach(count) { query.parse($0, name: &name) == .resolve }
    }

    /// Takes queries through all sources like `QueryHandler`, without the transport's part.
    func repeatAnswering(_ count: Int, _ pipeline: Pipeline, _ isExpected: (borrowing Decision) -> Bool) -> Int {
        let client = SocketAddress(high: 0, low: 0x7F00_0001, port: 54321, isIPv6: false)
        let request = Lookup.Request(
            client: client, transport: .udp, arrival: Moment(wall: 1_000_000, monotonic: 1_000_000))
        var lookup = Lookup()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1232, alignment: 16)
        defer { buffer.deallocate() }
        return forEach(count) { message in
            lookup.begin(request)
            guard lookup.query.parse(message, name: &lookup.name) == .resolve else { return false }
            lookup.takeQuestion()
            lookup.question.mayForward = true
            lookup.builder.begin(buffer, query: lookup.query, message: message, reserved: 0)
            let outcome = pipeline.resolve(&lookup)
            lookup.builder.finish(flags: .response, questions: 1)
            return outcome == .answered && isExpected(lookup.decision)
        }
    }

    /// Logs an override's lookup `count` times; queries and answers are prepared.
    func repeatLogging(_ count: Int, _ ring: LookupRing) {
        let faults = Faults()
        var decision = Decision()
        decision.source = .hosts
        decision.place = Place(path: "/etc/hosts", line: 12)
        decision.authoritative = true
        // Not on this machine: whether a local client's process has been found yet depends on another thread.
        guard let client = SocketAddress(ip: "192.0.2.9", port: 54321) else { return }
        let lookups = answeredQueries()
        let time: UInt64 = 1_795_453_200_123_456
        for index in 0..<count {
            let (query, answer) = lookups[index % lookups.count]
            answer.withUnsafeBytes {
                ring.append(
                    time: time + UInt64(index) * 11, client: client, transport: .udp, query: query, decision: decision,
                    faults: faults,
                    response: $0, answers: 1, durationMicroseconds: 11)
            }
        }
    }

    /// Each parsed query, with an answer of one address.
    private func answeredQueries() -> [(Query, [UInt8])] {
        var lookups: [(Query, [UInt8])] = []
        var name = LookupName()
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1232, alignment: 16)
        defer { buffer.deallocate() }
        _ = forEach(ranges.count) { message in
            var query = Query()
            guard query.parse(message, name: &name) == .resolve else { return false }
            var builder = ResponseBuilder(buffer: buffer, query: query, message: message, reserved: 0)
            let address: InlineArray<4, UInt8> = [127, 0, 0, 1]
            address.span.withUnsafeBytes {
                _ = builder.append(owner: .at(Header.length), type: .a, ttl: 0, rdata: $0)
            }
            lookups.append((query, Array(builder.message)))
            return true
        }
        return lookups
    }
}
