public import DNSWire
public import Lookup
import Platform

/// The stage that judges private addresses which upstream gives for public names: they let a web site reach this
/// machine and its network through the browser (DNS rebinding).
///
/// Judged for each answer, also a cached one, so that a changed setting takes effect at once. Only upstream's answers
/// are judged: overrides and zones may hold any address, also at the end of an upstream's chain of aliases.
public struct PrivateAddressPolicy: Stage {
    public enum Action: String, Sendable, CaseIterable {
        /// They are passed on.
        case allow
        /// They are passed on and marked in the log.
        case warn
        /// The answer becomes NODATA.
        case refuse
    }

    public let action: Action
    /// Names at or below these are not public.
    private let exempt: [Domain]
    private let negativeSOA = NegativeSOA.rdata(minimum: 0)

    public static let allowing = PrivateAddressPolicy(.allow, exempt: [])

    /// - Parameter exempt: the configured domains, and those of routes, whose servers the user has chosen for them.
    public init(_ action: Action, exempt: [Name]) {
        self.action = action
        self.exempt = exempt.map(Domain.init) + Self.local
    }

    @inlinable @inline(__always)
    public func answer(_ lookup: inout Lookup) -> Outcome { .pass }

    @inlinable @inline(__always)
    public func review(_ outcome: Outcome, _ lookup: inout Lookup) -> Outcome {
        // True of few answers; found out when they came from upstream.
        if lookup.decision.privateAnswer != .none { judge(&lookup) }
        return outcome
    }

    /// Domains that nobody can register: reserved, or, as `localdomain`, in such wide private use that they stay so.
    ///
    /// - RFC: 6761 (localhost, test); 6762 3 and appendix G; 8375; 9462 6.4; ICANN resolution 2024.07.29.06 (internal).
    private static let local: [Domain] = [
        Domain("localhost."), Domain("test."), Domain("local."), Domain("home.arpa."), Domain("resolver.arpa."),
        Domain("internal."), Domain("intranet."), Domain("private."), Domain("corp."), Domain("home."), Domain("lan."),
        Domain("localdomain."),
    ]

    /// Whether somebody else may control `name`: it has a domain, and that is neither local nor exempt.
    func isPublic(_ name: borrowing LookupName) -> Bool {
        // A single label is a host of this network, or else a registry's own (RFC 7085).
        guard name.labelCount > 1 else { return false }
        for index in exempt.indices where exempt[index].start(in: name) != nil { return false }
        return true
    }

    /// Judges the answer for the lookup's current name, which has a private address.
    ///
    /// The names that upstream was asked for count, not the address's owner: with an alias to an exempt name, anybody
    /// could get around the policy, also where that name belongs to another server.
    @usableFromInline @inline(never)
    func judge(_ lookup: inout Lookup) {
        guard action != .allow, isPublic(lookup.name) || isLedHere(&lookup) else {
            lookup.decision.privateAnswer = .none
            return
        }
        if action == .refuse { refuse(&lookup) }
    }

    /// Whether upstream's aliases lead here from a public name.
    private func isLedHere(_ lookup: inout Lookup) -> Bool {
        for index in 0..<lookup.decision.hopCount {
            let hop = lookup.decision.hop(index)
            guard [.upstream, .cache, .stale].contains(hop.source),
                lookup.scratch.assign(message: lookup.builder.message, at: Int(hop.nameOffset)) > 0
            else { continue }
            if isPublic(lookup.scratch) { return true }
        }
        return false
    }

    /// Makes the answer NODATA.
    ///
    /// It has to be final: after REFUSED or SERVFAIL stub resolvers ask the next server. And NXDOMAIN would deny the
    /// name's other types, and the names below it (RFC 8020).
    /// - RFC: 2308 2.2; 8914 4.16.
    private func refuse(_ lookup: inout Lookup) {
        let message = lookup.builder.message
        let start = lookup.answerStart
        var cursor = start.length
        var address: SocketAddress?
        while address == nil, let record = MessageReader.record(message, at: cursor) {
            cursor = record.end
            address = PrivateAddress.first(
                in: UnsafeRawBufferPointer(rebasing: message[record.rdata..<record.end]), record.type)
        }
        lookup.builder.rollback(to: start)
        lookup.builder.begin(.authority)
        negativeSOA.withUnsafeBytes {
            // TTL 0, so that no client keeps it when the setting changes.
            _ = lookup.builder.append(owner: .at(lookup.nameOffset), type: .soa, ttl: 0, rdata: $0)
        }
        lookup.decision.responseCode = .noError
        lookup.decision.authenticData = false
        lookup.decision.refuse(
            address, .blocked, "private address of a public name, see upstream.private and upstream.private-domains")
    }
}
