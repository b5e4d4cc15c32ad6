public import Resolution

/// Counts of all lookups since the start: by source, type and response code, and how long they took.
public final class LookupTotals: LookupObserver {
    public init() {}

    public func note(_ record: LookupRecord, id: UInt64) {}
}
