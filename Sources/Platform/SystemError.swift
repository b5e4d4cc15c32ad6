import Glibc

/// A failed system call: its name and errno.
public struct SystemError: Error, CustomStringConvertible {
    public let call: String
    public let code: Int32

    /// For the call that has just failed.
    public init(_ call: String) { self.init(call, code: errno) }

    public init(_ call: String, code: Int32) {
        self.call = call
        self.code = code
    }

    /// Whether this errno says that the system has no descriptor or memory now, but may have later.
    public static func isExhaustion(_ code: Int32) -> Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM].contains(code) }

    public var reason: String { String(cString: strerror(code)) }
    public var description: String { "\(call): \(reason)" }
}
