import Certificates
import Daemon
import Glibc
import Platform

/// The machine's trust store: a folder for additional CAs, and a program that rebuilds the list.
struct TrustStore {
    let file: String
    let update: [String]

    private static let known = [
        TrustStore(file: "/usr/local/share/ca-certificates/stub53.crt", update: ["update-ca-certificates"]),
        TrustStore(file: "/etc/pki/ca-trust/source/anchors/stub53.pem", update: ["update-ca-trust"]),
    ]

    static var system: TrustStore? {
        known.first { access(String($0.file[..<$0.file.lastIndex(of: "/")!]), F_OK) == 0 }
    }

    static func found() throws -> TrustStore {
        if let system { return system }
        throw ServiceFailure(
            .problem, "this system keeps its CAs elsewhere: install the package ca-certificates, or use --nss DIR")
    }

    /// Whether it has this very certificate, not an earlier one.
    func holds(_ pem: [UInt8]) -> Bool { (try? FileText.bytes(of: file, limit: Certificate.largestFile)) == pem }

    func install(_ pem: [UInt8]) throws {
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw denied() }
        let written = write(descriptor, pem, pem.count)
        close(descriptor)
        guard written == pem.count else { throw denied() }
        try refresh()
    }

    func remove() throws {
        guard unlink(file) == 0 || errno == ENOENT else { throw denied() }
        try refresh()
    }

    private func denied() -> ServiceFailure {
        ServiceFailure(
            errno == EACCES || errno == EPERM ? .permission : .problem,
            "\(file): \(String(cString: strerror(errno))); run as root, or use --nss DIR for one browser")
    }

    private func refresh() throws {
        let (code, words) = Program.run(update)
        guard code == 0 else {
            throw ServiceFailure(.problem, "\(update[0]) ended with code \(code): \(words)")
        }
    }
}

/// A database of Mozilla's NSS, which Chromium on Linux and Firefox use as trust store.
struct NSSDatabase {
    private static let nickname = "stub53 local CA"
    private let folder: String

    init(_ folder: String) { self.folder = folder }

    func install(_ pem: [UInt8]) throws {
        if access(folder + "/cert9.db", F_OK) != 0 {
            mkdir(folder, 0o700)
            try certutil(["-N", "--empty-password"])
        }
        // Remove an earlier CA, which would stay beside the new one.
        _ = Program.run(command(["-D", "-n", Self.nickname]))
        // Not the CA's own file: that may belong to the user who serves, and be another one by now.
        let scratch = try ScratchFolder()
        defer { scratch.remove() }
        let copy = try scratch.write(String(decoding: pem, as: UTF8.self), to: "ca.pem")
        try certutil(["-A", "-n", Self.nickname, "-t", "C,,", "-i", copy])
    }

    func remove() throws {
        guard access(folder + "/cert9.db", F_OK) == 0 else {
            throw ServiceFailure(.problem, "\(folder) holds no NSS database (cert9.db)")
        }
        try certutil(["-D", "-n", Self.nickname])
    }

    private func command(_ words: [String]) -> [String] { ["certutil", "-d", "sql:\(folder)"] + words }

    private func certutil(_ words: [String]) throws {
        let (code, output) = Program.run(command(words))
        if code == 127 {
            throw ServiceFailure(.problem, "certutil is not installed; it is in the package libnss3-tools")
        }
        guard code == 0 else { throw ServiceFailure(.problem, "\(folder): certutil says: \(output)") }
    }
}
