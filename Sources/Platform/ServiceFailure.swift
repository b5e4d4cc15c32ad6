/// Why a command ends without success: a sentence that names the thing, the reason and the mend, and the exit code.
package struct ServiceFailure: Error, Hashable, Sendable, CustomStringConvertible {
    package enum Code: Int32, Sendable {
        /// A problem that was reported.
        case problem = 1
        /// The permission is missing (EX_NOPERM of sysexits.h).
        case permission = 77
        /// The configuration can't be used (EX_CONFIG).
        case configuration = 78
    }

    package let code: Code
    package let description: String

    package init(_ code: Code, _ description: String) {
        self.code = code
        self.description = description
    }
}
