import Lookup
import Platform
import Upstream

@testable import Daemon
@testable import Transports

/// Any configuration file, and any value of an option.
enum ConfigurationTarget {
    static let target = FuzzTarget(
        name: "configuration", longest: 2000,
        seeds: {
            try Corpus.examples("yaml").map { Array($0.utf8) }
                + ConfigurationKey.all.map { Array("\($0.path)\n\($0.initial)".utf8) }
                + ["hosts: {ttl: 5}\n", "- a\n", "a: &a [*a]\n", "listen:\n  - tls://127.0.0.1\n  - 127.0.0.1:5353\n"]
                .map { Array($0.utf8) }
        },
        words: {
            (ConfigurationKey.all.map(\.path) + [
                "tls://", "https://", "unix:", "tcp:", "none", "system", "[::1]:53", "64M",
            ]
                + ["500ms", "corp.example=", "yes", ": ", "\n- ", "*", "&", "!!", "? ", "|\n", "---\n", "\u{FEFF}"]).map
            { Array($0.utf8) }
        },
        prepare: {
            let file = MemoryFile(number: 1000)
            return { input in
                let lines = text(input).split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
                let rest = lines.count > 1 ? String(lines[1]) : ""
                if ConfigurationKey.find(String(lines[0])) != nil {
                    let option = Configuration.Option(
                        "--option", String(lines[0]), rest.split(separator: "\n").map(String.init))
                    return check(Configuration.read(file: nil, options: [option]), lines: 0)
                }
                file.write(input)
                check(
                    Configuration.read(file: file.path, options: []),
                    // The end of the file may be one line after its last.
                    lines: input.count { $0 == 0x0A || $0 == 0x0D || $0 == 0x85 || $0 == 0xA8 || $0 == 0xA9 } + 2)
            }
        })

    private static func check(_ read: (Configuration, Diagnostics), lines: Int) {
        let (configuration, diagnostics) = read
        expect(diagnostics.list.count <= 1000, "\(diagnostics.list.count) problems")
        for diagnostic in diagnostics.list {
            expect(
                !diagnostic.place.isNowhere && diagnostic.place.line <= lines, "in no line of \(lines): \(diagnostic)")
            checkSentence(diagnostic.message)
        }
        guard !diagnostics.hasErrors else { return }
        expect(configuration.streams.maximumConnections > 0, "no connections")
        expect(configuration.cache.ttls.least <= configuration.cache.ttls.most, "TTLs the wrong way round")
        expect(configuration.identity.utf8.count <= 255 && configuration.version.utf8.count <= 255, "a text too long")
        expect(configuration.dnstap.destinations.count <= Configuration.Dnstap.maximumDestinations, "too many")
        let servers = configuration.upstream.servers
        expect(servers.count <= ForwardSettings.maximumServers, "too many servers")
        for server in servers {
            let again = try? ConfigurationText.upstreamServers(server.description)
            expect(again == [server], "\(server) is read as another")
        }
    }
}
