import Foundation

/// How queries arrive.
enum Load: Sendable, Hashable {
    case udp
    /// Pipelined over persistent connections.
    case tcp(connections: Int)
    /// Over ten persistent encrypted connections.
    case dot, doh
    /// One connection per query.
    case tcpEach

}

/// Load at full speed: the next question is sent when an answer arrives. Uses dnsperf where possible.
struct FullLoad {
    var completed: Double
    var lost: Double
    /// Queries per second.
    var rate: Double
    /// The share of NOERROR answers.
    var noError: Double
    /// The average size of queries and answers, in bytes.
    var querySize: Double
    var answerSize: Double

    /// Asks the questions in a file repeatedly for `seconds`, or each of them once. Over UDP there are ten clients with
    /// ten queries in flight for each of the server's `workers`.
    init(
        _ load: Load, workers: Int = 1, port: UInt16, questions: String, seconds: Int?, settings: Settings,
        folder: String
    ) throws {
        let outstanding = ["-q", "\(100 * workers)"]
        switch load {
        case .udp:
            let options = ["-m", "udp", "-c", "\(10 * workers)"] + outstanding
            try self.init(dnsperf: options, port, questions, seconds, settings, folder)
        case .tcp(let connections):
            let options = ["-m", "tcp", "-c", "\(connections)"] + outstanding
            try self.init(dnsperf: options, port, questions, seconds, settings, folder)
        case .dot, .doh:
            var options = ["-m", load == .dot ? "dot" : "doh", "-c", "10"] + outstanding
            if load == .doh { options += ["-O", "doh-uri=https://localhost/dns-query", "-O", "doh-method=POST"] }
            try self.init(dnsperf: options, port, questions, seconds, settings, folder)
        case .tcpEach: try self.init(connectionEach: port, questions: questions, seconds: seconds ?? 1)
        }
    }

    private init(
        dnsperf options: [String], _ port: UInt16, _ questions: String, _ seconds: Int?, _ settings: Settings,
        _ folder: String
    ) throws {
        let target = [
            "dnsperf", "-s", "127.0.0.1", "-p", "\(port)", "-T", "1", "-t", "2", "-d", questions,
        ]
        let command = target + options + (seconds.map { ["-l", "\($0)"] } ?? ["-n", "1"])
        let child = try Child(command, cores: settings.loadCores, output: "\(folder)/dnsperf")
        let code = child.wait()
        let text = (try? String(contentsOfFile: child.output, encoding: .utf8)) ?? ""
        /// The number after `word` on the line that begins with `label`.
        func figure(_ label: String, after word: String? = nil) throws -> Double {
            for line in text.split(separator: "\n") {
                let parts = line.split(separator: ":", maxSplits: 1)
                guard parts.count == 2, parts[0].trimmingCharacters(in: .whitespaces) == label else { continue }
                let words = parts[1].split { $0 == " " || $0 == "," }
                guard let word else { return words.first.flatMap { Double($0) } ?? 0 }
                return words.drop { $0 != word }.dropFirst().first.flatMap { Double($0) } ?? 0
            }
            throw Failure("dnsperf ended with code \(code) and without a figure for '\(label)':\n\(child.lastLines)")
        }
        completed = try figure("Queries completed")
        lost = try figure("Queries lost")
        rate = try figure("Queries per second")
        noError = try figure("Response codes", after: "NOERROR") / max(completed, 1)
        querySize = try figure("Average packet size", after: "request")
        answerSize = try figure("Average packet size", after: "response")
        guard completed > 0 else { throw Failure("dnsperf: no query was answered\n\(child.lastLines)") }
    }
}

/// Queries at a fixed rate, whether answered or not. Latency counts from when a query was due, so that a server's pause
/// counts for all queries during it.
struct SteadyLoad {
    /// In seconds, sorted.
    var latencies: [Double] = []
    /// Queries unanswered a second after they were due.
    var lost = 0
    /// When the first answer to the watched question had the watched address, in seconds since the start.
    var watchedAt: Double?

    /// A question asked between the others until its answer has this address.
    struct Watch {
        var question: Question
        var address: [UInt8]
        /// One in this many queries.
        var every = 8
    }

    /// How long to wait for the watched answer, in seconds.
    private static let patience = 30.0

