/// Whoever else wants to know of each lookup: the history, the totals, live views.
///
/// All of it is called on the log thread, one call after the other, in the order of time. Nothing here may wait: what
/// takes time is handed to a thread of the observer's own, within a bound, and what is beyond the bound is counted.
public protocol LookupObserver: AnyObject, Sendable {
    /// One lookup. The record is good until the call returns.
    func note(_ record: LookupRecord, id: UInt64)

    /// So many lookups never reached the log thread. `time` is in microseconds since 1970.
    func note(lost count: UInt64, time: UInt64)

    /// Messages to and from upstream are wanted, too. Asked once, before the first of them.
    var wantsExchanges: Bool { get }

    /// One message to or from upstream. It is good until the call returns.
    func noteExchange(_ exchange: ForwardedExchange)

    /// So many of them never reached the log thread.
    func noteExchanges(lost count: UInt64)

    /// The servers that answers come from, in the order of `LookupRecord.upstream`: `ADDR:PORT` each.
    func setUpstreams(_ names: [String])

    /// All that had come has been noted: what gathers can go on its way.
    func flush()

    /// Files are to be opened again by their paths: a rotation may have renamed them.
    func reopen()

    /// Nothing comes any more: write what is there.
    func finish()
}

extension LookupObserver {
    public func note(lost count: UInt64, time: UInt64) {}
    public var wantsExchanges: Bool { false }
    public func noteExchange(_ exchange: ForwardedExchange) {}
    public func noteExchanges(lost count: UInt64) {}
    public func setUpstreams(_ names: [String]) {}
    public func flush() {}
    public func reopen() {}
    public func finish() {}
}
