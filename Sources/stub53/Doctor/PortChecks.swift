import Daemon
import Platform

extension Examination {
    /// Another program at the address that stub53 would have.
    var portFindings: [Finding] {
        let standard = Configuration.Listen.standardAddress
        guard daemon == nil || served.isEmpty, let holder = PortHolder.name(of: standard) else { return [] }
        return [
            Finding(
                .port, "\(holder) has port 53 of \(standard.ip)", why: "a port has one server only",
                mend: "end that program (systemd-resolved: DNSStubListener=no in /etc/systemd/resolved.conf), or have "
                    + "stub53 listen elsewhere, as --listen 127.0.0.54:53")
        ]
    }
}
