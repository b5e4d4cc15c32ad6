package import LookupLog

/// The running service as those see it who look at it and steer it: snapshots, and a few orders. From any thread.
package struct DaemonControl: Sendable {
    let daemon: RunningDaemon

    init(_ daemon: RunningDaemon) { self.daemon = daemon }

    /// How each destination of dnstap does.
    package var dnstap: [DnstapWriter.Statistics] { daemon.dnstap?.statistics ?? [] }
}
