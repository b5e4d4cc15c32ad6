package import History
package import LookupLog

/// Exports stored lookups, oldest first: the output of `stub53 log`, from a daemon or a file.
package struct LookupExport: Sendable {
    package enum Form: String, Sendable, CaseIterable {
        case text, json, csv, pcapng
    }

    private let form: Form
    private let colors: Bool
    private let filter: LookupFilter
    private let limit: Int?

    /// - Parameter limit: only the newest so many; nil: all matches.
    package init(form: Form, colors: Bool, filter: LookupFilter, limit: Int?) {
        self.form = form
        self.colors = colors
        self.filter = filter
        self.limit = limit
    }

    private static let pageSize = 1000

    /// The first page of results.
    package struct Beginning: Sendable {
        /// Nil: nothing to export.
        fileprivate var page: HistoryPage?
    }

    /// Runs the first search before anything is written, so that its failure can still set the response's status.
    package func begin(
        in searches: HistorySearches, for client: SearchClient = .own
    ) async throws(HistoryStore.Problem) -> Beginning {
        guard let after = try await start(in: searches, for: client) else { return Beginning(page: nil) }
        return Beginning(page: try await page(after: after, in: searches, for: client))
    }

    /// Hands the bytes to `take`, piece by piece; returns the log's number of the last lookup.
    @discardableResult
    package func write(
        _ beginning: consuming Beginning, from searches: HistorySearches,
        for client: SearchClient = .own, take: ([UInt8]) async throws -> Void
    ) async throws -> UInt64 {
        var writer = Writer(form, colors: colors)
        try await take(writer.header())
        guard var page = beginning.page else { return 0 }
        var last: UInt64 = 0
        while true {
            try await take(writer.bytes(of: page))
            last = page.lookups.last?.number ?? last
            guard let next = page.next else { return last }
            page = try await self.page(after: next, in: searches, for: client)
        }
    }

    private func page(
        after: Int64, in searches: HistorySearches, for client: SearchClient
    ) async throws(HistoryStore.Problem) -> HistoryPage {
        try await searches.search(
            filter, after: after, limit: Self.pageSize, newestFirst: false, for: client)
    }

    /// What the first lookup comes after; nil when none is wanted.
    private func start(
        in searches: HistorySearches, for client: SearchClient
    ) async throws(HistoryStore.Problem) -> Int64? {
        guard let limit else { return 0 }
        var left = limit
        var before: Int64?
        while left > 0 {
            let page = try await searches.search(
                filter, before: before, limit: min(left, Self.pageSize), for: client)
            left -= page.lookups.count
            guard let oldest = page.lookups.last else { break }
            before = oldest.id
            if page.next == nil { return 0 }
        }
        return limit == 0 ? nil : before.map { $0 - 1 } ?? 0
    }

    private struct Writer: ~Copyable {
        private var lines: LookupFormatter
        private var capture: PacketCapture?

        init(_ form: Form, colors: Bool) {
            switch form {
            case .text: lines = LookupFormatter(.text, colors: colors)
            case .json: lines = LookupFormatter(.json)
            case .csv: lines = LookupFormatter(.csv)
            case .pcapng:
                lines = LookupFormatter(.text)
                capture = PacketCapture()
            }
        }

        mutating func header() -> [UInt8] {
            if let capture { return capture.header() }
            lines.appendHeader()
            return lines.take()
        }

        mutating func bytes(of page: HistoryPage) -> [UInt8] {
            guard capture == nil else {
                var bytes: [UInt8] = []
                for lookup in page.lookups {
                    lookup.withRecord {
                        capture?.append($0, id: lookup.number, upstreams: page.upstreams, to: &bytes)
                    }
                }
                return bytes
            }
            lines.setUpstreams(page.upstreams)
            for entry in page.entries {
                switch entry {
                case .lookup(let lookup): lines.append(lookup)
                case .loss(let loss):
                    lines.append(lost: UInt64(clamping: loss.count), time: loss.time, reason: loss.reason.word)
                }
            }
            return lines.take()
        }
    }
}
