import DNSWire
import Glibc
import LDNS
import Lookup

/// How much of EDNS a query has. Servers that can't take all of it are asked with less, one step at a time.
///
/// - RFC: 6891 7.
public enum EDNSLevel: UInt8, Sendable, Hashable, Comparable, BitwiseCopyable, CaseIterable {
    /// No OPT record.
    case none
    /// OPT without options and without DO, even if the client set it.
    case withoutSignatures
    /// OPT without options.
    case withoutOptions
    /// OPT with all that belongs into it.
    case full

    public static func < (left: EDNSLevel, right: EDNSLevel) -> Bool { left.rawValue < right.rawValue }

    /// In reports.
    public var word: String {
        switch self {
        case .none: "none"
        case .withoutSignatures: "no-do"
        case .withoutOptions: "no-options"
        case .full: "full"
        }
    }

    /// The next lower level that makes a query with or without DO a different one.
    func below(_ dnssecOK: Bool) -> EDNSLevel {
        switch self {
        case .full: .withoutOptions
        case .withoutOptions: dnssecOK ? .withoutSignatures : .none
        case .withoutSignatures, .none: .none
        }
    }

    /// The next higher level that tells something new of a server at this one; nil if there is none.
    func above(_ dnssecOK: Bool) -> EDNSLevel? {
        switch self {
        case .none: dnssecOK ? .withoutSignatures : .withoutOptions
        case .withoutSignatures: dnssecOK ? .withoutOptions : nil
        case .withoutOptions: .full
        case .full: nil
        }
    }
}

/// The queries to one server, as libldns has built them: one template for each combination of flags, made when it is
/// first needed.
struct UpstreamQueries: Sendable {
    private var templates: [QueryTemplate?] = []
    /// The server cookie in the templates.
    private var cookie: [UInt8] = []

    /// RFC 8467 4.1: the block for queries.
    private static let paddingBlock = 128
    static let maximumLength = QueryTemplate.maximumLength

    /// Writes the query for `key` to `base`, which has `maximumLength` bytes; returns its length.
    ///
    /// `caseMask` marks the letters to send as capitals. At level `full` the query has `jar`'s cookies, or padding.
    mutating func write(
        _ key: FetchKey, id: UInt16, caseMask: UInt64, level: EDNSLevel, jar: CookieJar?, isPadded: Bool,
        to base: UnsafeMutableRawPointer
    ) -> Int {
        if templates.isEmpty { templates = Array(repeating: nil, count: EDNSLevel.allCases.count * 8) }
        if let jar, jar.server != cookie {
            cookie = jar.server
            for index in templates.indices { templates[index] = nil }
        }
        let index =
            Int(level.rawValue) * 8 + (key.dnssecOK ? 4 : 0) + (key.checkingDisabled ? 2 : 0) + (isPadded ? 1 : 0)
        let template = templates[index] ?? Self.template(key, level, jar, isPadded)
        templates[index] = template
        let length = template.write(name: key.name, type: key.type, id: id, to: base)
        guard caseMask != 0 else { return length }
        for index in key.name.indices where isCapital(key.name[index], index, caseMask) {
            base.write(key.name[index] ^ 0x20, at: Header.length + index)
        }
        return length
    }

    private static func template(
        _ key: FetchKey, _ level: EDNSLevel, _ jar: CookieJar?, _ isPadded: Bool
    ) -> QueryTemplate {
        var options = QueryTemplate.Options()
        // We understand AD in the response, even if the client wants no signatures (RFC 6840 5.7).
        options.isAuthenticDataUnderstood = true
        options.isCheckingDisabled = key.checkingDisabled
        options.payloadSize = level == .none ? nil : UInt16(EDNS.payloadSize)
        options.wantsSignatures = key.dnssecOK && level > .withoutSignatures
        if level == .full {
            if let jar { options.cookie = jar.clientBytes + jar.server }
            options.paddingBlock = isPadded ? paddingBlock : 0
        }
        // Fails without memory only, where Swift itself would end the process.
        guard let template = try? QueryTemplate(options) else { fatalError("libldns has no memory for a query") }
        return template
    }

    /// How the question of a message compares to the one sent.
    enum Echo {
        case same
        /// Only letters differ in case.
        case otherCase
        case other
    }

    static func echo(of message: UnsafeRawBufferPointer, _ key: FetchKey, caseMask: UInt64) -> Echo {
        let count = key.name.count
        guard message.count >= Header.length + count + 4, let base = message.baseAddress,
            base.readUInt16(4) == 1, base.readUInt16(Header.length + count) == key.type.rawValue,
            base.readUInt16(Header.length + count + 2) == RecordClass.in.rawValue
        else { return .other }
        let isSame = key.name.withUnsafeBytes {
            memcmp($0.baseAddress.unsafelyUnwrapped, base + Header.length, count) == 0
        }
        if isSame, caseMask == 0 { return .same }
        var echo = Echo.same
        for index in 0..<count {
            let byte = base.readByte(Header.length + index)
            let sent = isCapital(key.name[index], index, caseMask) ? key.name[index] ^ 0x20 : key.name[index]
            if byte == sent { continue }
            // A label's length byte is below 0x40, so it never counts as a letter.
            guard ASCII.lowercased(byte) == key.name[index] else { return .other }
            echo = .otherCase
        }
        return echo
    }
}

@inline(__always)
private func isCapital(_ byte: UInt8, _ index: Int, _ caseMask: UInt64) -> Bool {
    byte &- 0x61 < 26 && caseMask >> UInt64(index & 63) & 1 == 1
}
