import ArgumentParser
import Cassettes
import DNSWire
import Glibc
import LookupLog
import Platform

/// `stub53 cassette`: makes cassettes of captures, and other files of cassettes.
struct CassetteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cassette",
        abstract: "Make a cassette of captured packets, or another file of a cassette.",
        discussion: """
            'stub53 serve' and 'stub53 exec' record and replay cassettes (--record, --replay); 'stub53 check --replay FILE' \
            checks one.

            Examples:
              stub53 cassette import dns.pcapng -o acme.cassette
              stub53 cassette export acme.cassette --as hosts -o hosts
            """,
        subcommands: [Import.self, Export.self])

    /// What is read whole, in bytes.
    private static let largestCapture = 256 << 20

    struct Import: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a cassette of the responses in captures: pcapng, pcap or dnstap.",
            discussion: """
                In packet captures, UDP and TCP with port 53 count. If a dnstap file has a resolver's own queries, its \
                clients' are left out.

                Examples:
                  stub53 cassette import dns.pcapng -o acme.cassette
                  stub53 cassette import resolver.dnstap --server 9.9.9.9 -o acme.cassette
                """)

        @Argument(help: "The captures.", completion: .file())
        var files: [String]

        @Option(
            name: .shortAndLong,
            help: ArgumentHelp("The cassette to write.", valueName: "file"), completion: .file())
        var output: String

        @Option(
            name: .customLong("server"),
            help: ArgumentHelp("Take this server's responses only. (default: all)", valueName: "addr"))
        var servers: [String] = []

        mutating func validate() throws {
            for server in servers where Platform.SocketAddress(ip: server, port: 0) == nil {
                throw ValidationError("'\(server)' is no IP address; --server takes one, as 192.0.2.53.")
            }
        }

        mutating func run() throws {
            var settings = CassetteSettings()
            settings.record = output
            try CassetteCommand.stopAtErrors(settings.check())
            var made = CassetteImport(from: servers.compactMap { Platform.SocketAddress(ip: $0, port: 0) })
            for file in files {
                let capture: Capture?
                do throws(FileText.Failure) {
                    let text = try FileText(path: file, limit: largestCapture)
                    capture = Capture.read(text.bytes)
                } catch {
                    throw ServiceFailure(.problem, "\(file): \(error)")
                }
                guard let capture else {
                    throw ServiceFailure(
                        .problem,
                        "\(file): this is no capture; pcapng, pcap and dnstap are read ('tcpdump -w FILE port 53' makes one)"
                    )
                }
                made.add(capture)
            }
            var tape = made.tape
            try CassetteCommand.write(CassetteText.write(&tape), to: output)
            let questions = tape.count
            print(
                "\(output): \(Terminal.count(questions, "question")), \(made.count) \(made.count == 1 ? "reply" : "replies")"
            )
            for (reason, count) in made.skipped.sorted(by: { $0.key < $1.key }) {
                print("left out: \(count) times \(reason)")
            }
        }
    }

    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a cassette as a zone file, a hosts file, a scenario (.rpl) or packets (pcapng).",
            discussion: """
                Zone and hosts files have the last reply to each question.

                Examples:
                  stub53 cassette export acme.cassette --as zone --zone acme.org -o acme.org.zone
                  stub53 cassette export acme.cassette --as pcapng -o acme.pcapng
                """)

        @Argument(help: "The cassette.", completion: .file())
        var cassette: String

        @Option(name: .customLong("as"), help: "The form of the file.")
        var form: CassetteExport.Form

        @Option(help: ArgumentHelp("The zone's name, with --as zone.", valueName: "name"))
        var zone: String?

        @Option(
            name: .shortAndLong, help: ArgumentHelp("The file to write.", valueName: "file"), completion: .file())
        var output: String

        mutating func validate() throws {
            if form == .zone, zone == nil {
                throw ValidationError("A zone has a name: give the one whose names are wanted, as --zone acme.org.")
            }
            if form != .zone, zone != nil { throw ValidationError("--zone belongs to --as zone: leave it out.") }
        }

        mutating func run() throws {
            let (tape, diagnostics) = CassetteReader.read(path: cassette)
            try CassetteCommand.stopAtErrors(diagnostics)
            guard let tape else { return }
            let bytes: [UInt8] =
                switch form {
                case .zone:
                    Array(CassetteExport.zone(tape, apex: try QueryCommand.name(zone ?? ".")).utf8)
                case .hosts: Array(CassetteExport.hosts(tape).utf8)
                case .rpl: Array(CassetteExport.scenario(tape, name: cassette).utf8)
                case .pcapng: CassetteExport.packets(tape)
                }
            try CassetteCommand.write(bytes, to: output)
        }
    }

    private static func stopAtErrors(_ diagnostics: Diagnostics) throws {
        for diagnostic in diagnostics.list { Terminal.error("\(diagnostic)") }
        if diagnostics.hasErrors { throw ExitCode(ServiceFailure.Code.problem.rawValue) }
    }

    private static func write(_ bytes: [UInt8], to path: String) throws {
        do throws(SystemError) { try WholeFile.write(bytes, to: path) } catch {
            throw ServiceFailure(.problem, "\(path) can't be written: \(error.reason); name another file")
        }
    }
}

extension CassetteExport.Form: ExpressibleByArgument {}
