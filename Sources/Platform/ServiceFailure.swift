/// Why a command ends without success: a sentence that names the thing, the reason and the mend, and the exit code.
public struct ServiceFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Int32, Sendable {
        /// A problem that was reported.
        case problem = 1
        /// The permission is missing (EX_NOPERM of sysexits.h).
        case permission = 77
        /// The configuration can't be used (EX_CONFIG).
        case configuration = 78
    }

    public let code: Code
    public let description: String

    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
