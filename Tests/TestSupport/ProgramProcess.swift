package import Foundation

/// A program that runs beside the test and ends with it.
package final class ProgramProcess: @unchecked Sendable {
    private let process = Process()
    package let output: LineReader
    package let errors: LineReader
    /// The other end of its standard input, if it must end with this process.
    private let lifeline: Pipe?

    /// The reader of a pipe may end before it has read everything.
    private static let survivesBrokenPipes: Void = { _ = Foundation.signal(SIGPIPE, SIG_IGN) }()

    /// - Parameter endsWithUs: its standard input closes when this process ends, however that happens.
    package init(_ executable: String, _ arguments: [String], folder: String? = nil, endsWithUs: Bool = false) throws {
        _ = Self.survivesBrokenPipes
        lifeline = endsWithUs ? Pipe() : nil
        process.executableURL = URL(filePath: executable)
        process.arguments = arguments
        if let folder { process.currentDirectoryURL = URL(filePath: folder) }
        let outputPipe = Pipe()
        let errorPipe = Pipe()
        process.standardOutput = outputPipe
        process.standardError = errorPipe
        if let lifeline { process.standardInput = lifeline } else { process.standardInput = FileHandle.nullDevice }
        try process.run()
        output = LineReader(outputPipe.fileHandleForReading)
        errors = LineReader(errorPipe.fileHandleForReading)
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        try? lifeline?.fileHandleForWriting.close()
    }

    package var identifier: pid_t { process.processIdentifier }

    package func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// The exit code once it has ended (negative: the signal that ended it).
    package func exitCode() async throws -> Int32 {
        // Its standard output closes with it.
        _ = try? await output.first { _ in false }
        let hasEnded = await withCheckedContinuation { (done: CheckedContinuation<Bool, Never>) in
            Thread.detachNewThread { [process] in
                let end = Date.now + Double(longestWait)
                while process.isRunning, Date.now < end { usleep(1000) }
                done.resume(returning: !process.isRunning)
            }
        }
        guard hasEnded else { throw LineReader.Missing(description: "it has not ended after \(longestWait) s") }
        return process.terminationReason == .exit ? process.terminationStatus : -process.terminationStatus
    }
}
