package import DNSWire
import Platform

/// Who is asked for records: a DNS server, or the sources of this process.
package protocol NameLookup: Sendable {
    /// Who that is, for people: `127.0.0.53:53`.
    var description: String { get }

    /// Asks one question; may block until there is an answer.
    func ask(_ name: Name, _ type: RecordType) throws(LookupFailure) -> LookupAnswer
}

/// Why there is no answer at all: one sentence, with the mend.
package struct LookupFailure: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// What was said to one question.
package struct LookupAnswer: Sendable {
    package struct Record: Sendable {
        package var owner: Name
        package var type: RecordType
        /// Seconds.
        package var ttl: UInt32
        package var rdata: [UInt8]
        /// The RDATA in printable form.
        package var text: String

        package init(owner: Name, type: RecordType, ttl: UInt32, rdata: [UInt8], text: String) {
            self.owner = owner
            self.type = type
            self.ttl = ttl
            self.rdata = rdata
            self.text = text
        }
    }

    /// The answer section.
    package var records: [Record]
    package var responseCode: ResponseCode
    /// AA=1.
    package var isAuthoritative = false
    /// AD=1: whoever answered has validated it.
    package var isAuthenticated = false
    /// Which source decided, `hosts`; nil where nobody says (over the wire).
    package var source: String?
    /// The line that decided, `/etc/hosts:12`, or the upstream server; nil where there is none, or nobody says.
    package var rule: String?
    /// An override hides the records of this type.
    package var isMasked = false
    /// The record that the override hides: its line.
    package var hidden: String?

    package init(records: [Record], responseCode: ResponseCode) {
        self.records = records
        self.responseCode = responseCode
    }

    /// The records of `type` for `name`, or for what it is an alias of; and the name at the end of the aliases.
    package func data(_ name: Name, _ type: RecordType) -> (owner: Name, records: [Record]) {
        var owner = name
        for _ in 0..<16 {
            guard let alias = records.first(where: { $0.type == .cname && $0.owner == owner }),
                let target = Name(wire: alias.rdata), target != owner
            else { break }
            owner = target
        }
        return (owner, records.filter { $0.type == type && $0.owner == owner })
    }

    /// The addresses for `name`, with `port`.
    func addresses(_ name: Name, _ type: RecordType, port: UInt16) -> [SocketAddress] {
        data(name, type).records.compactMap { SocketAddress(rdata: $0.rdata, port: port) }
    }
}

extension SocketAddress {
    /// The RDATA of an A or AAAA record, or a hint of an HTTPS record.
    init?(rdata: some Collection<UInt8>, port: UInt16) {
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch rdata.count {
        case 4: self.init(high: 0, low: number(rdata), port: port, isIPv6: false)
        case 16: self.init(high: number(rdata.prefix(8)), low: number(rdata.suffix(8)), port: port, isIPv6: true)
        default: return nil
        }
    }
}
