import DNSWire
import Platform
import TestSupport

/// A query that a scenario's client sends.
struct ScenarioQuery: Sendable {
    enum Transport: Sendable { case udp, tcp }

    var name: String
    var type: String
    var transport = Transport.udp
    var recordClass = "IN"
    var dnssecOK = false
    var checkingDisabled = false
    var authenticData = false
    var recursionDesired = true
    var usesEDNS = true
    var payloadSize: UInt16 = 1232
    var sendsCookie = false
    var wantsNSID = false
    /// Zero bytes behind the message.
    var extraBytes = 0

    init(name: String, type: String) {
        self.name = name
        self.type = type
    }

    private static let clientCookie: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]

    /// Nil if name, type or class is invalid.
    func message(id: UInt16) -> [UInt8]? {
        guard let name = Name(name), let type = RecordType(mnemonic: type),
            let recordClass = RecordClass(mnemonic: recordClass)
        else { return nil }
        var packet = Packet()
        packet.id = id
        packet.flags =
            (recursionDesired ? 0x0100 : 0) | (checkingDisabled ? 0x0010 : 0) | (authenticData ? 0x0020 : 0)
        packet.questions = [name.wire + Packet.bytes(type.rawValue) + Packet.bytes(recordClass.rawValue)]
        if usesEDNS {
            var options: [(code: UInt16, data: [UInt8])] = []
            if sendsCookie { options.append((EDNS.Option.cookie, Self.clientCookie)) }
            if wantsNSID { options.append((EDNS.Option.nsid, [])) }
            packet.additional = [
                Packet.opt(payload: payloadSize, flags: dnssecOK ? 0x8000 : 0, options)
            ]
        }
        return packet.wire + [UInt8](repeating: 0, count: extraBytes)
    }
}

/// A query that a scenario expects to reach upstream.
struct AskedQuery: Sendable, CustomStringConvertible {
    let description: String
    let name: Name
    let type: RecordType
    private var transport: UpstreamTransport?
    private var hasEDNS: Bool?
    private var dnssecOK: Bool?
    private var checkingDisabled: Bool?
    /// The expected length of the cookie, in bytes.
    private var cookie: ClosedRange<Int>?
    private var server: String?

    /// `NAME TYPE WORDS`.
    init?(_ text: String) {
        description = text
        var words = text.split(separator: " ").map(String.init)[...]
        guard let name = words.popFirst().flatMap({ Name($0) }),
            let type = words.popFirst().flatMap({ RecordType(mnemonic: $0) })
        else { return nil }
        self.name = name
        self.type = type
        while let word = words.popFirst() {
            switch word {
            case "udp": transport = .udp
            case "tcp": transport = .tcp
            case "edns": hasEDNS = true
            case "plain": hasEDNS = false
            case "do": dnssecOK = true
            case "nodo": dnssecOK = false
            case "cd": checkingDisabled = true
            case "nocd": checkingDisabled = false
            case "nocookie": cookie = 0...0
            case "cookie": cookie = 8...40
            // With a server cookie.
            case "known": cookie = 16...40
            case "of":
                guard let name = words.popFirst() else { return nil }
                server = name
            default: return nil
            }
        }
    }

    func fits(_ query: UpstreamQuery) -> Bool {
        asksTheSame(query) && transport.map { $0 == query.transport } ?? true
            && hasEDNS.map { $0 == query.hasEDNS } ?? true && dnssecOK.map { $0 == query.dnssecOK } ?? true
            && checkingDisabled.map { $0 == query.checkingDisabled } ?? true
            && cookie.map { $0.contains(query.cookie.count) } ?? true && server.map { $0 == query.server } ?? true
    }

    func asksTheSame(_ query: UpstreamQuery) -> Bool { name == query.name && type == query.type }
}

/// A query that reached a scenario's server.
struct UpstreamQuery: Sendable, CustomStringConvertible {
    let server: String
    let transport: UpstreamTransport
    let id: UInt16
    let name: Name
    let type: RecordType
    let checkingDisabled: Bool
    let hasEDNS: Bool
    let payloadSize: Int
    let dnssecOK: Bool
    let cookie: [UInt8]
    /// The offset after the question.
    let questionEnd: Int

    /// Nil if `message` is not one that we send.
    init?(_ message: [UInt8], _ transport: UpstreamTransport, to server: String) {
        func number(_ offset: Int) -> Int { Int(message[offset]) << 8 | Int(message[offset + 1]) }
        guard message.count >= Header.length, number(4) == 1 else { return nil }
        var cursor = Header.length
        while cursor < message.count, message[cursor] != 0 { cursor += Int(message[cursor]) + 1 }
        guard cursor + 5 <= message.count, let name = Name(wire: message[Header.length...cursor]) else { return nil }
        self.server = server
        self.transport = transport
        self.name = name
        id = UInt16(number(0))
        type = RecordType(rawValue: UInt16(number(cursor + 1)))
        checkingDisabled = message[3] & 0x10 != 0
        questionEnd = cursor + 5
        hasEDNS = number(10) == 1
        guard hasEDNS, questionEnd + EDNS.optLength <= message.count else {
            (payloadSize, dnssecOK, cookie) = (512, false, [])
            return
        }
        payloadSize = number(questionEnd + 3)
        dnssecOK = message[questionEnd + 7] & 0x80 != 0
        let option = questionEnd + EDNS.optLength
        let hasCookie = option + 4 <= message.count && number(option) == Int(EDNS.Option.cookie)
        cookie = hasCookie ? Array(message[(option + 4)...]) : []
    }

    var description: String {
        let parts = [
            "\(name)", "\(type)", "\(transport)", hasEDNS ? "edns" : "plain", dnssecOK ? "do" : "nodo",
            checkingDisabled ? "cd" : "nocd",
            cookie.isEmpty ? "nocookie" : cookie.count == 8 ? "cookie" : "known", "of \(server)",
        ]
        return parts.joined(separator: " ")
    }
}
