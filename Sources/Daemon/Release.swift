internal import LDNS

/// The version of stub53.
package enum Release {
    package static let version = "0.1.0"

    /// `stub53 0.1.0 (libldns 1.8.3)`, with the version of the library that is loaded.
    package static var description: String { "stub53 \(version) (libldns \(Library.version))" }
}
