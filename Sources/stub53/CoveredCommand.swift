import ArgumentParser
import CLinux
import Daemon
import Glibc
import Platform
import Upstream

/// A command for which mounts cover some system files, so that its names are looked up at one server; nothing else
/// changes.
struct CoveredCommand {
    private let process: pid_t
    /// The files mounted for it. They must not be deleted until it ends: a file without a name can't be mounted over,
    /// as a nested exec does.
    private let folder: ScratchFolder

    /// Starts the command.
    ///
    /// - Throws: `ExitCode` 127 if the command does not exist, 126 if it can't be executed, as in a shell.
    init(_ arguments: [String], server: Platform.SocketAddress) throws {
        let folder = try ScratchFolder()
        self.folder = folder
        var isStarted = false
        defer { if !isStarted { folder.remove() } }
        let covers = try Self.covers(server, in: folder)
        var failure = clinux_start_failure()
        process = withCStrings(covers.flatMap { [$0.file, $0.over] }) { names in
            let list = covers.indices.map { clinux_cover(file: names[2 * $0], over: names[2 * $0 + 1]) }
            return withCStrings(arguments) { clinux_start_covered($0, list, Int32(list.count), &failure) }
        }
        guard process > 0 else { throw Self.explain(failure, arguments[0], covers) }
        isStarted = true
    }

    /// Waits for it to end: its exit code, or 128 plus the signal that ended it.
    func wait() -> Int32 {
        defer { folder.remove() }
        return clinux_wait_for_command(process)
    }

    // MARK: The files

    /// Shows `file` in place of `over`.
    private struct Cover {
        var file: String
        var over: String
    }

    private static func covers(_ server: Platform.SocketAddress, in folder: ScratchFolder) throws -> [Cover] {
        guard access(ResolvConf.systemPath, F_OK) == 0 else {
            throw ServiceFailure(
                .problem,
                "\(ResolvConf.systemPath) is missing, or links to nothing, so nothing can be mounted over it; make an empty "
                    + "file there")
        }
        var covers: [Cover] = []
        let files: [(path: String, make: (String) -> String)] = [
            (ResolvConf.systemPath, { ResolverFiles.resolvConf($0, server: server) }),
            ("/etc/nsswitch.conf", ResolverFiles.nameServiceSwitch),
            ("/etc/hosts", { ResolverFiles.hosts($0, hostName: Configuration.hostName) }),
        ]
        // Missing files need no cover: without nsswitch.conf the C library uses files and dns anyway, and without hosts
        // it has no entries.
        for (path, make) in files where access(path, F_OK) == 0 {
            let name = String(path.drop { $0 == "/" }.replacing("/", with: "-"))
            covers.append(Cover(file: try folder.write(make(try text(path)), to: name), over: path))
        }
        // The name service cache daemon would look names up in the machine's namespace, not in the command's.
        let socket = "/var/run/nscd/socket"
        if access(socket, F_OK) == 0 { covers.append(Cover(file: "/dev/null", over: socket)) }
        return covers
    }

    private static func text(_ path: String) throws(ServiceFailure) -> String {
        do {
            let source = try FileText(path: path)
            // The bytes are valid only as long as `source`.
            return withExtendedLifetime(source) { String(decoding: $0.bytes, as: UTF8.self) }
        } catch {
            throw ServiceFailure(.problem, "\(path) \(error); let this user read it")
        }
    }

    // MARK: Failures

    private static func explain(_ failure: clinux_start_failure, _ command: String, _ covers: [Cover]) -> any Error {
        let why = String(cString: strerror(failure.code))
        switch Int(failure.step) {
        case CLINUX_FORK:
            return ServiceFailure(
                .problem, "'\(command)' can't be started: \(why); end some processes, or raise 'ulimit -u'")
        case CLINUX_EXECUTE:
            let isMissing = failure.code == ENOENT
            Terminal.error(
                "stub53: '\(command)' can't be run: \(why); check its name"
                    + (isMissing ? " and PATH" : " and its permissions"))
            return ExitCode(isMissing ? 127 : 126)
        case CLINUX_COVER where ![EPERM, EACCES].contains(failure.code):
            return ServiceFailure(
                .problem, "\(covers[Int(failure.cover)].over): nothing can be mounted over it: \(why)")
        case let step:
            let what = [CLINUX_UNSHARE: "unshare", CLINUX_MAP_USER: "uid_map"][step] ?? "mount"
            return ServiceFailure(.permission, NamespaceRefusal.explain("\(what): \(why)"))
        }
    }
}

/// Explains why a process gets no mount namespace, judging by kernel settings, and suggests other ways to use stub53.
enum NamespaceRefusal {
    static func explain(_ reason: String) -> String {
        "this user gets no mount namespace here (\(reason)), so a command can't have a resolv.conf of its own; run this as "
            + "root, or \(mend); or, without a namespace, name stub53 in the machine's /etc/resolv.conf, or start the program "
            + "in a container with --dns ADDR"
    }

    private static var mend: String {
        if setting("user/max_user_namespaces") == 0 { return "'sysctl user.max_user_namespaces=10000'" }
        if setting("kernel/unprivileged_userns_clone") == 0 { return "'sysctl kernel.unprivileged_userns_clone=1'" }
        if setting("kernel/apparmor_restrict_unprivileged_userns") == 1 {
            return "'sysctl kernel.apparmor_restrict_unprivileged_userns=0', or an AppArmor profile that allows userns"
        }
        return "in a container, give that one CAP_SYS_ADMIN"
    }

    private static func setting(_ name: String) -> Int? {
        guard let source = try? FileText(path: "/proc/sys/\(name)") else { return nil }
        let text = withExtendedLifetime(source) { String(decoding: $0.bytes, as: UTF8.self) }
        return Int(text.filter { !$0.isWhitespace })
    }
}
