import Foundation

/// How a server is started, and how one sees that it serves.
struct Setup {
    var command: [String]
    var port: UInt16
    /// Of TLS or HTTPS, where the load goes there.
    var encryptedPort: UInt16?
    /// Asked until it is answered.
    var probe: Question
    /// The answer must hold a record: some servers answer before they have their data.
    var needsRecord = true
    /// Where it runs.
    var cores: UInt
    var folder: String
}

/// A server that answers.
struct Server {
    let setup: Setup
    let child: Child
    /// Seconds from exec to the first answer.
    let startTime: Double
    /// Bytes, as soon as it answered.
    let memory: Double

    var port: UInt16 { setup.port }

    /// Starts it and waits for its first answer, two minutes at most.
    init(_ setup: Setup) throws {
        self.setup = setup
        let begin = Clock.now()
        child = try Child(setup.command, cores: setup.cores, output: setup.folder + "/output")
        do {
            try Self.waitForAnswer(setup, child)
        } catch {
            child.stop()
            throw error
        }
        startTime = Clock.now() - begin
        memory = child.memory
    }

    private static func waitForAnswer(_ setup: Setup, _ child: Child) throws {
        let socket = try LoopbackSocket(SOCK_DGRAM, port: setup.port)
        var buffer = [UInt8](repeating: 0, count: 4096)
        var id: UInt16 = 0
        let deadline = Clock.now() + 120
        while Clock.now() < deadline {
            id &+= 1
            let query = setup.probe.message(id: id)
            // Refused as long as nobody listens: the error is the socket's, and the next try clears it.
            send(socket.descriptor, query, query.count, 0)
            while socket.isReadable(within: 1) {
                let length = recv(socket.descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                guard length >= 12 else {
                    usleep(500)
                    break
                }
                let isAnswered = buffer[3] & 15 == 0 && buffer[6] | buffer[7] != 0
                if isAnswered || !setup.needsRecord { return }
            }
            if child.hasEnded { throw Failure("\(setup.command[0]) ended:\n\(child.lastWords)") }
        }
        throw Failure("\(setup.command[0]) did not answer for \(setup.probe.name) in two minutes\n\(child.lastWords)")
    }

    func stop() { child.stop() }
}
