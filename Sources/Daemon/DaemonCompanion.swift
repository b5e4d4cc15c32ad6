package import ServiceLifecycle

/// Something that runs beside the service for as long as it does: the control socket, the inspector.
package protocol DaemonCompanion: Service {
    /// Waits until it can be used, or is left out; returns lines for the operator, below the `ready` line. Nil: it has
    /// failed, which ends the service.
    func ready() async -> [String]?
}
