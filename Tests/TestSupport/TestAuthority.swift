import Foundation

/// A certificate authority for one test, trusted only where it is installed.
package struct TestAuthority: Sendable {
    package static let isAvailable = ["/usr/bin/openssl", "/usr/bin/certutil"].allSatisfy(
        FileManager.default.isExecutableFile(atPath:))

    private let folder: TemporaryFolder

    package init() async throws {
        folder = try TemporaryFolder()
        try await openssl(
            ["-subj", "/CN=stub53 test authority", "-addext", "keyUsage=critical,keyCertSign"], key: "authority")
    }

    /// The file of its own certificate.
    package var path: String { folder.file("authority.pem") }

    /// Issues a certificate for these names and addresses; returns its file and the key's.
    package func certificate(
        for names: [String], addresses: [String] = []
    ) async throws -> (certificate: String, key: String) {
        let alternatives = (names.map { "DNS:\($0)" } + addresses.map { "IP:\($0)" }).joined(separator: ",")
        try await openssl(
            [
                "-CA", folder.file("authority.pem"), "-CAkey", folder.file("authority.key"), "-subj", "/CN=\(names[0])",
                "-addext", "subjectAltName=\(alternatives)", "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", "extendedKeyUsage=serverAuth",
            ], key: names[0])
        return (folder.file("\(names[0]).pem"), folder.file("\(names[0]).key"))
    }

    /// The same for one name, expired yesterday.
    package func expiredCertificate(for name: String) async throws -> (certificate: String, key: String) {
        let (key, request, signed) = (folder.file("old.key"), folder.file("old.csr"), folder.file("old.pem"))
        let extensions = try folder.write("subjectAltName=DNS:\(name)\n", to: "old.ext")
        try await run(
            "/usr/bin/openssl",
            [
                "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out",
                request, "-subj", "/CN=\(name)",
            ])
        try await run(
            "/usr/bin/openssl",
            [
                "x509", "-req", "-in", request, "-CA", folder.file("authority.pem"), "-CAkey",
                folder.file("authority.key"), "-CAcreateserial", "-days", "-1", "-extfile", extensions, "-out", signed,
            ])
        return (signed, key)
    }

    /// Makes an NSS trust database in a new folder: Chromium has one in its home, Firefox in its profile.
    package func makeTrustDatabase(_ path: String) async throws {
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
