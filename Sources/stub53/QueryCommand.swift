import ArgumentParser
import DNSWire
import Daemon
import Glibc
import LocalData
import Platform
import Upstream

/// `stub53 query`: one lookup, printed the way dig does.
struct QueryCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "query",
        abstract: "Ask a DNS server one question and print its response the way dig does.",
        usage: "stub53 query [-x] NAME [TYPE] [@SERVER] [+short] [+tcp] [+dnssec] [+norecurse] [+noedns]",
        discussion: """
            Without @SERVER the first server of /etc/resolv.conf is asked, or 127.0.0.53. A response that does not fit \
            into UDP is fetched over TCP.

            Examples:
              stub53 query acme.org
              stub53 query acme.org HTTPS @127.0.0.1:5300
              stub53 query acme.org @tls://9.9.9.9#dns.quad9.net
              stub53 query acme.org @https://dns.quad9.net/dns-query
              stub53 query -x 127.0.0.14 +short
            """)

    @Flag(name: .customShort("x"), help: "NAME is an address: ask for its PTR records.")
    var reverse = false

    @Flag(help: "Print the data of the answers only, as +short does.")
    var short = false

    @Flag(help: "Ask over TCP, as +tcp does.")
    var tcp = false

    @Flag(help: "Ask for DNSSEC records (DO=1), as +dnssec does.")
    var dnssec = false

    @Option(help: ArgumentHelp("Seconds to wait for the response.", valueName: "seconds"))
    var timeout = 5

    @Option(help: ArgumentHelp("Certificates, PEM, to verify @tls:// and @https:// with.", valueName: "file"))
    var ca: String?

    @Argument(
        help: ArgumentHelp("The name; then a type (default: A), @SERVER, and words as dig has them.", valueName: "name")
    )
    var words: [String]

    private struct Request {
        var name: Name?
        var type: RecordType?
        var recordClass = RecordClass.in
        var server: UpstreamServer?
        var short = false
        var options = DNSExchange.Options()
    }

    mutating func validate() throws {
        guard (1...600).contains(timeout) else { throw ValidationError("--timeout is 1 to 600 seconds.") }
        _ = try request()
    }

    mutating func run() throws {
        let request = try request()
        guard let name = request.name else { return }
        let server = try located(request.server ?? Self.defaultServer)
        let type = request.type ?? (reverse ? .ptr : .a)
        let result: DNSExchange.Result
        do {
            result = try DNSExchange(server, request.options).ask(name, type, request.recordClass)
        } catch {
            throw ServiceFailure(.problem, "\(server): \(error)")
        }
        let printer = ResponsePrinter(result: result, server: server.address)
        do {
            print(try request.short ? printer.short() : printer.full(), terminator: "")
        } catch {
            throw ServiceFailure(.problem, "\(server): the response can't be read (\(error)); ask another @SERVER")
        }
    }

    /// The server with its address, if it was given by a name, and with the authorities to trust.
    private func located(_ server: UpstreamServer) throws -> UpstreamServer {
        var server = server
        if let ca, server.encryption != nil {
            do {
                let pem = try FileText.bytes(of: ca, limit: 1 << 20)
                server.encryption?.authorities = .init(path: ca, pem: pem)
            } catch {
                throw ServiceFailure(.problem, "\(ca): \(error); --ca is a file of trusted certificates")
            }
        }
        guard let host = server.unresolvedHost else { return server }
        let servers = ResolvConf.read(resolvedPath: "").servers
        guard let address = HostLookup.addresses(of: [host], from: servers)[host]?.first else {
            throw ServiceFailure(.problem, "\(server): no address of \(host) is known; give it: @\(server)#ADDR")
        }
        return server.at(address)
    }

    private func request() throws -> Request {
        var request = Request()
        request.short = short
        if tcp { request.options.transport = .tcp }
        request.options.wantsSignatures = dnssec
        request.options.timeout = .seconds(timeout)
        for word in words {
            if word.hasPrefix("@") {
                do {
                    let server = try UpstreamServer(parsing: String(word.dropFirst()))
                    if server.transport == .tcp { request.options.transport = .tcp }
                    request.server = server
                } catch {
                    throw ValidationError("\(error).")
                }
            } else if word.hasPrefix("+") {
                switch word {
                case "+short": request.short = true
                case "+tcp", "+vc": request.options.transport = .tcp
                case "+dnssec", "+do": request.options.wantsSignatures = true
                case "+norecurse", "+norec": request.options.recursionDesired = false
                case "+noedns": request.options.usesEDNS = false
                case "+cd", "+cdflag": request.options.checkingDisabled = true
                default:
                    throw ValidationError(
                        "'\(word)' is not known; there are +short, +tcp, +dnssec, +norecurse, +noedns and +cd.")
                }
            } else if request.name == nil {
                request.name = try name(word)
            } else if request.type == nil, let type = RecordType(mnemonic: word) {
                request.type = type
            } else if let recordClass = RecordClass(mnemonic: word) {
                request.recordClass = recordClass
            } else {
                throw ValidationError("'\(word)' is no record type; give NAME, then TYPE, as in: acme.org HTTPS")
            }
        }
        guard request.name != nil else { throw ValidationError("The name to ask for is missing.") }
        if let type = request.type, [.axfr, .ixfr, .opt, .tsig, .tkey].contains(type) {
            throw ValidationError("\(type) can't be asked for with one query; for a zone transfer use: dig NAME AXFR")
        }
        return request
    }

    private func name(_ word: String) throws -> Name {
        guard reverse else { return try Self.name(word) }
        guard let address = SocketAddress(ip: word, port: 0), let name = Name(address.reverseName) else {
            throw ValidationError("'\(word)' is not an IP address, which -x takes.")
        }
        return name
    }

    /// A name as typed: relative to the root, in A-labels or in its own script.
    static func name(_ word: String) throws -> Name {
        do { return try Name(typed: word) } catch { throw ValidationError("\(error).") }
    }

    /// The first server in resolv.conf, even if it is a local stub: programs on this machine ask it.
    private static var defaultServer: UpstreamServer {
        ResolvConf.read(resolvedPath: "").servers.first
            ?? UpstreamServer(address: Configuration.Listen.standardAddress)
    }
}

extension SocketAddress {
    /// The reverse name of the address (RFC 1035 3.5; 3596 2.5).
    var reverseName: String {
        guard isIPv6 else {
            return (0..<4).map { "\(low >> (8 * UInt64($0)) & 0xFF)." }.joined() + "in-addr.arpa."
        }
        let nibbles = (0..<32).map { ($0 < 16 ? low : high) >> (4 * UInt64($0 % 16)) & 0xF }
        return nibbles.map { String($0, radix: 16) + "." }.joined() + "ip6.arpa."
    }
}
