import Foundation
import LocalData
import TestSupport
import Testing

@testable import Daemon
@testable import Platform

@Suite("Problems of a configuration file are reported with line, reason and fix")
struct ConfigurationProblemTests {
    static let problems: [(yaml: String, expected: [String])] = [
        ("hots:\n  ttl: 5\n", ["test.yaml:1: unknown key 'hots'; did you mean 'hosts'?"]),
        ("hosts:\n  tll: 5\n", ["test.yaml:2: unknown key 'hosts.tll'; did you mean 'hosts.ttl'?"]),
        ("null-address: literal\n", ["test.yaml:1: unknown key 'null-address'; did you mean 'hosts.null-address'?"]),
        (
            "hosts.null_adress: literal\n",
            ["test.yaml:1: unknown key 'hosts.null_adress'; did you mean 'hosts.null-address'?"]
        ),
        ("lisetn: 127.0.0.1\n", ["test.yaml:1: unknown key 'lisetn'; did you mean 'listen'?"]),
        ("\"x\\ny\": 1\n", ["test.yaml:1: unknown key 'x\\010y'; 'stub53 serve --help-keys' lists all"]),
        (
            "quite-another-thing: 1\n",
            ["test.yaml:1: unknown key 'quite-another-thing'; 'stub53 serve --help-keys' lists all"]
        ),
        (
            "listen:\n  - 127.0.0.1\n  - 127.0.0.1:99999\n  - '::1:'\n",
            [
                "test.yaml:3: listen: '127.0.0.1:99999': '99999' is no port; one is a number from 1 to 65535",
                "test.yaml:4: listen: '::1:' is not an IP address; give ADDR[:PORT], or [V6]:PORT",
            ]
        ),
        (
            "listen: tls://[::1:853\n",
            ["test.yaml:1: listen: '[::1:853': ']' is missing"]
        ),
        ("hosts:\n  https: hide\n", ["test.yaml:2: hosts.https: 'hide' is none of mask, pass, synthesize"]),
        (
            "hosts:\n  https: masc\n",
            ["test.yaml:2: hosts.https: 'masc' is none of mask, pass, synthesize; did you mean 'mask'?"]
        ),
        (
            "hosts:\n  ttl: -1\n",
            ["test.yaml:2: hosts.ttl: '-1' is no time; one is a number of seconds, or as 500ms, 5s, 2m, 1h, 1d"]
        ),
        ("hosts:\n  ttl: 1500ms\n", ["test.yaml:2: hosts.ttl: '1500ms' is no whole number of seconds"]),
        (
            "upstream.private: refused\nupstream.private-domains: ['*.corp.example', .]\n",
            [
                "test.yaml:1: upstream.private: 'refused' is none of allow, warn, refuse; did you mean 'refuse'?",
                "test.yaml:2: upstream.private-domains: '*.corp.example': leave out '*.'; a domain stands for all names below it too",
                "test.yaml:2: upstream.private-domains: '.' is every name; name a domain, as corp.example",
            ]
        ),
        ("workers: [1, 2]\n", ["test.yaml:1: workers: takes one value (NUMBER), not a list"]),
        ("workers: 0\n", ["test.yaml:1: workers: '0' is not between 1 and 256"]),
        ("workers: +4\n", ["test.yaml:1: workers: '+4' is no whole number"]),
        ("workers: {a: 1}\n", ["test.yaml:1: workers: takes a value (NUMBER), not further keys"]),
        ("\nworkers:\n", ["test.yaml:2: workers has no value; give one (NUMBER) or remove the line"]),
        ("hosts: 5\n", ["test.yaml:1: hosts holds settings, one 'key: value' a line"]),
        ("- listen\n", ["test.yaml:1: the file holds settings, one 'key: value' a line"]),
        ("hosts:\n  ttl: 5\n  ttl: 6\n", ["test.yaml:3: 'ttl' is set twice, first in line 2; keep one"]),
        ("hosts.ttl: 5\nhosts:\n  ttl: 6\n", ["test.yaml:3: hosts.ttl is set twice, first in line 1; keep one"]),
        (
            "cache:\n  size: 99999999999999999999G\n",
            [
                "test.yaml:2: cache.size: '99999999999999999999G' is no size; one is a number of bytes, with k, M or G behind it if you like"
            ]
        ),
        (
            "cache:\n  size: 9999999999G\n",
            ["test.yaml:2: cache.size: '9999999999G' is more than the most, 1099511627776 bytes"]
        ),
        (
            "dnstap:\n  to: [tcp:127.0.0.1, 'tcp:localhost:6000', 'unix:']\n  max-size: 1k\n",
            [
                "test.yaml:2: dnstap.to: 'tcp:127.0.0.1' has no port; give tcp:ADDR:PORT",
                "test.yaml:2: dnstap.to: 'localhost' is not an IP address; give ADDR[:PORT], or [V6]:PORT",
                "test.yaml:2: dnstap.to: the path is empty",
                "test.yaml:3: dnstap.max-size: '1k' is less than the least, 65536 bytes",
            ]
        ),
        ("cache:\n  prefetch: maybe\n", ["test.yaml:2: cache.prefetch: 'maybe' is neither yes nor no"]),
        (
            "upstream:\n  servers: [none, 192.0.2.1]\n",
            [
                "test.yaml:2: upstream.servers: '192.0.2.1' would be asked for names outside the domains, which 'none' says already; leave one out, or give DOMAIN=SERVER"
            ]
        ),
        (
            "upstream:\n  servers: [system, none]\n",
            [
                "test.yaml:2: upstream.servers: 'none' says who is asked for names outside the domains, and so does 'system'; leave one out"
            ]
        ),
        (
            "upstream:\n  servers: [192.0.2.1, system]\n",
            [
                "test.yaml:2: upstream.servers: 'system' says who is asked for names outside the domains, and so does '192.0.2.1:53'; leave one out"
            ]
        ),
        (
            "upstream:\n  servers: ['*.corp.example=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: '*.corp.example': leave out '*.'; a domain stands for all names below it too"
            ]
        ),
        (
            "upstream:\n  servers: ['corp.example,=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: '' is no domain name: the name is empty"
            ]
        ),
        (
            "upstream:\n  servers: ['=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: '' is no domain name: the name is empty"
            ]
        ),
        (
            "upstream:\n  servers: ['corp example=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: 'corp example' holds characters that names of a domain don't have; give it as corp.example"
            ]
        ),
        (
            "upstream:\n  servers: ['corp.example:53=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: 'corp.example:53' holds characters that names of a domain don't have; give it as corp.example"
            ]
        ),
        (
            "upstream:\n  servers: ['10.0.0.0/8=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: '10.0.0.0/8' holds characters that names of a domain don't have; give it as corp.example"
            ]
        ),
        (
            "upstream:\n  servers: ['10.0.0.1=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: '10.0.0.1' is an address, and no name; the names of 10.0.0.0/8 are those of 10.in-addr.arpa"
            ]
        ),
        (
            "upstream:\n  servers: ['http://corp.example=192.0.2.1']\n",
            [
                "test.yaml:2: upstream.servers: 'http://corp.example=192.0.2.1': 'http://' is no transport; give ADDR, tcp://ADDR, tls://ADDR#NAME or https://HOST/PATH"
            ]
        ),
        (
            "upstream.servers: [\"b\\xD7x.example=192.0.2.1\"]\n",
            [
                "test.yaml:1: upstream.servers: 'b\\195\\151x.example' can't be written as a domain name (RFC 5891)"
            ]
        ),
        (
            "zones.files: ['*.corp.example=x']\n",
            [
                "test.yaml:1: zones.files: '*.corp.example': leave out '*.'; a domain stands for all names below it too"
            ]
        ),
        (
            "upstream.timeout: 1ms\n", ["test.yaml:1: upstream.timeout: '1ms' is not between 100ms and 1m"]
        ),
        (
            "access:\n  allow: [10.0.0.0/33]\n",
            [
                "test.yaml:2: access.allow: '10.0.0.0/33' is no network; one is ADDRESS/LENGTH, as 10.0.0.0/8 or 2001:db8::/32"
            ]
        ),
        (
            "zones.files: [a..b=x]\n",
            [
                "test.yaml:1: zones.files: 'a..b' is no domain name: the name has an empty label (two dots in a row, or one in front)"
            ]
        ),
        ("listen: []\n", ["test.yaml:1: no address to listen on; give one, or leave listen out"]),
        (
            "cache:\n  max-ttl: 5\n  min-ttl: 6\n",
            ["test.yaml:3: cache.min-ttl (6s) is more than cache.max-ttl (5s)"]
        ),
        (
            "listen: 127.0.0.1\nupstream.servers: [192.0.2.1, 127.0.0.1]\n",
            [
                "test.yaml:2: 127.0.0.1:53 is an address of our own (listen 127.0.0.1:53): it would ask itself; name another server"
            ]
        ),
        (
            "listen: 0.0.0.0:5300\nupstream.servers: tcp://127.0.0.9:5300\n",
            [
                "test.yaml:2: tcp://127.0.0.9:5300 is an address of our own (listen 0.0.0.0:5300): it would ask itself; name another server"
            ]
        ),
        (
            "upstream.servers: \"x\\e[31m\"\n",
            [
                "test.yaml:1: upstream.servers: 'x\\027[31m': 'x\\027[31m' is not an IP address; a server is given as ADDR[:PORT] or [V6]:PORT"
            ]
        ),
        ("listen: 127.0.0.1:5300\nupstream.servers: 127.0.0.1\n", []),
        ("listen: [\n", ["test.yaml:2: is not YAML: did not find expected node content"]),
        ("a: \u{1}\n", ["test.yaml:1: is not YAML: control characters are not allowed"]),
        ("listen: &a 127.0.0.1\n", ["test.yaml:1: anchors and aliases are not read; write the value out"]),
        ("", []),
        ("# nothing\n", []),
        ("hosts:\n", []),
    ]

    @Test("Each problem", arguments: problems)
    func problem(_ test: (yaml: String, expected: [String])) throws {
        #expect(try ConfigurationTests.read(test.yaml).problems == test.expected)
    }

    @Test("All problems are reported in order of lines, and settings without problems take effect")
    func all() throws {
        let (configuration, problems) = try ConfigurationTests.read(
            "workers: x\nbogus-key-here: 1\nhosts:\n  ttl: 7\n  https: x\n")
        #expect(problems.map { $0.split(separator: ":")[1] } == ["1", "2", "5"])
        #expect(configuration.hosts.ttl == 7)
    }

    static let hostile: [(what: String, yaml: String)] = [
        ("brackets", String(repeating: "[", count: 500_000)),
        ("dashes", String(repeating: "- ", count: 500_000)),
        ("indents", (0..<1200).map { String(repeating: " ", count: $0) + "k:\n" }.joined()),
        (
            "aliases that double",
            "a0: &a0 [x]\n"
                + (1..<30).map { "? [*a\($0 - 1),*a\($0 - 1)]\n: &a\($0) [*a\($0 - 1),*a\($0 - 1)]\n" }.joined()
        ),
        ("more than 1 MiB", String(repeating: "# nothing\n", count: 110_000)),
        ("many unknown keys", (0..<20_000).map { "key-\($0): 1\n" }.joined()),
    ]

    @Test("A hostile file is refused as a whole", arguments: hostile)
    func refused(_ test: (what: String, yaml: String)) throws {
        let (configuration, problems) = try ConfigurationTests.read(test.yaml)
        #expect(!problems.isEmpty && problems.count <= 1000)
        #expect(configuration.listen.plain.map(\.description) == ["127.0.0.53:53"])
    }

    @Test("For an unreadable file the reason is given", arguments: [("", "can't be read"), ("/tmp", "is a directory")])
    func unreadable(_ test: (path: String, reason: String)) {
        let path = test.path.isEmpty ? "/nonexistent/stub53.yaml" : test.path
        let (_, diagnostics) = Configuration.read(file: path, options: [])
        #expect(diagnostics.hasErrors && "\(diagnostics.list[0])".hasPrefix("\(path): \(test.reason)"))
    }

    @Test("A file that is not UTF-8 is refused")
    func encoding() throws {
        let folder = try TemporaryFolder()
        try Data([0x61, 0x3A, 0x20, 0xFF]).write(to: URL(filePath: folder.path + "/x.yaml"))
        let (_, diagnostics) = Configuration.read(file: folder.path + "/x.yaml", options: [])
        #expect(diagnostics.list.first?.message == "is not UTF-8; save it as UTF-8")
    }

    @Test(
        "The distance of two words counts insertions, deletions, substitutions and swaps",
        arguments: [("ttl", "ttl", 0), ("tll", "ttl", 1), ("lisetn", "listen", 1), ("", "abc", 3), ("abc", "xyz", 3)])
    func distance(_ test: (left: String, right: String, expected: Int)) {
        #expect(editDistance(test.left, test.right) == test.expected)
        #expect(editDistance(test.right, test.left) == test.expected)
    }
}
