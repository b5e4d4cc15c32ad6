import DNSWire
import Glibc
import Testing

@testable import Platform
@testable import Upstream

@Suite("Upstream servers are parsed")
struct UpstreamServerTests {
    @Test(
        "from the command line",
        arguments: [
            ("10.0.0.53", "10.0.0.53:53"), ("10.0.0.53:5353", "10.0.0.53:5353"), ("2001:db8::1", "[2001:db8::1]:53"),
            ("[2001:db8::1]", "[2001:db8::1]:53"), ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
            ("tcp://10.0.0.53", "tcp://10.0.0.53:53"), ("TCP://[::1]:5300", "tcp://[::1]:5300"),
            ("udp://10.0.0.53", "10.0.0.53:53"),
            ("tls://10.0.0.1", "tls://10.0.0.1:853"), ("tls://[::1]:8853#DNS.example.", "tls://[::1]:8853#dns.example"),
            ("https://10.0.0.1/dns-query", "https://10.0.0.1/dns-query"),
            ("https://[::1]:8443/q{?dns}", "https://[::1]:8443/q"),
            ("https://2001:db8::1/q", "https://[2001:db8::1]/q"),
            ("https://DNS.example/dns-query", "https://dns.example/dns-query"),
            ("https://dns.example:8443/a/b#10.0.0.1", "https://dns.example:8443/a/b#10.0.0.1:8443"),
            ("fe80::1%1", "[fe80::1%1]:53"),
            ("tcp://[fe80::1%nosuchinterface]:54", "tcp://[fe80::1%nosuchinterface]:54"),
            ("tls://fe80::1%NoSuch#dns.example", "tls://[fe80::1%NoSuch]:853#dns.example"),
            ("https://DNS.example/q#fe80::1%NoSuch", "https://dns.example/q#[fe80::1%NoSuch]:443"),
            ("https://[fe80::1%1]/q", "https://[fe80::1]/q"),
        ])
    func reads(_ text: String, _ expected: String) throws {
        #expect(try UpstreamServer(parsing: text).description == expected)
    }

    @Test(
        "and rejected with the reason",
        arguments: [
            ("", "not an IP address"), ("dns.example", "not an IP address"), ("10.0.0.1:0", "not a port"),
            ("10.0.0.1:65536", "not a port"), ("10.0.0.1:", "not a port"), ("10.0.0.1:+53", "not a port"),
            ("10.0.0.1:5x", "not a port"), ("[::1", "']' is missing"), ("[::1]53", "only :PORT may follow"),
            ("0.0.0.0", "not an IP address"), ("[::]:53", "not an IP address"),
            ("tls://dns.example", "give tls://ADDR#dns.example"), ("tls://10.0.0.1#", "no host name"),
            ("tls://10.0.0.1#10.0.0.1", "no host name"), ("tls://10.0.0.1#b\u{FC}cher", "no host name"),
            ("https://dns.example", "the path is missing"), ("https://dns.example/", "the path is missing"),
            ("https:///dns-query", "no host name"), ("https://dns.example/a b", "what no URL can"),
            ("https://10.0.0.1/q#10.0.0.2", "an address already"), ("https://dns.example/q#other", "not an IP address"),
            ("https://dns.example:0/q", "not a port"),
            ("quic://10.0.0.1", "no transport"), ("corp.example=10.0.0.1", "not an IP address"),
            ("[10.0.0.1]x=10.0.0.1:1:2", "only :PORT may follow"), ("fe80::1%nosuchinterfaces", "not an IP address"),
            ("fe80::1%", "not an IP address"), ("fe80::1%a/b", "not an IP address"),
            ("10.0.0.1%lo", "not an IP address"),
        ])
    func refuses(_ text: String, _ reason: String) {
        do throws(UpstreamServer.ParseError) {
            let server = try UpstreamServer(parsing: text)
            Issue.record("\(text) was read as \(server)")
        } catch {
            #expect(error.description.contains(reason), "\(error)")
        }
    }

    @Test("with the number that the named interface has now, or none as long as it is not there")
    func interface() throws {
        let server = try UpstreamServer(parsing: "fe80::1%lo")
        #expect(server.address.scope == if_nametoindex("lo") && server.now() == server)
        // As it was before the interface was made anew.
        let before = UpstreamServer(address: server.address.withScope(4711), interface: "lo")
        #expect(before != server && before.origin == server.origin && before.now() == server)
        let absent = try UpstreamServer(parsing: "fe80::1%nosuchinterface")
        #expect(absent.address.scope == 0 && absent.now() == absent && absent.origin != server.origin)
        #expect(try UpstreamServer(parsing: "fe80::1%1").interface == nil)
        for text in ["tls://fe80::1%lo#dns.example", "https://[fe80::1%lo]/q", "https://dns.example/q#fe80::1%lo"] {
            let server = try UpstreamServer(parsing: text)
            #expect(server.interface == "lo" && server.address.scope == if_nametoindex("lo"))
        }
    }

