import DNSWire
public import LocalData
public import Lookup
public import Platform

/// Turns away clients from networks that are not served.
public struct AccessStage: Stage {
    private let list: AccessList

    public init(_ list: AccessList) { self.list = list }

    public func admits(_ client: SocketAddress) -> Bool { list.allows(client) }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        if admits(lookup.request.client) { return .pass }
        lookup.decision.fail(.refused, .prohibited, "clients from this network are not served")
        return .answered
    }
}

/// How the server names itself to clients.
public struct ServerIdentity: Sendable {
    /// Answer to `id.server. CH TXT`; empty: refused. 255 bytes at most.
    public var identity: [UInt8]
    /// Answer to `version.bind. CH TXT`; empty: refused. 255 bytes at most.
    public var version: [UInt8]

    public static let none = ServerIdentity(identity: [], version: [])

    public init(identity: [UInt8], version: [UInt8]) {
        self.identity = identity
        self.version = version
    }
}

/// Answers questions of class CH about the server itself; refuses all classes but IN.
///
/// - RFC: 4892 3.1.
public struct IdentityStage: Stage {
    private let server: ServerIdentity

    public init(_ server: ServerIdentity) { self.server = server }

    public static let document = Place(path: "RFC 4892 3.1")

    private static let versionNames = [Domain("version.bind."), Domain("version.server.")]
    private static let identityNames = [Domain("id.server."), Domain("hostname.bind.")]

    public func answer(_ lookup: inout Lookup) -> Outcome {
        guard lookup.query.recordClass != .in else { return .pass }
        guard lookup.query.recordClass == .ch else {
            lookup.decision.fail(.refused, .notSupported, "only the classes IN and CH are served")
            return .answered
        }
        let isVersion = Self.names(Self.versionNames, lookup.name)
        let text = isVersion ? server.version : server.identity
        guard isVersion || Self.names(Self.identityNames, lookup.name), !text.isEmpty else {
            lookup.decision.fail(.refused, .notSupported, "of class CH only version.bind and id.server are served")
            return .answered
        }
        lookup.decision.source = .special
        lookup.decision.place = Self.document
        lookup.decision.authoritative = true
        if lookup.query.type == .txt || lookup.query.type == .any {
            ([UInt8(text.count)] + text).withUnsafeBytes {
                _ = lookup.builder.append(owner: .at(Header.length), type: .txt, recordClass: .ch, ttl: 0, rdata: $0)
            }
        }
        return .answered
    }

    private static func names(_ domains: [Domain], _ name: borrowing LookupName) -> Bool {
        for index in domains.indices where domains[index].start(in: name) == 0 { return true }
        return false
    }
}

/// Refuses types that can't be queried.
public struct QueryTypeStage: Stage {
    public init() {}

    public func answer(_ lookup: inout Lookup) -> Outcome {
        switch lookup.query.type {
        case .opt: lookup.decision.fail(.formatError)
        case .nxname:  // RFC 9824 3.5
            lookup.decision.fail(.formatError, .invalidQueryType, "NXNAME is not a type to ask for")
        case .tkey, .tsig, .maila, .mailb, RecordType(rawValue: 0): lookup.decision.fail(.notImplemented)
        default: return .pass
        }
        return .answered
    }
}

/// Zone transfers, which need a stream.
///
/// IXFR gets just the SOA if the client's zone is current or newer, or, over UDP, to make it retry over TCP.
/// - RFC: 5936 2.2.1, 4.2; 1995 2, 4; 1982 3.2.
public struct TransferStage: Stage {
    private let zones: ZoneSet

    public init(_ zones: ZoneSet) { self.zones = zones }

    public func answer(_ lookup: inout Lookup) -> Outcome {
        let type = lookup.query.type
        guard type == .axfr || type == .ixfr else { return .pass }
        // DoH too allows only one message per answer (RFC 8484 4.2.1).
        let transport = lookup.request.transport
        let isDatagram = transport == .udp || transport == .doh
        if isDatagram, type == .axfr {
            lookup.decision.fail(.formatError, .notSupported, "zone transfers need TCP")
        } else if !lookup.request.client.isLoopback {
            lookup.decision.fail(.refused, .prohibited, "zones are transferred to loopback clients only")
        } else if let zone = zones.zone(apex: lookup.name) {
            let isCurrent = Int32(bitPattern: lookup.query.heldSerial &- zone.serial) >= 0
            guard isDatagram || type == .ixfr && isCurrent else { return .transfer }
            lookup.question = Question(type: .soa, mayForward: false)
            _ = zones.answer(&lookup)
        } else {
            lookup.decision.fail(.notAuth, .notAuthoritative, "no zone with this apex is served")
        }
        return .answered
    }
}
