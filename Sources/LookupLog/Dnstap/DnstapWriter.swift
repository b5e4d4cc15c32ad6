public import Platform

/// Writes every lookup and every exchange with upstream as dnstap, to files and collectors.
///
/// CLIENT_QUERY and CLIENT_RESPONSE of each answered lookup; FORWARDER_QUERY and FORWARDER_RESPONSE of each message to
/// and from upstream, including retries. The log thread encodes once for all destinations; each destination has its own
/// thread, and a limit on waiting frames.
///
/// `@unchecked`: `encoder` and `gathered` belong to the log thread.
public final class DnstapWriter: LookupObserver, @unchecked Sendable {
    /// The state of one destination.
    public struct Statistics: Sendable {
        public var destination: DnstapDestination
        /// Written, since the start.
        public var frames: UInt64
        /// Lost since the start.
        public var lost: UInt64
        /// The last write succeeded.
        public var isWorking: Bool
    }

    private let outputs: [DnstapOutput]
    private var encoder: DnstapEncoder
    /// Encoded frames not yet queued.
    private var gathered = LineBuffer()

    /// Frames are queued in pieces of this many bytes.
    private static let piece = 64 * 1024

    /// Opens the files, so that errors are known before serving starts. Collectors may come later.
    ///
    /// - Parameters:
    ///   - identity: the server's identity in each frame; empty: left out.
    ///   - version: the software's version in each frame; empty: left out.
    ///   - maximumFileSize: bytes; a full file is renamed to `PATH.1`, and so on.
    ///   - keptFiles: the most renamed files.
    ///   - report: called with a sentence for the operator when a destination fails, and when it works again.
    /// - Throws: a sentence that starts with the destination.
    public init(
        _ destinations: [DnstapDestination], identity: String, version: String, maximumFileSize: Int = 100 << 20,
        keptFiles: Int = 9, report: @escaping @Sendable (String) -> Void = Report.problem
    ) throws(LookupSink.Failure) {
        var outputs: [DnstapOutput] = []
        for destination in destinations {
            do {
                let limits = FrameFile.Limits(size: maximumFileSize, kept: keptFiles)
                outputs.append(try DnstapOutput(destination, limits, report: report))
            } catch { throw LookupSink.Failure(description: "\(destination): \(error)") }
        }
        self.outputs = outputs
        encoder = DnstapEncoder(identity: identity, version: version)
        for output in outputs { output.start() }
    }

    deinit { finish() }

    /// The destinations' states, in their order. From any thread.
    public var statistics: [Statistics] { outputs.map(\.statistics) }

    // MARK: On the log thread

    public var wantsExchanges: Bool { true }

    public func note(_ record: LookupRecord, id: UInt64) {
        if encoder.append(record, to: &gathered) > 0, gathered.count >= Self.piece { flush() }
    }

    public func noteExchange(_ exchange: ForwardedExchange) {
        encoder.append(exchange, to: &gathered)
        if gathered.count >= Self.piece { flush() }
    }

    /// Each lookup would have been two frames.
    public func note(lost count: UInt64, time: UInt64) { for output in outputs { output.queue.note(lost: 2 * count) } }

    public func noteExchanges(lost count: UInt64) { for output in outputs { output.queue.note(lost: count) } }

    public func flush() {
        guard gathered.count > 0 else { return }
        for output in outputs { output.queue.append(gathered.bytes) }
        gathered.cut(to: 0)
    }

    public func reopen() { for output in outputs { output.queue.reopen() } }

    public func finish() {
        flush()
        for output in outputs { output.queue.stop() }
        for output in outputs { output.join() }
    }
}
