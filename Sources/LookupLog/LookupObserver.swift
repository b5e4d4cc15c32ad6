/// Gets each lookup: the history, the totals, live views.
///
/// All methods are called on the log thread, one at a time, in order of time. They must not block: slow work goes to
/// the observer's own thread, through a bounded queue, and what exceeds the bound is counted.
public protocol LookupObserver: AnyObject, Sendable {
    /// One lookup. The record is valid during the call.
    func note(_ record: LookupRecord, id: UInt64)

    /// `count` lookups never reached the log thread. `time` is in microseconds since 1970.
    func note(lost count: UInt64, time: UInt64)

    /// Whether it also wants messages to and from upstream. Asked once, before the first of them.
    var wantsExchanges: Bool { get }

    /// One message to or from upstream. It is valid during the call.
    func noteExchange(_ exchange: ForwardedExchange)

    /// `count` exchanges never reached the log thread.
    func noteExchanges(lost count: UInt64)

    /// The upstream servers, in the order of `LookupRecord.upstream`: `ADDR:PORT` each.
    func setUpstreams(_ names: [String])

    /// Everything received so far has been noted: send what was collected.
    func flush()

    /// Reopen files by path: a rotation may have renamed them.
    func reopen()

    /// Nothing more will come: write the rest.
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
