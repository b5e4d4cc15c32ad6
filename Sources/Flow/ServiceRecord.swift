import DNSWire
import Platform

/// An HTTPS record, parsed as a browser does.
///
/// - RFC: 9460 2.2 (wire form), 7 (keys), 8 (mandatory), 9 (HTTPS).
struct ServiceRecord: Hashable, Sendable {
    /// 0: AliasMode.
    var priority: UInt16
    /// The root means the owner name (ServiceMode), or that there is no service (AliasMode).
    var target: Name
    /// The protocols in `alpn`, without the default protocol of HTTPS.
    var protocols: [String] = []
    var hasDefaultProtocol = true
    var port: UInt16?
    var hints: [SocketAddress] = []
    /// It has keys for Encrypted ClientHello.
    var offersECH = false
    /// A mandatory key that is unknown here.
    var unknownMandatoryKey: UInt16?

    var isAlias: Bool { priority == 0 }

    /// Those of its protocols that we speak: `h2` and `http/1.1`.
    var usableProtocols: [String] {
        let offered = Set(protocols + (hasDefaultProtocol ? ["http/1.1"] : []))
        return ["h2", "http/1.1"].filter(offered.contains)
    }

    /// Why a client must ignore the record; nil if it is usable.
    var reasonAgainst: String? {
        if let unknownMandatoryKey { return "key\(unknownMandatoryKey) is mandatory in it and not known" }
        if usableProtocols.isEmpty {
            return "it needs \(protocols.joined(separator: " or ")), which is not spoken here"
        }
        return nil
    }

    /// Nil if the RDATA is malformed: the whole record must be ignored then (RFC 9460 2.2).
    init?(rdata: [UInt8]) {
        guard rdata.count >= 3 else { return nil }
        priority = UInt16(rdata[0]) << 8 | UInt16(rdata[1])
        var cursor = 2
        while cursor < rdata.count, rdata[cursor] != 0 { cursor += Int(rdata[cursor]) + 1 }
        guard cursor < rdata.count, let name = Name(wire: rdata[2...cursor]) else { return nil }
        target = name
        cursor += 1
        var last = -1
        var mandatory: [UInt16] = []
        while cursor < rdata.count {
            guard cursor + 4 <= rdata.count else { return nil }
            let key = UInt16(rdata[cursor]) << 8 | UInt16(rdata[cursor + 1])
            let end = cursor + 4 + Int(rdata[cursor + 2]) << 8 + Int(rdata[cursor + 3])
            guard Int(key) > last, end <= rdata.count else { return nil }
            last = Int(key)
            guard read(key, rdata[(cursor + 4)..<end], &mandatory) else { return nil }
            cursor = end
        }
        unknownMandatoryKey = mandatory.first { $0 > 6 }
    }

    private mutating func read(_ key: UInt16, _ value: ArraySlice<UInt8>, _ mandatory: inout [UInt16]) -> Bool {
        switch key {
        case 0:
            guard !value.isEmpty, value.count % 2 == 0 else { return false }
            mandatory = stride(from: value.startIndex, to: value.endIndex, by: 2).map {
                UInt16(value[$0]) << 8 | UInt16(value[$0 + 1])
            }
        case 1:
            var rest = value
            while let length = rest.first {
                guard length > 0, rest.count > Int(length) else { return false }
                protocols.append(String(decoding: rest.dropFirst().prefix(Int(length)), as: UTF8.self))
                rest = rest.dropFirst(Int(length) + 1)
            }
            guard !protocols.isEmpty else { return false }
        case 2:
            guard value.isEmpty else { return false }
            hasDefaultProtocol = false
        case 3:
            guard value.count == 2 else { return false }
            port = value.reduce(0) { $0 << 8 | UInt16($1) }
        case 4, 6:
            let size = key == 4 ? 4 : 16
            guard !value.isEmpty, value.count % size == 0 else { return false }
            for start in stride(from: value.startIndex, to: value.endIndex, by: size).prefix(8) {
                guard let address = SocketAddress(rdata: value[start..<(start + size)], port: 443) else { return false }
                hints.append(address)
            }
        case 5: offersECH = true
        default: break
        }
        return true
    }
}
