import Foundation
import TestSupport

/// A certificate authority for one test, trusted only where it is installed.
struct TestAuthority: Sendable {
    static let isAvailable = ["/usr/bin/openssl", "/usr/bin/certutil"].allSatisfy(
        FileManager.default.isExecutableFile(atPath:))

    private let folder: TemporaryFolder

    init() async throws {
        folder = try TemporaryFolder()
        try await openssl(
            ["-subj", "/CN=stub53 test authority", "-addext", "keyUsage=critical,keyCertSign"], key: "authority")
    }

    /// Issues a certificate for these names; returns its file and the key's.
    func certificate(for names: [String]) async throws -> (certificate: String, key: String) {
        let alternatives = names.map { "DNS:\($0)" }.joined(separator: ",")
        try await openssl(
            [
                "-CA", folder.file("authority.pem"), "-CAkey", folder.file("authority.key"), "-subj", "/CN=\(names[0])",
                "-addext", "subjectAltName=\(alternatives)", "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "extendedKeyUsage=serverAuth",
            ], key: names[0])
        return (folder.file("\(names[0]).pem"), folder.file("\(names[0]).key"))
    }

    /// Makes an NSS trust database in a new folder: Chromium has one in its home, Firefox in its profile.
    func makeTrustDatabase(_ path: String) async throws {
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        try await run("/usr/bin/certutil", ["-N", "--empty-password", "-d", "sql:\(path)"])
        try await run(
            "/usr/bin/certutil",
            ["-A", "-n", "stub53 test", "-t", "C,,", "-i", folder.file("authority.pem"), "-d", "sql:\(path)"])
    }

    private func openssl(_ arguments: [String], key: String) async throws {
        try await run(
            "/usr/bin/openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                "-keyout", folder.file("\(key).key"), "-out", folder.file("\(key).pem"),
            ] + arguments)
    }

    private func run(_ program: String, _ arguments: [String]) async throws {
        let result = try await Command.run(arguments, executable: URL(filePath: program))
        guard result.code == 0 else { throw LineReader.Missing(description: "\(program): \(result.errors)") }
    }
}
