/// Why a command fails: a sentence with the subject, the reason and the fix; and the exit code.
public struct ServiceFailure: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Code: Int32, Sendable {
        /// A reported problem.
        case problem = 1
        /// Missing permission (EX_NOPERM of sysexits.h).
        case permission = 77
        /// Invalid configuration (EX_CONFIG).
        case configuration = 78
    }

    public let code: Code
    public let description: String

    public init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
