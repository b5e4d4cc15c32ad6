package import LookupLog
internal import Platform
internal import Synchronization

/// Who asked for a search: it ends early when nobody waits for it any more, and clients share the threads.
package struct SearchClient: Sendable {
    /// Searches of one client have the same.
    let key: String
    /// Whether the client still waits; called repeatedly, on the searching thread.
    let isThere: @Sendable () -> Bool

    package init(_ key: String, isThere: @escaping @Sendable () -> Bool = { true }) {
        self.key = key
        self.isThere = isThere
    }

    /// This program itself.
    package static let own = SearchClient("")
}

/// Searches of the history, on threads of their own and few at a time, so that a long search delays only other
/// searches.
///
/// Each has a time limit, and ends early when its client no longer waits. Of several threads, one client's searches never
/// take the last, so that another's need not wait for them.
package final class HistorySearches: Sendable {
    package let store: HistoryStore
    private let queue: SearchQueue
    private let seconds: Int?

    /// - Parameters:
    ///   - threads: how many searches run at once.
    ///   - waiting: how many more may wait.
    ///   - seconds: how long each may run, and how long it may wait before; nil: no limit.
    /// - Throws: if the system has no descriptor left.
    package init(
        _ store: HistoryStore, threads: Int = 2, waiting: Int = 32, seconds: Int? = 5
    ) throws(HistoryStore.Problem) {
        self.store = store
        self.seconds = seconds
        do { queue = try SearchQueue(threads: threads, waiting: waiting) } catch {
            throw HistoryStore.noRoom(store.path, error)
        }
        for _ in 0..<threads { _ = WorkerThread("search", .batch) { [queue] in queue.work() } }
    }

    deinit { queue.end() }

    /// Ends all searches and refuses new ones. For shutdown.
    package func end() { queue.end() }

    /// Runs `body` on one of the threads.
    ///
    /// - Parameters:
    ///   - body: should check its budget during long work outside the database.
    package func run<Value: Sendable>(
        for client: SearchClient = .own,
        _ body: @escaping @Sendable (HistoryStore, SearchBudget) throws -> Value
    ) async throws(HistoryStore.Problem) -> Value {
        let (store, queue) = (store, queue)
        let budget = SearchBudget(seconds: seconds, isWanted: client.isThere)
        let result: Result<Value, HistoryStore.Problem> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                queue.add(
                    SearchQueue.Search(budget, client.key) { refusal in
                        if let refusal { return continuation.resume(returning: .failure(refusal)) }
                        do { continuation.resume(returning: .success(try body(store, budget))) } catch {
                            continuation.resume(returning: .failure(HistoryStore.problem(store.path, error)))
                        }
                    })
            }
        } onCancel: {
            queue.giveUp(budget)
        }
        return try result.get()
    }

    // MARK: The searches of `HistoryStore`

    package func search(
        _ filter: LookupFilter, before: Int64? = nil, after: Int64? = nil, limit: Int, newestFirst: Bool = true,
        for client: SearchClient = .own
    ) async throws(HistoryStore.Problem) -> HistoryPage {
        try await run(for: client) {
            try $0.search(filter, before: before, after: after, limit: limit, newestFirst: newestFirst, $1)
        }
    }

    /// The identifier of the newest lookup; 0 if there is none.
    package func newest(for client: SearchClient = .own) async throws(HistoryStore.Problem) -> Int64 {
        try await search(LookupFilter(), limit: 1, for: client).lookups.first?.id ?? 0
    }

    package func navigation(
        around id: Int64, for client: SearchClient = .own
    ) async throws(HistoryStore.Problem) -> HistoryPage {
        try await run(for: client) { try $0.navigation(around: id, $1) }
    }

    package func names(
        startingWith prefix: String, limit: Int, for client: SearchClient = .own
    ) async throws(HistoryStore.Problem) -> [String] {
        try await run(for: client) { try $0.names(startingWith: prefix, limit: limit, $1) }
    }

    package func statistics(
        for client: SearchClient = .own
    ) async throws(HistoryStore.Problem) -> HistoryStore.Statistics {
        try await run(for: client) { try $0.statistics($1) }
    }
}

