package import Foundation

/// A program that runs beside the test and ends with it.
package final class ProgramProcess: @unchecked Sendable {
    private let process: SpawnedProcess
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
        let outputPipe = Pipe()
        let errorPipe = Pipe()
        process = try SpawnedProcess(
            executable, arguments, folder: folder,
            input: lifeline?.fileHandleForReading.fileDescriptor,
            output: outputPipe.fileHandleForWriting.fileDescriptor,
            errors: errorPipe.fileHandleForWriting.fileDescriptor)
        try? lifeline?.fileHandleForReading.close()
        try? outputPipe.fileHandleForWriting.close()
        try? errorPipe.fileHandleForWriting.close()
        output = LineReader(outputPipe.fileHandleForReading)
        errors = LineReader(errorPipe.fileHandleForReading)
    }

    deinit {
        process.signal(SIGKILL)
        try? lifeline?.fileHandleForWriting.close()
    }

    package var identifier: pid_t { process.identifier }

    package func signal(_ number: Int32) { process.signal(number) }

    /// The exit code once it has ended (negative: the signal that ended it).
    package func exitCode() async throws -> Int32 {
        // Its standard output closes with it.
        _ = try? await output.first { _ in false }
        let code = await withCheckedContinuation { (done: CheckedContinuation<Int32?, Never>) in
            Thread.detachNewThread { [process] in done.resume(returning: process.wait(seconds: longestWait)) }
        }
        guard let code else { throw LineReader.Missing(description: "it has not ended after \(longestWait) s") }
        return code
    }
}
