package import LookupLog

/// The running service as its observers and controllers see it: snapshots, and a few commands. From any thread.
package struct DaemonControl: Sendable {
    let daemon: RunningDaemon

    init(_ daemon: RunningDaemon) { self.daemon = daemon }

    /// Statistics of each dnstap destination.
    package var dnstap: [DnstapWriter.Statistics] { daemon.dnstap?.statistics ?? [] }
}
