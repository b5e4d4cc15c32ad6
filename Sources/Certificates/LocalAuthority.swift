import Glibc
import Platform

/// The certificate authority of this machine: created once, kept in the state directory, trusted only where the user
/// installs it.
///
/// Only the owner can read its key, which never leaves the directory.
package struct LocalAuthority: Sendable {
    /// The directory that holds it.
    package let folder: String

    package init(folder: String = Self.stateFolder) { self.folder = folder }

    /// The directory of a daemon that runs for the whole machine.
    package static let systemFolder = "/var/lib/stub53"

    package var certificatePath: String { folder + "/" + Self.fileNames[0] }
    var keyPath: String { folder + "/" + Self.fileNames[1] }
    /// The certificate and its key.
    package static let fileNames = ["ca.pem", "ca.key"]

    /// systemd's state directory; else /var/lib/stub53 for root, and the XDG state directory for other users. Stays the
    /// same when the process becomes another user.
    package static let stateFolder: String = {
        func variable(_ name: String) -> String? {
            getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
        }
        if let folder = variable("STATE_DIRECTORY")?.split(separator: ":").first { return String(folder) }
        if geteuid() == 0 { return systemFolder }
        if let state = variable("XDG_STATE_HOME") { return state + "/stub53" }
        // Never below /tmp, where someone else could create it first.
        let home = variable("HOME") ?? getpwuid(geteuid()).flatMap { $0.pointee.pw_dir }.map { String(cString: $0) }
        return (home ?? "/nonexistent") + "/.local/state/stub53"
    }()

    /// The existing authority; nil if there is none.
    ///
    /// - Throws: `LocalAuthorityError` if it can't be read or is not an authority.
    package func load() throws(LocalAuthorityError) -> Certificate? {
        guard access(certificatePath, F_OK) == 0 else { return nil }
        let pem = try read(certificatePath)
        let key = access(keyPath, R_OK) == 0 ? try read(keyPath) : nil
        do { return try Certificate(pem: pem, keyPEM: key) } catch {
            throw LocalAuthorityError(certificatePath, "\(error); remove \(folder) to have a new one made")
        }
    }

    /// The existing authority, or a new one if there is none, or if it has expired, vouches for more than single
    /// addresses, as those of older versions do, or for too little. If one is replaced, that is reported.
    ///
    /// `addresses`: IP addresses that it has to vouch for. It also vouches for those that the machine has when it is made.
    package func loadOrMake(for addresses: [String] = []) throws(LocalAuthorityError) -> Certificate {
        var fault: String?
        if let known = try load() {
            guard known.key != nil else {
                throw LocalAuthorityError(keyPath, "can't be read; run as its owner, or remove \(folder)")
            }
            let missing = addresses.filter { !known.mayVouch(for: $0) }
            if !known.vouchesForHostsOnly {
                fault = "could vouch for addresses that are not this machine's"
            } else if !missing.isEmpty {
                fault = "could not vouch for \(missing.joined(separator: ", "))"
            } else if known.end <= time(nil) + 86_400 {
                fault = "has expired"
            } else {
                return known
            }
        }
        var host = [CChar](repeating: 0, count: 64)
        gethostname(&host, 63)
        let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let made: Certificate
        do {
            made = try Certificate.makeAuthority(
                name: "stub53 local CA \(name)".prefix(64).description, hosts: Self.ownAddresses + addresses)
        } catch {
            throw LocalAuthorityError(folder, "\(error)")
        }
        try makeFolder()
        // The key first: a certificate without a key would block the next attempt.
        try write(made.keyPEM, to: keyPath, mode: 0o600)
        try write(made.pem, to: certificatePath, mode: 0o644)
        if let fault {
            Report.problem(
                "the local CA in \(folder) was replaced, because the old one \(fault); where that was trusted, install the "
                    + "new one ('stub53 trust' shows it, 'stub53 trust --install' installs it)")
        }
        return made
    }

    /// The addresses of this machine's interfaces.
    private static var ownAddresses: [String] { (InterfaceAddress.all() ?? []).map(\.address.unscopedIP) }

    private func makeFolder() throws(LocalAuthorityError) {
        var path = ""
        for part in folder.split(separator: "/") {
            path += (path.isEmpty && !folder.hasPrefix("/") ? "" : "/") + part
            guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw LocalAuthorityError(path, reason) }
        }
    }

    /// Writes the file atomically; it is never readable for others in between.
    private func write(_ bytes: [UInt8], to path: String, mode: mode_t) throws(LocalAuthorityError) {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)
        guard descriptor >= 0 else { throw LocalAuthorityError(temporary, reason) }
        let written = Glibc.write(descriptor, bytes, bytes.count)
        // Made by root for a daemon that has become another user, who has to read it.
        SystemUser.giveToOwner(of: folder, descriptor)
        let synced = fsync(descriptor)
        close(descriptor)
        guard written == bytes.count, synced == 0, rename(temporary, path) == 0 else {
            let why = reason
            unlink(temporary)
            throw LocalAuthorityError(path, why)
        }
    }

    private func read(_ path: String) throws(LocalAuthorityError) -> [UInt8] {
        do { return try FileText.bytes(of: path, limit: Certificate.largestFile) } catch {
            throw LocalAuthorityError(path, "\(error)")
        }
    }

    private var reason: String { String(cString: strerror(errno)) }
}

/// Which file of the local authority failed, and why.
package struct LocalAuthorityError: Error, CustomStringConvertible, Sendable {
    package let path: String
    package let why: String

    init(_ path: String, _ why: String) {
        self.path = path
        self.why = why
    }

    package var description: String { "\(path): \(why)" }
}
