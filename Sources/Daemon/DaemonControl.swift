package import LookupLog
package import ServiceLifecycle

/// Something that runs beside the service for as long as it does: the control socket, the inspector.
package protocol DaemonCompanion: Service {
    /// Waits until it can be used, or is left out; returns lines for the operator, below the `ready` line. Nil: it has
    /// failed, which ends the service.
    func ready() async -> [String]?
}

/// The running service as those see it who look at it and steer it: snapshots, and a few orders. From any thread.
package struct DaemonControl: Sendable {
    let daemon: RunningDaemon

    init(_ daemon: RunningDaemon) { self.daemon = daemon }

    /// How each destination of dnstap does.
    package var dnstap: [DnstapWriter.Statistics] { daemon.dnstap?.statistics ?? [] }
}
