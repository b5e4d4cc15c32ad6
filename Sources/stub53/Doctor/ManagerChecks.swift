import Platform

/// Other programs that answer, or that write resolv.conf: systemd-resolved, NetworkManager, DHCP clients.
extension Examination {
    /// systemd-resolved's stub in place of ours. Nil: that is not the case; empty: it asks us.
    func resolvedFinding(_ servers: [NameServer]) -> [Finding]? {
        let uplinks = "/run/systemd/resolve/resolv.conf"
        let isStub = servers.first { ["127.0.0.53", "127.0.0.54"].contains($0.address.ip) }
        let isLinked = machine.link(Self.resolvConf)?.hasPrefix("/run/systemd/resolve/") == true
        guard machine.exists("/run/systemd/resolve"), let first = isStub ?? (isLinked ? servers.first : nil) else {
            return nil
        }
        let asked = nameServers(uplinks)
        if !asked.isEmpty, asked.allSatisfy({ isOurs($0.address) }) { return [] }
        let others = asked.first { !isOurs($0.address) }.map { "; it asks \($0.address.ip) (\($0.place))" } ?? ""
        return [
            Finding(
                .manager, "systemd-resolved answers in stub53's place", why: "\(first.place) is its own\(others)",
                mend: "write '[Resolve]', 'DNS=\(advice)', 'Domains=~.' and 'DNSStubListener=no' into "
                    + "/etc/systemd/resolved.conf.d/stub53.conf and restart it; and put 'nameserver \(advice)' into a "
                    + "\(Self.resolvConf) that is no link")
        ]
    }

    /// Who will write resolv.conf anew, whatever is in it now.
    var managerFindings: [Finding] {
        let link = machine.link(Self.resolvConf)
        var findings: [Finding] = []
        func rewritten(by who: String, _ why: String, mend: String) {
            findings.append(
                Finding(.manager, "\(who) writes \(Self.resolvConf) anew", why: why, mend: mend))
        }

        if machine.exists("/run/NetworkManager"), link == nil || link?.hasPrefix("/run/NetworkManager/") == true {
            let files =
                machine.settingFiles("/usr/lib/NetworkManager/NetworkManager.conf", "/usr/lib/NetworkManager/conf.d")
                + machine.settingFiles("/run/NetworkManager/NetworkManager.conf", "/run/NetworkManager/conf.d")
                + machine.settingFiles("/etc/NetworkManager/NetworkManager.conf", "/etc/NetworkManager/conf.d")
            let mode = machine.setting("dns", in: "main", of: files)
            let manager = machine.setting("rc-manager", in: "main", of: files)
            let leavesIt = ["none", "systemd-resolved"].contains(mode?.value) || manager?.value == "unmanaged"
            if !leavesIt {
                rewritten(
                    by: "NetworkManager",
                    "it runs, and " + (mode.map { "\($0.place) says dns=\($0.value)" } ?? "no file says dns=none"),
                    mend: "write '[main]' and 'dns=none' into /etc/NetworkManager/conf.d/stub53.conf, 'nmcli general "
                        + "reload', and put 'nameserver \(advice)' into \(Self.resolvConf)")
            }
        }
        if link?.hasPrefix("/run/resolvconf/") == true || link?.hasPrefix("/etc/resolvconf/run/") == true {
            let head = "/etc/resolvconf/resolv.conf.d/head"
            if !nameServers(head).contains(where: { isOurs($0.address) }) {
                rewritten(
                    by: "resolvconf", "the file is a link to \(link ?? ""), and \(head) does not name stub53",
                    mend: "write 'nameserver \(advice)' into \(head), and run 'resolvconf -u'")
            }
        }
        // The clients write a plain file only.
        guard link == nil else { return findings }
        if machine.names(in: "/run").contains(where: { $0.hasPrefix("dhclient") && $0.hasSuffix(".pid") }) {
            let file = "/etc/dhcp/dhclient.conf"
            let named = machine.words(file).first {
                $0.words.count > 2 && $0.words[0] == "supersede" && $0.words[1] == "domain-name-servers"
            }
            let addresses = (named?.words.dropFirst(2) ?? []).flatMap { $0.split { ",;".contains($0) } }
                .compactMap { SocketAddress(ip: String($0), port: 53) }
            if addresses.isEmpty || !addresses.allSatisfy(isOurs) {
                rewritten(
                    by: "dhclient",
                    "it runs, and "
                        + (named.map { "\($0.place) names another server" }
                            ?? "\(file) does not replace the servers of the network"),
                    mend: "write 'supersede domain-name-servers \(advice);' into \(file)")
            }
        }
        if machine.names(in: "/run").contains(where: { $0.hasPrefix("dhcpcd") }) {
            let file = "/etc/dhcpcd.conf"
            let isLeftAlone = machine.words(file).contains {
                $0.words[0] == "nohook" && $0.words.dropFirst().contains { $0.hasPrefix("resolv.conf") }
            }
            if !isLeftAlone {
                rewritten(
                    by: "dhcpcd", "it runs, and \(file) has no 'nohook resolv.conf'",
                    mend: "write 'nohook resolv.conf' into it")
            }
        }
        return findings
    }
}
