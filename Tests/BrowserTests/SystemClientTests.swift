import Foundation
import TestSupport
import Testing

/// Clients without a window, on a system whose resolv.conf names the daemon.
@Suite(
    "Other clients, through their own resolvers and those of C libraries",
    .enabled(if: Namespace.isAvailable, "a resolv.conf of its own takes a mount namespace: run as root"))
struct SystemClientTests {
    /// Prints one line with the addresses of each given name, or `-` if it has none.
    struct Client: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let program: String
        var arguments: [String] = []
        /// Written to a file, whose name follows these arguments.
        var source: (file: String, text: String)?
        /// Compiles the file: the words before the program's name.
        var compiler: [String]?
    }

    private let folder: TemporaryFolder
    private let upstream: ScriptedServer
    private let address = ownLoopbackAddress()

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.acme.org\n", to: "hosts")
        try folder.write(
            """
            $ORIGIN acme.org.
            $TTL 3600
            @ IN SOA ns hostmaster 1 7200 3600 1209600 300
            @ NS ns
            ns A 152.153.81.53
            @ A 152.153.81.14
            www CNAME @
            over A 152.153.81.99
            over AAAA 2001:db8::99

            """, to: "zones/acme.org.zone")
        upstream = try ScriptedServer { query, _ in .send(Reply.addresses(query)) }
    }

    private static let clients = [
        Client(
            testDescription: "glibc: Python's getaddrinfo", program: "/usr/bin/python3",
            source: (
                "resolve.py",
                """
                import socket, sys
                for name in sys.argv[1:]:
                    try: print(*sorted({one[4][0] for one in socket.getaddrinfo(name, 80)}))
                    except socket.gaierror: print("-")
                """
            )),
        Client(
            testDescription: "glibc: Node's dns.lookup", program: "/usr/bin/node",
            source: ("lookup.js", node("(await dns.lookup(name, {all: true})).map(one => one.address)"))),
        Client(
            testDescription: "c-ares: Node's dns.resolve", program: "/usr/bin/node",
            source: (
                "resolve.js",
                node(
                    """
                    (await Promise.allSettled([dns.resolve4(name), dns.resolve6(name)])).flatMap(one => one.value ?? [])
                    """)
            )),
        Client(
            testDescription: "Java's InetAddress", program: "/usr/bin/java",
            source: (
                "Resolve.java",
                """
                import java.net.*;
                class Resolve {
                    public static void main(String[] names) {
                        for (String name : names) {
                            try {
                                StringBuilder line = new StringBuilder();
                                for (InetAddress one : InetAddress.getAllByName(name))
                                    line.append(line.isEmpty() ? "" : " ").append(one.getHostAddress());
                                System.out.println(line);
                            } catch (UnknownHostException unknown) { System.out.println("-"); }
                        }
                    }
                }
                """
            )),
        Client(
            testDescription: "musl's getaddrinfo", program: "/usr/bin/musl-gcc",
            source: (
                "resolve.c",
                """
                #include <arpa/inet.h>
                #include <netdb.h>
                #include <stdio.h>
                int main(int count, char **names) {
                    for (int index = 1; index < count; index++) {
                        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all;
                        char text[64], *blank = "";
                        if (getaddrinfo(names[index], "80", &hints, &all)) { puts("-"); continue; }
                        for (struct addrinfo *one = all; one; one = one->ai_next, blank = " ") {
                            getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, 0, 0, NI_NUMERICHOST);
                            printf("%s%s", blank, text);
                        }
                        puts("");
                    }
                }
                """
            ), compiler: ["/usr/bin/musl-gcc", "-static", "-o"]),
        Client(
            testDescription: "Go's own resolver", program: "/usr/bin/go",
            source: (
                "resolve.go",
                """
                package main
                import ("fmt"; "net"; "os"; "strings")
                func main() {
                    for _, name := range os.Args[1:] {
                        all, err := net.LookupHost(name)
                        if err != nil { fmt.Println("-") } else { fmt.Println(strings.Join(all, " ")) }
                    }
                }
                """
            ), compiler: ["/usr/bin/go", "build", "-o"]),
    ]

    private static func node(_ expression: String) -> String {
        """
        const dns = require("node:dns").promises;
        (async () => {
            for (const name of process.argv.slice(2)) {
                const found = await (async () => \(expression))().catch(() => []);
                console.log(found.length ? found.sort().join(" ") : "-");
            }
        })();
        """
    }

    @Test("get the addresses of override, zone and upstream, and a failure", arguments: clients)
    func addresses(_ client: Client) async throws {
        guard FileManager.default.isExecutableFile(atPath: client.program) else {
            try Test.cancel("\(client.program) is not installed: see `make test-browsers`")
        }
        var command = [client.program] + client.arguments
        if let source = client.source { command.append(try folder.write(source.text, to: source.file)) }
        if let compiler = client.compiler {
            let setting = ["HOME=\(folder.path)", "CGO_ENABLED=0"]
            let made = try await Command.run(
                setting + compiler + [folder.file("program"), command[1]], executable: URL(filePath: "/usr/bin/env"))
            try #require(made.code == 0, "\(made.errors)")
            command = [folder.file("program")]
        }
        let daemon = try await DaemonProcess([
            "--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--upstream",
            "127.0.0.1:\(upstream.port)", "--listen", "\(address):53",
        ])
        let names = ["over.acme.org", "acme.org", "www.acme.org", "www.example.net", "nope.acme.org"]
        command = try Namespace.client(of: address, order: "dns", in: folder) + command + names
        let result = try await Command.run(command, executable: URL(filePath: command.removeFirst()))
        #expect(
            result.output == "127.0.0.14\n152.153.81.14\n152.153.81.14\n192.0.2.1\n-\n", "\(result.errors)")
        #expect(try await daemon.stop() == 0)
        let lookups = Set(
            daemon.output.all.compactMap(Lookup.init).filter { ["A", "AAAA"].contains($0.type) }
                .map { "\($0.name) \($0.type) \($0.source) \($0.code)" })
        let sources = [
            ("over.acme.org.", "hosts", "NOERROR"), ("acme.org.", "zone", "NOERROR"),
            ("www.acme.org.", "zone", "NOERROR"), ("www.example.net.", "upstream", "NOERROR"),
            ("nope.acme.org.", "zone", "NXDOMAIN"),
        ]
        let expected = sources.flatMap { name, source, code in ["A", "AAAA"].map { "\(name) \($0) \(source) \(code)" } }
        #expect(lookups == Set(expected))
    }
}