    @Test("messages contain no control characters, whatever the input")
    func escapes() {
        for text in [
            "\u{1B}[31m", "a\nb=10.0.0.x", "\u{1B}://10.0.0.1", "[\u{7}", "10.0.0.1:\u{8}", "\u{202E}=x\u{1B}",
        ] {
            do throws(UpstreamServer.ParseError) {
                let server = try UpstreamServer(parsing: text)
                Issue.record("\(server)")
            } catch {
                #expect(error.description.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "\(error)")
            }
        }
    }

    private func withFiles(_ main: String, _ resolved: String?, _ body: (String, String) throws -> Void) throws {
        var template = Array("/tmp/resolvconf-XXXXXX".utf8CString)
        let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
        defer {
            for name in ["main", "resolved"] { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        for (name, text) in [("main", main), ("resolved", resolved)] {
            guard let text else { continue }
            let file = try #require(fopen("\(folder)/\(name)", "w"))
            fputs(text, file)
            fclose(file)
        }
        try body("\(folder)/main", "\(folder)/resolved")
    }

    @Test("from resolv.conf, in order, without duplicates")
    func resolvConf() throws {
        let text = """
            # made by hand
            search example.org
            nameserver 10.0.0.1
             nameserver\t2001:db8::1  # second
            nameserver fe80::1%lo\r
            nameserver 10.0.0.1
            nameserver
            nameserver dns.example
            options edns0
            nameserver 10.0.0.4
            """
        try withFiles(text, nil) { main, resolved in
            let read = ResolvConf.read(main, resolvedPath: resolved)
            #expect(
                read.servers.map(\.description) == [
                    "10.0.0.1:53", "[2001:db8::1]:53", "[fe80::1%1]:53", "10.0.0.4:53",
                ])
            #expect(read.diagnostics.map(\.place.line) == [7, 8])
        }
    }

    @Test("our own addresses are skipped, also if we listen on a wildcard address")
    func ownAddresses() throws {
        let text = "nameserver 127.0.0.1\nnameserver 10.0.0.1\nnameserver ::1\nnameserver 0.0.0.0\n"
        try withFiles(text, nil) { main, resolved in
            let one = SocketAddress(ip: "127.0.0.1", port: 53)!
            #expect(
                ResolvConf.read(main, ownAddresses: [one], resolvedPath: resolved).servers.map(\.address.ip)
                    == ["10.0.0.1", "::1"])
            let all = SocketAddress(ip: "::", port: 53)!
            #expect(
                ResolvConf.read(main, ownAddresses: [all], resolvedPath: resolved).servers.map(\.address.ip)
                    == ["10.0.0.1"])
            let elsewhere = SocketAddress(ip: "127.0.0.1", port: 5353)!
            #expect(ResolvConf.read(main, ownAddresses: [elsewhere], resolvedPath: resolved).servers.count == 3)
        }
    }

    @Test("if only systemd-resolved's stub is listed, the servers behind it are used")
    func stub() throws {
        try withFiles("nameserver 127.0.0.53\n", "nameserver 192.0.2.1\nnameserver 192.0.2.2\n") { main, resolved in
            let own = SocketAddress(ip: "127.0.0.53", port: 53)!
            let read = ResolvConf.read(main, ownAddresses: [own], resolvedPath: resolved)
            #expect(read.servers.map(\.address.ip) == ["192.0.2.1", "192.0.2.2"])
            #expect(read.path == resolved)
        }
        try withFiles("nameserver 127.0.0.53\nnameserver 10.0.0.1\n", "nameserver 192.0.2.1\n") { main, resolved in
            #expect(
                ResolvConf.read(main, resolvedPath: resolved).servers.map(\.address.ip) == ["127.0.0.53", "10.0.0.1"])
        }
        try withFiles("nameserver 127.0.0.53\n", nil) { main, resolved in
            #expect(ResolvConf.read(main, resolvedPath: resolved).servers.map(\.address.ip) == ["127.0.0.53"])
        }
    }

    @Test("a missing file is reported with a fix")
    func missing() {
        let read = ResolvConf.read("/nonexistent/resolv.conf")
        #expect(read.servers.isEmpty)
        #expect(read.diagnostics.first?.description.contains("--upstream") == true)
    }
}
