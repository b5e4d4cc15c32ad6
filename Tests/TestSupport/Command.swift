package import Foundation

/// Runs the built executable like a user.
package enum Command {
    package struct Result: Sendable {
        package var output: String
        package var errors: String
        package var code: Int32
    }

    /// Options of `serve` that turn off what daemons side by side can't share.
    package static let apart = ["--inspector", "off", "--control", "off", "--history", "off"]

    /// The program named by STUB53; else the one beside the tests, where the package manager builds all products.
    package static let executable: URL = {
        if let chosen = ProcessInfo.processInfo.environment["STUB53"] { return URL(filePath: chosen) }
        let bundles = Bundle.allBundles.map(\.bundleURL.path).first { $0.hasSuffix(".xctest") }
        let test = bundles ?? CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
        let beside = URL(filePath: test).deletingLastPathComponent().appending(path: "stub53")
        return FileManager.default.isExecutableFile(atPath: beside.path)
            ? beside : Bundle.main.bundleURL.appending(path: "stub53")
    }()

    package static func run(
        _ arguments: [String], executable: URL = executable, in folder: String? = nil
    ) async throws -> Result {
        let output = Pipe()
        let errors = Pipe()
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread {
                let process: SpawnedProcess
                do {
                    process = try SpawnedProcess(
                        executable.path, arguments, folder: folder,
                        output: output.fileHandleForWriting.fileDescriptor,
                        errors: errors.fileHandleForWriting.fileDescriptor)
                } catch {
                    continuation.resume(throwing: error)
                    return
                }
                try? output.fileHandleForWriting.close()
                try? errors.fileHandleForWriting.close()
                let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                let complaint = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
                // Closed explicitly: Foundation would keep them open after the process has ended.
                try? output.fileHandleForReading.close()
                try? errors.fileHandleForReading.close()
                continuation.resume(returning: Result(output: text, errors: complaint, code: abs(process.wait())))
            }
        }
    }
}
