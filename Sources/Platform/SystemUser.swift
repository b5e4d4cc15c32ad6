import CLinux
import Glibc

/// A user of this machine.
public struct SystemUser: Hashable, Sendable {
    public let name: String
    public let id: UInt32
    /// The primary group.
    public let group: UInt32

    /// `nogroup` of Debian: the group of all users that have none of their own.
    private static let sharedGroup: UInt32 = 65_534

    /// Nil: the machine has no such user.
    public init?(named name: String) {
        self.init { entry, buffer, size, found in getpwnam_r(name, entry, buffer, size, found) }
    }

    /// Nil: the machine has no such user.
    public init?(id: UInt32) {
        self.init { entry, buffer, size, found in getpwuid_r(id, entry, buffer, size, found) }
    }

    private init?(
        _ search: (
            UnsafeMutablePointer<passwd>, UnsafeMutablePointer<CChar>, Int,
            UnsafeMutablePointer<UnsafeMutablePointer<passwd>?>
        ) -> Int32
    ) {
        var entry = passwd()
        var found: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 16 * 1024)
        guard search(&entry, &buffer, buffer.count, &found) == 0, found != nil else { return nil }
        (name, id, group) = (String(cString: entry.pw_name), entry.pw_uid, entry.pw_gid)
    }

    public var isRoot: Bool { id == 0 }
    /// Other users are members of its group, too.
    public var sharesGroup: Bool { group == Self.sharedGroup }

    // MARK: Becoming this user

    /// Makes this process, which is root's, act as this user; it can still get root's rights back.
    public func act() throws(SystemError) {
        guard clinux_act_as(name, id, group) == 0 else { throw SystemError("setresuid") }
    }

    /// Runs `body` with root's rights, in a process that only acts as this user. Not for threads side by side: the
    /// rights are those of the whole process.
    public func asRoot<Value, Failure: Error>(_ body: () throws(Failure) -> Value) throws(Failure) -> Value {
        // If root's rights can't be had, `body` says what it lacks them for.
        let isRoot = seteuid(0) == 0
        defer { if isRoot, seteuid(id) != 0 { fatalError("root's rights can't be given up") } }
        return try body()
    }

    /// Makes this process, which acts as this user, nobody else's for good.
    public func stay() throws(SystemError) {
        guard clinux_stay(id, group) == 0 else { throw SystemError("setresuid") }
    }

    // MARK: Its files

    /// Gives it a folder, made if it is missing, and those of `files` in it that exist, as far as they are root's.
    public func take(folder: String, mode: UInt32, files: [String]) {
        mkdir(folder, mode)
        take(folder)
        for file in files { take("\(folder)/\(file)") }
    }

    /// A link, or a file with several names, could have been put there by someone for whom it is not meant.
    private func take(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_uid == 0 else { return }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFDIR || kind == S_IFREG && status.st_nlink == 1 else { return }
        fchown(descriptor, id, group)
    }

    /// If root has made the open file in a folder of another user, gives it to that user.
    public static func giveToOwner(of folder: String, _ descriptor: Int32) {
        var status = stat()
        guard geteuid() == 0, stat(folder, &status) == 0, status.st_uid != 0 else { return }
        fchown(descriptor, status.st_uid, status.st_gid)
    }
}
