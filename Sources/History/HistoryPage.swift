package import LookupLog

/// One page of the lookups that a search found.
package struct HistoryPage: Sendable {
    /// In the requested order.
    package var lookups: [StoredLookup] = []
    /// Gaps among them, in the same order.
    package var losses: [HistoryLoss] = []
    /// The upstream servers, in the order of `LookupRecord.upstream`: `ADDR:PORT` each.
    package var upstreams: [String] = []
    /// The order of `lookups` and `losses`.
    package var isNewestFirst = true
    /// Where the next page starts: `before` or `after` of its search. Nil if there are no more.
    package var next: Int64?

    /// Lookups and losses; a loss is next to the lookup that it followed.
    package enum Entry: Sendable {
        case lookup(StoredLookup)
        case loss(HistoryLoss)
    }

    package var entries: [Entry] {
        var entries: [Entry] = []
        var rest = losses[...]
        for lookup in lookups {
            while let loss = rest.first, isNewestFirst ? loss.after >= lookup.id : loss.after < lookup.id {
                entries.append(.loss(loss))
                rest.removeFirst()
            }
            entries.append(.lookup(lookup))
        }
        return entries + rest.map(Entry.loss)
    }
}

extension HistoryStore {
    /// The lookups that match `filter`, with losses among them.
    ///
    /// - Parameters:
    ///   - before: only lookups with a smaller `id`: `next` of the page before, going back in time.
    ///   - after: only lookups with a larger `id`: `next` of the page before, going forward.
    ///   - limit: lookups of the page.
    ///   - budget: nil: no limit.
    package func search(
        _ filter: LookupFilter, before: Int64? = nil, after: Int64? = nil, limit: Int, newestFirst: Bool = true,
        _ budget: SearchBudget? = nil
    ) throws(Problem) -> HistoryPage {
        try read(within: budget) { database in
            var search = HistorySearch(database)
            // Where nothing matches, what was lost might have.
            guard try search.prepare(filter, after: after) else {
                return try search.losses(above: after ?? 0, below: before ?? .max, newestFirst: newestFirst)
            }
            return try search.page(
                above: after ?? 0, below: before ?? .max, limit: max(limit, 1), newestFirst: newestFirst)
        }
    }

    /// A page with just this lookup; nil if it does not exist (any more).
    package func lookup(_ id: Int64) throws(Problem) -> HistoryPage? {
        let page = try read { database in
            var search = HistorySearch(database)
            guard try search.prepare(LookupFilter()) else { return HistoryPage() }
            return try search.page(ofLookup: id)
        }
        return page.lookups.isEmpty ? nil : page
    }

    /// Calls `body` with pages of lookups that match `filter`, oldest first, until there are no more or it returns
    /// false. Each page is a search of its own, so that a slow reader does not delay the daemon.
    package func forEachPage(
        _ filter: LookupFilter, pageSize: Int = 1000, _ body: (HistoryPage) throws -> Bool
    ) throws {
        var after: Int64 = 0
        while true {
            let page = try search(filter, after: after, limit: pageSize, newestFirst: false)
            guard try body(page), let next = page.next else { return }
            after = next
        }
    }

    /// Names that start with `prefix` (case makes no difference), or have a label that does; for completion.
    package func names(
        startingWith prefix: String, limit: Int, _ budget: SearchBudget? = nil
    ) throws(Problem) -> [String] {
        try read(within: budget) { database in try HistorySearch.names(database, startingWith: prefix, limit: limit) }
    }

    /// The lookups of one navigation: what the same client asked at nearly the same time (`window`, microseconds) about
    /// the name of lookup `id`, the names of its chain, and their `_PORT._https` names; the oldest first.
    package func navigation(
        around id: Int64, window: UInt64 = 2_000_000, limit: Int = 100, _ budget: SearchBudget? = nil
    ) throws(Problem) -> HistoryPage {
        try read(within: budget) { database in
            var search = HistorySearch(database)
            guard try search.prepare(LookupFilter()) else { return HistoryPage() }
            let page = try search.page(ofLookup: id)
            guard let lookup = page.lookups.first else { return HistoryPage() }
            guard try search.prepare(navigationOf: lookup, window: window) else { return page }
            return try search.page(above: 0, below: .max, limit: limit, newestFirst: false)
        }
    }
}
