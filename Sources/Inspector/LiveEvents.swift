import History
import LookupLog

/// What open pages are told: the pulse of the header each second, and how many lookups have come that fit the page.
///
/// However many pages are open, each text and each search is made once, and a page only passes it on.
actor LiveEvents {
    /// News for the pages with one filter.
    enum News: Sendable {
        /// The header's pulse, as HTML.
        case pulse(String)
        /// So many lookups with identifiers above `from` up to `to`.
        case lookups(count: Int, from: Int64, to: Int64)
    }

    private struct Page {
        let client: String
        let filter: String
        let send: AsyncStream<News>.Continuation
    }

    /// The pages with one filter.
    private struct Group {
        let filter: LookupFilter
        /// The newest lookup that they know of.
        var newest: Int64
        var pages: Int
    }

    /// Open pages over all, and of one client. A browser has six connections to a server at most.
    static let most = 64
    static let mostOfClient = 16
    /// Lookups of one event at most.
    static let longestCount = 500

    private let history: KeptHistory?
    private let pulse: @Sendable () -> String
    private var pages: [Int: Page] = [:]
    private var groups: [String: Group] = [:]
    private var lastNumber = 0
    private var loop: Task<Void, Never>?

    init(_ history: KeptHistory?, pulse: @escaping @Sendable () -> String) {
        self.history = history
        self.pulse = pulse
    }

    /// Subscribes a page, as long as the result exists; nil if there are too many. It holds the last few news only.
    ///
    /// - Parameter newest: the newest lookup that the page shows.
    func subscribe(_ client: String, _ words: String, _ filter: LookupFilter, newest: Int64) -> AsyncStream<News>? {
        guard pages.count < Self.most, pages.values.count(where: { $0.client == client }) < Self.mostOfClient else {
            return nil
        }
        lastNumber += 1
        let (news, send) = AsyncStream.makeStream(of: News.self, bufferingPolicy: .bufferingNewest(8))
        let number = lastNumber
        send.onTermination = { [weak self] _ in Task { await self?.remove(number) } }
        pages[number] = Page(client: client, filter: words, send: send)
        groups[words, default: Group(filter: filter, newest: newest, pages: 0)].pages += 1
        send.yield(.pulse(pulse()))
        if let group = groups[words], group.newest > newest {
            // The others with this filter know more.
            send.yield(.lookups(count: 0, from: group.newest, to: group.newest))
        }
        if loop == nil { loop = Task { await run() } }
        return news
    }

    private func remove(_ number: Int) {
        guard let page = pages.removeValue(forKey: number) else { return }
        groups[page.filter]?.pages -= 1
        if groups[page.filter]?.pages == 0 { groups[page.filter] = nil }
    }

    /// Works while there are pages.
    private func run() async {
        var settled: UInt64?
        var beat = 0
        while !pages.isEmpty {
            try? await Task.sleep(for: .milliseconds(250))
            beat += 1
            if beat.isMultiple(of: 4) { announce(.pulse(pulse())) { _ in true } }
            guard let history, history.settled != settled else { continue }
            let now = history.settled
            // A failed search is repeated the next time.
            if await search(history) { settled = now }
        }
        loop = nil
    }

    /// Looks for new lookups for each filter; false if a search failed.
    private func search(_ history: KeptHistory) async -> Bool {
        var isWhole = true
        let searcher = SearchClient("events")
        let end = await newest(history)
        for (words, group) in groups {
            let found = try? await history.searches.search(
                group.filter, after: group.newest, limit: Self.longestCount, newestFirst: true, for: searcher)
            guard let found else {
                isWhole = false
                continue
            }
            // What does not fit is not looked at again.
            let to = found.lookups.first?.id ?? end
            groups[words]?.newest = max(to, group.newest)
            guard !found.lookups.isEmpty else { continue }
            announce(.lookups(count: found.lookups.count, from: group.newest, to: to)) { $0.filter == words }
        }
        return isWhole
    }

    private func newest(_ history: KeptHistory) async -> Int64 {
        let found = try? await history.searches.search(LookupFilter(), limit: 1, for: SearchClient("events"))
        return found?.lookups.first?.id ?? 0
    }

    private func announce(_ news: News, to isMeant: (Page) -> Bool) {
        for page in pages.values where isMeant(page) { page.send.yield(news) }
    }
}
