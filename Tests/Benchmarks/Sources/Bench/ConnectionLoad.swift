import Foundation

extension FullLoad {
    /// One connection per query, sequentially: with several at once, knot 3.2 leaves some waiting for its next sweep.
    /// (dnsperf can do this too, but waits 100 ms before each connection.)
    init(connectionEach port: UInt16, questions: String, seconds: Int) throws {
        let text = try String(contentsOfFile: questions, encoding: .utf8)
        let messages = text.split(separator: "\n").prefix(20_000).map { line in
            let message = Question(name: String(line.prefix { $0 != " " })).message(id: 53)
            return [UInt8(message.count >> 8), UInt8(message.count & 255)] + message
        }
        guard !messages.isEmpty else { throw Failure("\(questions) holds no questions") }

        var sent = 0
        var answered = 0.0
        var good = 0.0
        var queryBytes = 0.0
        var answerBytes = 0.0
        var buffer = [UInt8](repeating: 0, count: 65_537)
        let start = Clock.now()
        let end = start + Double(seconds)
        while Clock.now() < end {
            let socket = try LoopbackSocket(SOCK_STREAM, port: port)
            let message = messages[sent % messages.count]
            sent += 1
            queryBytes += Double(message.count - 2)
            guard send(socket.descriptor, message, message.count, Int32(MSG_NOSIGNAL)) == message.count,
                socket.isReadable(within: 2000)
            else { continue }
            // Answers are small: one that arrives in parts counts as lost.
            let length = recv(socket.descriptor, &buffer, buffer.count, 0)
            guard length > 14, length == 2 + Int(buffer[0]) << 8 + Int(buffer[1]) else { continue }
            answered += 1
            answerBytes += Double(length - 2)
            if buffer[5] & 15 == 0 { good += 1 }
        }
        guard answered > 0 else { throw Failure("no query over TCP was answered") }
        completed = answered
        lost = Double(sent) - answered
        rate = answered / (Clock.now() - start)
        noError = good / answered
        querySize = queryBytes / Double(sent)
        answerSize = answerBytes / answered
    }
}
