/// Why a name is answered as it is: what each source has, in order, and what a browser does with it.
///
/// Plain text and numbers, to be sent and printed anywhere. Names end with a dot, rules are FILE:LINE or a document,
/// times are seconds or, with `_us`, microseconds.
package struct Explanation: Sendable, Hashable, Codable {
    package var name: String
    package var type: String
    /// From a running daemon, with its cache and its upstream servers.
    package var isLive = false
    package var answer: Answer
    /// If there are aliases: each name, including the last, with the source that answers for it.
    package var chain: [Hop]
    /// One for each source, in order.
    package var rows: [Row]
    /// The override family: the other types a browser asks for, and MX if there is one.
    package var family: [Member]
    /// Nil if no browser would connect after this question.
    package var browser: Browser?
    /// The cache entries for the last name of the chain and this type, by DO and CD.
    package var cached: [CacheEntry] = []
    /// The upstream servers for the last name of the chain.
    package var upstreams: [UpstreamReport] = []
    /// Upstream's answer just now, if it was asked.
    package var asked: AskedReply?

    enum CodingKeys: String, CodingKey {
        case name, type
        case isLive = "live"
        case answer, chain, rows, family, browser, cached, upstreams, asked
    }

    /// The answer a client gets.
    package struct Answer: Sendable, Hashable, Codable {
        /// In short: `127.0.0.14`, `NXDOMAIN`, `masked`, `NODATA`.
        package var summary: String
        /// The source's word in the lookup log.
        package var source: String
        package var rule: String?
        package var responseCode: String
        /// In zone file format.
        package var records: [String]
        /// No source here knows: upstream is asked for `lastName`.
        package var needsUpstream: Bool
        /// The last name of the chain.
        package var lastName: String
        /// What else there is to know about the answer: a sentence.
        package var note: String?

        enum CodingKeys: String, CodingKey {
            case summary, source, rule
            case responseCode = "rcode"
            case records
            case needsUpstream = "needs_upstream"
            case lastName = "last_name"
            case note
        }
    }

    package struct Hop: Sendable, Hashable, Codable {
        package var name: String
        package var source: String
        package var rule: String?
    }

    /// What one source has for the name itself.
    package struct Row: Sendable, Hashable, Codable {
        /// `hosts`, `zone`, `special`, `cache` or `upstream`.
        package var source: String
        /// The place of the deciding line; for upstream, the servers.
        package var rule: String?
        /// A short form of its data; empty if it has none.
        package var text: String
        /// Whether it answers, or why not.
        package var comment: String
        /// It answers for the QNAME.
        package var decides: Bool
        /// Each record with its place.
        package var records: [Entry] = []
        /// Data it has but does not use: under a longer name, or a repeated address.
        package var shadowed: [Entry] = []
        /// If the override was added at run time, its lease.
        package var lease: OverrideLease?
    }

    /// A record or a line.
    package struct Entry: Sendable, Hashable, Codable {
        /// As written on the line, including `*`.
        package var name: String
        package var type: String
        package var data: String
        package var rule: String?
        /// Why it is not used; empty if it is.
        package var reason = ""
    }

    /// Another type of the name, in its override family.
    package struct Member: Sendable, Hashable, Codable {
        package enum State: String, Sendable, Codable {
            case data, nodata, masked, upstream
            /// An error or NXDOMAIN.
            case none
        }

        package var type: String
        package var state: State
        /// A short form.
        package var text: String
        package var rule: String?
        /// The record in a zone that an override masks, if there is one.
        package var hidden: String?
    }

    /// What a browser does with the name.
    package struct Browser: Sendable, Hashable, Codable {
        package enum Upgrade: String, Sendable, Codable {
            /// An HTTPS record makes it use https at once.
            case record
            /// Plain http comes first, so a downgrade is possible.
            case none
            /// Only upstream knows.
            case unknown
        }

        /// In the order they are tried.
        package var addresses: [String]
        package var upgrade: Upgrade
        package var canBeDowngraded: Bool
        /// The same in words.
        package var sentence: String

        enum CodingKeys: String, CodingKey {
            case addresses, upgrade
            case canBeDowngraded = "downgrade_possible"
            case sentence
        }
    }
}
