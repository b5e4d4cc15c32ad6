package import ServiceLifecycle

/// Runs beside the service for its whole life: the control socket, the inspector.
package protocol DaemonCompanion: Service {
    /// Waits until it is usable or left out; returns lines for the operator, printed below the `ready` line. Nil: it
    /// failed, which ends the service.
    func ready() async -> [String]?
}
