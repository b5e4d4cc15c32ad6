import Certificates
import Glibc
package import Platform

/// The user as whom the daemon serves. Root only opens the sockets: files are read, written and made by the user from
/// the start, so that what works at the start also works later.
package struct ServiceUser: Sendable {
    /// Nil: the process stays who it is.
    private let user: SystemUser?
    /// A line for the operator; nil: it was not started by root.
    package let note: String?

    /// Tried in this order if none is configured.
    private static let usual = ["stub53", "_stub53"]

    /// The user who started the process.
    package static let same = ServiceUser(user: nil, note: nil)

    /// Makes the process act as the configured user, or the usual one.
    ///
    /// - Throws: `ServiceFailure` if only root could do that.
    package static func act(for configuration: Configuration) throws(ServiceFailure) -> ServiceUser {
        guard geteuid() == 0 else {
            guard let user = configuration.user, user.id != geteuid() else { return same }
            throw ServiceFailure(
                .permission,
                "user: only root can become '\(user.name)'; start this as root or as that user, or leave the key out")
        }
        guard let user = configuration.user ?? usual.lazy.compactMap({ SystemUser(named: $0) }).first else {
            return ServiceUser(
                user: nil, note: "user       root; 'adduser --system --group stub53' makes one with fewer rights")
        }
        if user.isRoot { return ServiceUser(user: nil, note: "user       root, as configured") }
        guard !user.sharesGroup else {
            throw ServiceFailure(
                .configuration,
                "user: '\(user.name)' shares its group with other users, who could open the control socket; name one with "
                    + "a group of its own, as 'adduser --system --group stub53' makes it")
        }
        for (folder, mode, files) in configuration.ownFolders { user.take(folder: folder, mode: mode, files: files) }
        do throws(SystemError) { try user.act() } catch {
            throw ServiceFailure(
                .permission,
                "user: this root can't become '\(user.name)': \(error.reason); give it CAP_SETUID and CAP_SETGID, or set "
                    + "'user: root'")
        }
        return ServiceUser(
            user: user, note: "user       \(user.name); other users' processes are logged without their names")
    }

    /// Opens something that takes root's rights.
    func asRoot<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        guard let user else { return try body() }
        return try user.asRoot(body)
    }

    /// Gives up root's rights for good, before anything is served.
    func stay() throws(ServiceFailure) {
        do throws(SystemError) { try user?.stay() } catch {
            throw ServiceFailure(.problem, "root's rights can't be given up: \(error)")
        }
    }

    /// Says who lacks the permission, if that is what a message is about.
    package func hint(_ message: String) -> String? {
        guard let user, message.contains(String(cString: strerror(EACCES))) else { return nil }
        return "the daemon reads and writes its files as the user '\(user.name)'; give that one the permission, or set "
            + "'user: root'"
    }

    /// Reports what only root may read: a reload could not read it again.
    package func check(_ configuration: Configuration) {
        guard let user, let file = configuration.origin.file, access(file, R_OK) != 0 else { return }
        Report.problem(
            "\(file): \(String(cString: strerror(errno))) for the user '\(user.name)', so that reloads keep the "
                + "settings; let that one read it")
    }
}

extension Configuration {
    /// The folders that the daemon makes for itself, with their modes and the files that may be in them.
    fileprivate var ownFolders: [(folder: String, mode: mode_t, files: [String])] {
        var folders: [(String, mode_t, [String])] = []
        if history.path.value?.hasPrefix(LocalAuthority.stateFolder + "/") == true
            || !listen.encrypted.isEmpty && certificateFiles == nil
        {
            folders.append((LocalAuthority.stateFolder, 0o755, LocalAuthority.fileNames + Self.historyFiles))
        }
        if let path = control.value, path == Self.defaultControlPath, let slash = path.lastIndex(of: "/") {
            folders.append((String(path[..<slash]), 0o750, []))
        }
        return folders
    }

    private static let historyFiles = ["history.db", "history.db-wal", "history.db-shm"]
}
