import DNSWire
import LDNS
import Platform
import Upstream

/// What one upstream server can do, found out by asking it. Nil: not known.
struct UpstreamProbe: Encodable, Hashable, Sendable {
    let server: String
    /// Why it does not answer at all.
    private(set) var failure: String?
    /// The largest UDP response that it takes, in bytes; 0: it has no EDNS.
    private(set) var ednsSize: Int?
    private(set) var tcp: Bool?
    /// It keeps DO in its answers.
    private(set) var dnssecOK: Bool?
    private(set) var cookies: Bool?
    /// Signatures reach its clients.
    private(set) var signatures: Bool?
    /// A name that does not exist gets this address.
    private(set) var rewrites: String?
    /// It announces itself over TLS or HTTPS (RFC 9462).
    private(set) var announcesEncryption: Bool?

    enum CodingKeys: String, CodingKey {
        case server, failure, tcp, cookies, signatures, rewrites
        case ednsSize = "edns_size"
        case dnssecOK = "dnssec_ok"
        case announcesEncryption = "announces_encryption"
    }

    init(_ target: UpstreamServer) {
        server = "\(target)"
        var options = DNSExchange.Options()
        options.timeout = .seconds(2)
        // The root's keys are large, signed, and known to each resolver.
        options.wantsSignatures = true
        options.cookie = (0..<8).map { _ in .random(in: 0...255) }
        options.transport = target.transport == .tcp ? .tcp : .udp
        let keys: DNSExchange.Result
        do { keys = try DNSExchange(target, options).ask(.root, .dnskey, .in) } catch {
            failure = error.reason
            // Some drop what they do not know: without EDNS, is it answered?
            var plain = DNSExchange.Options()
            plain.timeout = options.timeout
            plain.usesEDNS = false
            plain.transport = options.transport
            guard target.transport.isPlain, (try? DNSExchange(target, plain).ask(.root, .ns, .in)) != nil else {
                return
            }
            failure = nil
            ednsSize = 0
            return
        }
        let opt = OptionRecord(keys.message)
        ednsSize = opt?.payloadSize ?? 0
        dnssecOK = opt?.dnssecOK ?? false
        cookies = opt?.hasCookie ?? false
        if let message = try? LDNS.Message(wire: keys.message), message.responseCode == .noError {
            let types = message.records(.answer).map(\.type)
            if types.contains(.dnskey) { signatures = types.contains(.rrsig) }
        }
        if target.transport == .udp {
            if keys.transport == .tcp {
                tcp = true
            } else {
                var stream = options
                stream.transport = .tcp
                tcp = (try? DNSExchange(target, stream).ask(.root, .ns, .in)) != nil
            }
        }
        options.wantsSignatures = false
        options.cookie = []
        rewrites = Self.addressOfNothing(target, options)
        if target.transport.isPlain, let name = Name("_dns.resolver.arpa."),
            let result = try? DNSExchange(target, options).ask(name, .svcb, .in),
            let message = try? LDNS.Message(wire: result.message)
        {
            announcesEncryption = message.records(.answer).contains { $0.type == .svcb }
        }
    }

    /// The address of a name that nobody has.
    private static func addressOfNothing(_ target: UpstreamServer, _ options: DNSExchange.Options) -> String? {
        let letters = String((0..<20).map { _ in "abcdefghijklmnopqrstuvwxyz".randomElement() ?? "x" })
        guard let name = Name("\(letters).com."), let result = try? DNSExchange(target, options).ask(name, .a, .in),
            let message = try? LDNS.Message(wire: result.message), message.responseCode == .noError
        else { return nil }
        return message.records(.answer).first { $0.type == .a }.map {
            Presentation.text(rdata: $0.rdata, type: .a)
        }
    }

    /// What is in an OPT record.
    /// - RFC: 6891 6.1.
    private struct OptionRecord {
        var payloadSize = 0
        var dnssecOK = false
        var hasCookie = false

        /// Nil: the message has none. It has been walked before.
        init?(_ message: [UInt8]) {
            var found: OptionRecord?
            message.withUnsafeBytes { bytes in
                guard let summary = MessageReader.walk(bytes) else { return }
                var cursor = summary.questionEnd
                for _ in 0..<(summary.answers + summary.authority + summary.additional) {
                    guard let record = MessageReader.record(bytes, at: cursor) else { return }
                    cursor = record.end
                    guard record.type == .opt else { continue }
                    var option = OptionRecord(record)
                    var place = record.rdata
                    while place + 4 <= record.end {
                        let code = UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1])
                        if code == EDNS.Option.cookie { option.hasCookie = true }
                        place += 4 + Int(bytes[place + 2]) << 8 + Int(bytes[place + 3])
                    }
                    found = option
                }
            }
            guard let found else { return nil }
            self = found
        }

        private init(_ record: MessageReader.Record) {
            payloadSize = Int(record.recordClass.rawValue)
            dnssecOK = record.ttl & UInt32(EDNS.dnssecOK) != 0
        }
    }
}
