/// The service: to be replaced by the real one.
public struct Daemon: Sendable {
    public init(_ configuration: Configuration) {}

    public func run() async throws {
        throw ServiceFailure(.problem, "this build can't serve yet")
    }
}
