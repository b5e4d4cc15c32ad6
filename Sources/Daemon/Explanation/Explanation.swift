/// Why a name is answered as it is: what each source has, in their order, and what a browser makes of it.
///
/// Plain text and numbers, so that it can be sent and printed anywhere. Names end with a dot, rules are FILE:LINE or a
/// document, times are in seconds or, with `_us`, in microseconds.
package struct Explanation: Sendable, Hashable, Codable {
    package var name: String
    package var type: String
    /// Told by a running daemon, its cache and its upstream servers included.
    package var isLive = false
    package var answer: Answer
    /// Where there are aliases: each name with who answers for it, the last one included.
    package var chain: [Hop]
    /// One for each source, in their order.
    package var rows: [Row]
    /// The other types that a browser asks for, and MX where there is one.
    package var family: [Member]
    /// Nil where no browser would connect by what was asked.
    package var browser: Browser?
    /// What the cache holds for the name at the chain's end and this type, by DO and CD.
    package var cached: [CacheEntry] = []
    /// The servers that are asked about the name at the chain's end.
    package var upstreams: [UpstreamReport] = []
    /// What upstream said just now, where it was to be asked.
    package var asked: AskedReply?

    enum CodingKeys: String, CodingKey {
        case name, type
        case isLive = "live"
        case answer, chain, rows, family, browser, cached, upstreams, asked
    }

    /// What a client gets.
    package struct Answer: Sendable, Hashable, Codable {
        /// In short: `127.0.0.14`, `NXDOMAIN`, `masked`, `NODATA`.
        package var summary: String
        /// The word of the lookup log.
        package var source: String
        package var rule: String?
        package var responseCode: String
        /// As in a zone file.
        package var records: [String]
        /// Nobody here knows: upstream is asked for `lastName`.
        package var needsUpstream: Bool
        /// At the chain's end.
        package var lastName: String

        enum CodingKeys: String, CodingKey {
            case summary, source, rule
            case responseCode = "rcode"
            case records
            case needsUpstream = "needs_upstream"
            case lastName = "last_name"
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
        /// Where the line stands that counts; of upstream, the servers.
        package var rule: String?
        /// What it has, in short; empty where it has nothing.
        package var text: String
        /// Whether it answers, and why not.
        package var comment: String
        /// It answers for the name of the question.
        package var decides: Bool
        /// Each record, with its line.
        package var records: [Entry] = []
        /// What it has besides, and does not use: behind a longer name, a repeated address.
        package var shadowed: [Entry] = []
        /// The override was added at run time, and ends.
        package var lease: OverrideLease?
    }

    /// A record or a line.
    package struct Entry: Sendable, Hashable, Codable {
        /// As the line has it, `*` included.
        package var name: String
        package var type: String
        package var data: String
        package var rule: String?
        /// Why it does not count; empty where it does.
        package var reason = ""
    }

    /// Another type of the name.
    package struct Member: Sendable, Hashable, Codable {
        package enum State: String, Sendable, Codable {
            case data, nodata, masked, upstream
            /// An error or NXDOMAIN.
            case none
        }

        package var type: String
        package var state: State
        /// In short.
        package var text: String
        package var rule: String?
        /// Where a zone has what an override masks.
        package var hidden: String?
    }

    /// What a browser does that is given the name.
    package struct Browser: Sendable, Hashable, Codable {
        package enum Upgrade: String, Sendable, Codable {
            /// An HTTPS record sends it to https at once.
            case record
            /// Plain http comes first, and so a downgrade is possible.
            case none
            /// Upstream knows.
            case unknown
        }

        /// In the order in which they are tried.
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
