package import DNSWire
import Platform

/// Answers lookups: a DNS server, or the sources in this process.
package protocol NameLookup: Sendable {
    /// Its name for display: `127.0.0.53:53`.
    var description: String { get }

    /// Asks one question; may block.
    func ask(_ name: Name, _ type: RecordType) throws(LookupFailure) -> LookupAnswer
}

/// Why there is no response, and how to fix it: one sentence.
package struct LookupFailure: Error, Sendable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The answer to one question.
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
    /// AD=1: the server has validated it.
    package var isAuthenticated = false
    /// The source that decided, `hosts`; nil if unknown, as over the network.
    package var source: String?
    /// The line that decided, `/etc/hosts:12`, or the upstream server; nil if there is none, or if unknown.
    package var rule: String?
    /// An override hides the records of this type.
    package var isMasked = false
    /// The line of a record that the override hides.
    package var hidden: String?

    package init(records: [Record], responseCode: ResponseCode) {
        self.records = records
        self.responseCode = responseCode
    }

    /// The records of `type` for `name` or the name it is an alias of, with that last name.
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
    /// From the RDATA of an A or AAAA record, or a hint of an HTTPS record.
    init?(rdata: some Collection<UInt8>, port: UInt16) {
        func number(_ bytes: some Sequence<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        switch rdata.count {
        case 4: self.init(high: 0, low: number(rdata), port: port, isIPv6: false)
        case 16: self.init(high: number(rdata.prefix(8)), low: number(rdata.suffix(8)), port: port, isIPv6: true)
        default: return nil
        }
    }
}
