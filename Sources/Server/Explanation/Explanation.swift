/// Why a name is answered as it is: what each source has, in their order, and what a browser makes of it.
///
/// Plain text and numbers, so that it can be sent and printed anywhere. Names end with a dot, rules are FILE:LINE or a
/// document, times are in seconds or, with `_us`, in microseconds.
public struct Explanation: Sendable, Hashable, Codable {
    public var name: String
    public var type: String
    /// Told by a running daemon, its cache and its upstream servers included.
    public var isLive = false
    public var answer: Answer
    /// Where there are aliases: each name with who answers for it, the last one included.
    public var chain: [Hop]
    /// One for each source, in their order.
    public var rows: [Row]
    /// The other types that a browser asks for, and MX where there is one.
    public var family: [Member]
    /// Nil where no browser would connect by what was asked.
    public var browser: Browser?
    /// What the cache holds for the name at the chain's end and this type, by DO and CD.
    public var cached: [CacheEntry] = []
    /// The servers that are asked about the name at the chain's end.
    public var upstreams: [UpstreamReport] = []
    /// What upstream said just now, where it was to be asked.
    public var asked: AskedReply?

    enum CodingKeys: String, CodingKey {
        case name, type
        case isLive = "live"
        case answer, chain, rows, family, browser, cached, upstreams, asked
    }

    /// What a client gets.
    public struct Answer: Sendable, Hashable, Codable {
        /// In short: `127.0.0.14`, `NXDOMAIN`, `masked`, `NODATA`.
        public var summary: String
        /// The word of the lookup log.
        public var source: String
        public var rule: String?
        public var responseCode: String
        /// As in a zone file.
        public var records: [String]
        /// Nobody here knows: upstream is asked for `lastName`.
        public var needsUpstream: Bool
        /// At the chain's end.
        public var lastName: String

        enum CodingKeys: String, CodingKey {
            case summary, source, rule
            case responseCode = "rcode"
            case records
            case needsUpstream = "needs_upstream"
            case lastName = "last_name"
        }
    }

    public struct Hop: Sendable, Hashable, Codable {
        public var name: String
        public var source: String
        public var rule: String?
    }

    /// What one source has for the name itself.
    public struct Row: Sendable, Hashable, Codable {
        /// `hosts`, `zone`, `special`, `cache` or `upstream`.
        public var source: String
        /// Where the line stands that counts; of upstream, the servers.
        public var rule: String?
        /// What it has, in short; empty where it has nothing.
        public var text: String
        /// Whether it answers, and why not.
        public var comment: String
        /// It answers for the name of the question.
        public var decides: Bool
        /// Each record, with its line.
        public var records: [Entry] = []
        /// What it has besides, and does not use: behind a longer name, a repeated address.
        public var shadowed: [Entry] = []
        /// The override was added at run time, and ends.
        public var lease: OverrideLease?
    }

    /// A record or a line.
    public struct Entry: Sendable, Hashable, Codable {
        /// As the line has it, `*` included.
        public var name: String
        public var type: String
        public var data: String
        public var rule: String?
        /// Why it does not count; empty where it does.
        public var reason = ""
    }

    /// Another type of the name.
    public struct Member: Sendable, Hashable, Codable {
        public enum State: String, Sendable, Codable {
            case data, nodata, masked, upstream
            /// An error or NXDOMAIN.
            case none
        }

        public var type: String
        public var state: State
        /// In short.
        public var text: String
        public var rule: String?
        /// Where a zone has what an override masks.
        public var hidden: String?
    }

    /// What a browser does that is given the name.
    public struct Browser: Sendable, Hashable, Codable {
        public enum Upgrade: String, Sendable, Codable {
            /// An HTTPS record sends it to https at once.
            case record
            /// Plain http comes first, and so a downgrade is possible.
            case none
            /// Upstream knows.
            case unknown
        }

        /// In the order in which they are tried.
        public var addresses: [String]
        public var upgrade: Upgrade
        public var canBeDowngraded: Bool
        /// The same in words.
        public var sentence: String

        enum CodingKeys: String, CodingKey {
            case addresses, upgrade
            case canBeDowngraded = "downgrade_possible"
            case sentence
        }
    }
}
