public final class HistoryStore: Sendable {}
