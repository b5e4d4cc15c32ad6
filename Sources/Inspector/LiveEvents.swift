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
        /// Whose searches these are: the client that came first.
        let client: String
        /// The newest lookup that it was searched for.
        var newest: Int64
        var pages = 0
    }

    /// Open pages over all, and of one client. A browser has six connections to a server at most.
    static let most = 64
    static let mostOfClient = 16
    /// Lookups of one event at most.
    static let longestCount = 500
    /// How many of the newest lookups are searched at most: who missed more sees a smaller number of new ones.
    private static let window: Int64 = 2000

    private let history: KeptHistory?
    private let pulse: @Sendable () -> String
    private var pages: [Int: Page] = [:]
    private var groups: [String: Group] = [:]
    private var lastNumber = 0
    private var isRunning = false
    /// What the history had when all groups were searched.
    private var settled: UInt64?

    init(_ history: KeptHistory?, pulse: @escaping @Sendable () -> String) {
        self.history = history
        self.pulse = pulse
    }

    /// Subscribes a page, as long as the result exists; nil if there are too many. It holds the last few news only.
    func subscribe(_ client: String, _ words: String, _ filter: LookupFilter) async -> AsyncStream<News>? {
        guard pages.count < Self.most, pages.values.count(where: { $0.client == client }) < Self.mostOfClient else {
            return nil
        }
        lastNumber += 1
        let number = lastNumber
        let (news, send) = AsyncStream.makeStream(of: News.self, bufferingPolicy: .bufferingNewest(8))
        send.onTermination = { [weak self] _ in Task { await self?.remove(number) } }
        pages[number] = Page(client: client, filter: words, send: send)
        if groups[words] == nil {
            // Older lookups are the page's own business. Zero is replaced at the first search.
            groups[words] = Group(filter: filter, client: client, newest: 0)
            settled = nil
        }
        groups[words]?.pages += 1
        send.yield(.pulse(pulse()))
        if !isRunning {
            isRunning = true
            Task { await beat() }
            Task { await watch() }
        }
        return news
    }

    private func remove(_ number: Int) {
        guard let page = pages.removeValue(forKey: number) else { return }
        groups[page.filter]?.pages -= 1
        if groups[page.filter]?.pages == 0 { groups[page.filter] = nil }
    }

    private func beat() async {
        while isRunning {
            try? await Task.sleep(for: .seconds(1))
            guard !pages.isEmpty else {
                isRunning = false
                return
            }
            let text = pulse()
            for page in pages.values { page.send.yield(.pulse(text)) }
        }
    }

    private func watch() async {
        guard let history else { return }
        while isRunning {
            try? await Task.sleep(for: .milliseconds(250))
            let now = history.settled
            guard now != settled else { continue }
            settled = now
            // A failed search is repeated the next time.
            if await !search(history) { settled = nil }
        }
    }

    /// Looks for new lookups for each filter; false if a search failed.
    private func search(_ history: KeptHistory) async -> Bool {
        var isWhole = true
        for (words, group) in groups {
            let client = SearchClient(group.client)
            do {
                let end = try await history.searches.newest(for: client)
                let from = max(min(group.newest, end), end - Self.window)
                let found = try await history.searches.search(
                    group.filter, before: end + 1, after: from, limit: Self.longestCount, for: client)
                groups[words]?.newest = end
                guard !found.lookups.isEmpty else { continue }
                let news = News.lookups(count: found.lookups.count, from: from, to: end)
                for page in pages.values where page.filter == words { page.send.yield(news) }
            } catch { isWhole = false }
        }
        return isWhole
    }
}