    /// Asks for `seconds`, or longer until the watched answer has come.
    ///
    /// - Parameters:
    ///   - rate: queries per second.
    ///   - event: called once, `eventAt` seconds after the start.
    init(
        port: UInt16, questions: [Question], rate: Double, seconds: Double, watch: Watch? = nil,
        eventAt: Double = .infinity,
        event: () throws -> Void = {}
    ) throws {
        let socket = try LoopbackSocket(SOCK_DGRAM, port: port)
        socket.enlargeBuffer()
        let messages = questions.map { $0.message(id: 0) }
        let watched = watch?.question.message(id: 0) ?? []
        // When the query with each ID was due; infinite if none is outstanding.
        var due = [Double](repeating: .infinity, count: 65_536)
        var isWatched = [Bool](repeating: false, count: 65_536)
        var buffer = [UInt8](repeating: 0, count: 4096)
        var sent = 0
        var isEventOver = false
        latencies.reserveCapacity(Int(rate * seconds))

        let start = Clock.now()
        var end = start + seconds
        // When the next query is due. It depends on nothing but the clock: if it is far behind, this process was not
        // running, and the server must not be charged with a burst to catch up.
        var next = start
        while true {
            let now = Clock.now()
            if now - next > 0.005 { next = now }
            if watch != nil, watchedAt == nil, now > end, now < start + Self.patience { end = now + 0.5 }
            if now > end + 1 { break }
            if !isEventOver, now - start >= eventAt {
                isEventOver = true
                try event()
            }
            // A few at a time, so that answers don't wait for a burst of queries.
            var burst = 0
            while burst < 8, next <= min(now, end) {
                let id = sent & 65_535
                if due[id] != .infinity { lost += 1 }
                due[id] = next
                next += 1 / rate
                isWatched[id] = watch.map { sent % $0.every == 0 } ?? false
                var message = isWatched[id] ? watched : messages[sent % messages.count]
                message[0] = UInt8(id >> 8)
                message[1] = UInt8(id & 255)
                send(socket.descriptor, message, message.count, 0)
                sent += 1
                burst += 1
            }
            while true {
                let length = recv(socket.descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                if length < 12 { break }
                let received = Clock.now()
                let id = Int(buffer[0]) << 8 | Int(buffer[1])
                guard due[id] != .infinity else { continue }
                latencies.append(received - due[id])
                due[id] = .infinity
                // Without EDNS, an answer ends with the address.
                if let watch, isWatched[id], watchedAt == nil, Array(buffer[(length - 4)..<length]) == watch.address {
                    watchedAt = received - start
                }
            }
            if now > end, latencies.count + lost >= sent { break }
        }
        lost += due.count { $0 != .infinity }
        latencies.sort()
    }

    /// The latency that this share of the answers did not exceed, in seconds.
    func quantile(_ share: Double) -> Double {
        latencies.isEmpty ? .infinity : latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))]
    }
}

/// A complete zone transfer.
struct Transfer {
    private(set) var seconds = 0.0
    /// Records, including both SOAs.
    private(set) var records = 0

    init(port: UInt16, apex: String) throws {
        let begin = Clock.now()
        let socket = try LoopbackSocket(SOCK_STREAM, port: port)
        let query = Question(name: apex, type: 252).message(id: 53)
        let framed = [UInt8(query.count >> 8), UInt8(query.count & 255)] + query
        guard send(socket.descriptor, framed, framed.count, 0) == framed.count else { throw Failure("AXFR: not sent") }

        var buffer = [UInt8](repeating: 0, count: 1 << 20)
        var start = 0
        var end = 0
        var isLast = false
        while !isLast {
            guard socket.isReadable(within: 30_000) else { throw Failure("AXFR: nothing for 30 s") }
            let length = buffer.withUnsafeMutableBytes { bytes in
                let free = UnsafeMutableRawBufferPointer(rebasing: bytes[end...])
                return recv(socket.descriptor, free.baseAddress, free.count, 0)
            }
            guard length > 0 else { throw Failure("AXFR: ended after \(records) records, before its second SOA") }
            end += length
            while end - start >= 2 {
                let size = Int(buffer[start]) << 8 | Int(buffer[start + 1])
                if end - start < 2 + size { break }
                isLast = try read(buffer[(start + 2)..<(start + 2 + size)])
                start += 2 + size
            }
            buffer.withUnsafeMutableBytes { $0.copyBytes(from: UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
            end -= start
            start = 0
        }
        seconds = Clock.now() - begin
    }

    /// Counts a message's records; returns whether the last one is the final SOA.
    private mutating func read(_ message: ArraySlice<UInt8>) throws -> Bool {
        let base = message.startIndex
        func word(_ offset: Int) throws -> Int {
            guard base + offset + 1 < message.endIndex else { throw Failure("AXFR: a message that is cut off") }
            return Int(message[base + offset]) << 8 | Int(message[base + offset + 1])
        }
        func skipName(_ offset: Int) throws -> Int {
            var cursor = offset
            while true {
                let length = try word(cursor) >> 8
                if length == 0 { return cursor + 1 }
                if length >= 0xC0 { return cursor + 2 }
                cursor += 1 + length
            }
        }
        guard try word(2) & 15 == 0 else { throw Failure("AXFR: refused with code \(try word(2) & 15)") }
        var cursor = 12
        for _ in 0..<(try word(4)) { cursor = try skipName(cursor) + 4 }
        var last = 0
        for _ in 0..<(try word(6)) {
            let isFirst = records == 0
            cursor = try skipName(cursor)
            last = isFirst ? 0 : try word(cursor)
            cursor += 10 + (try word(cursor + 8))
            records += 1
        }
        return last == 6
    }
}