/// The searches that wait and run, in order of arrival, and the work of the threads.
private final class SearchQueue: Sendable {
    final class Search: Sendable {
        let budget: SearchBudget
        let client: String
        /// When the search was requested, in nanoseconds of `SystemClock.coarse`.
        let asked = SystemClock.coarse()
        /// Searches, or reports the problem.
        let run: @Sendable (HistoryStore.Problem?) -> Void

        init(_ budget: SearchBudget, _ client: String, _ run: @escaping @Sendable (HistoryStore.Problem?) -> Void) {
            self.budget = budget
            self.client = client
            self.run = run
        }

        /// Why the search must not start; nil if it may.
        var refusal: HistoryStore.Problem? {
            if let seconds = budget.seconds, SystemClock.coarse() - asked > UInt64(seconds) * 1_000_000_000 {
                return SearchQueue.tooMany
            }
            return budget.end
        }
    }

    private struct Contents {
        var waiting: [Search] = []
        var running: [Search] = []
        var hasEnded = false

        /// Takes the first search whose client runs no more than its part.
        mutating func next(atMost part: Int) -> Search? {
            let next = waiting.firstIndex { search in running.count { $0.client == search.client } < part }
            guard let next else { return nil }
            let search = waiting.remove(at: next)
            running.append(search)
            return search
        }
    }

    private let contents = Mutex(Contents())
    private let signal: WakeSignal
    private let threads: Int
    private let most: Int
    /// Searches of one client that may run at once, and that may run or wait.
    private var part: Int { max(1, threads - 1) }
    private var mostOfClient: Int { max(1, most / 4) }

    private static let tooMany = HistoryStore.Problem(
        description: "too many searches of the history are under way; ask again in a moment", isOfLoad: true)
    private static let ended = HistoryStore.Problem(description: "the daemon ends", isOfLoad: true)

    init(threads: Int, waiting: Int) throws(SystemError) {
        self.threads = threads
        most = threads + waiting
        signal = try WakeSignal()
    }

    func add(_ search: Search) {
        let refusal = contents.withLock { contents -> HistoryStore.Problem? in
            if contents.hasEnded { return Self.ended }
            // The client may have gone before the search was queued.
            if let end = search.budget.end { return end }
            let all = [contents.waiting, contents.running].joined()
            guard all.count < most, all.count(where: { $0.client == search.client }) < mostOfClient else {
                return Self.tooMany
            }
            contents.waiting.append(search)
            return nil
        }
        if let refusal { search.run(refusal) } else { signal.wake() }
    }

    func giveUp(_ budget: SearchBudget) {
        let search = contents.withLock { contents -> Search? in
            budget.giveUp()
            guard let index = contents.waiting.firstIndex(where: { $0.budget === budget }) else { return nil }
            return contents.waiting.remove(at: index)
        }
        search?.run(budget.end)
    }

    func end() {
        let waiting = contents.withLock { contents in
            contents.hasEnded = true
            for search in contents.running { search.budget.giveUp() }
            defer { contents.waiting = [] }
            return contents.waiting
        }
        for search in waiting { search.run(Self.ended) }
        signal.wake()
    }

    // MARK: The threads

    func work() {
        while true {
            let (next, isMore, hasEnded) = contents.withLock { contents -> (Search?, Bool, Bool) in
                let next = contents.next(atMost: part)
                return (next, next != nil && !contents.waiting.isEmpty, next == nil && contents.hasEnded)
            }
            // All threads share the signal: this one may have consumed a wake-up that was for others too.
            if isMore || hasEnded { signal.wake() }
            if let next {
                let refusal = next.refusal
                if refusal == nil { next.budget.begin() }
                next.run(refusal)
                contents.withLock { $0.running.removeAll { $0 === next } }
            } else {
                if hasEnded { return }
                signal.wait()
                _ = signal.consume()
            }
        }
    }
}
