import Foundation

/// How to start a server and to tell that it is ready.
struct Setup {
    var command: [String]
    var port: UInt16
    /// The port for TLS or HTTPS, if the load uses it.
    var encryptedPort: UInt16?
    /// Repeated until it is answered.
    var probe: Question
    /// The answer must have a record: some servers answer before they have loaded their data.
    var needsRecord = true
    /// The mask of its cores.
    var cores: UInt
    var folder: String
}

/// A server that is ready.
struct Server {
    let setup: Setup
    let child: Child
    /// Seconds from exec to the first answer.
    let startTime: Double
    /// Bytes when it was ready.
    let memory: Double

    var port: UInt16 { setup.port }

    /// Starts it and waits for its first answer, at most two minutes.
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
            // Refused until the server listens: the error is reported on the socket, and the next try clears it.
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
            if child.hasEnded { throw Failure("\(setup.command[0]) ended:\n\(child.lastLines)") }
        }
        throw Failure("\(setup.command[0]) did not answer for \(setup.probe.name) in two minutes\n\(child.lastLines)")
    }

    func stop() { child.stop() }
}
