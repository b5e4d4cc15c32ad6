/// Every lookup and every exchange with upstream as dnstap, to files and collectors.
///
/// CLIENT_QUERY and CLIENT_RESPONSE of each lookup that was answered, FORWARDER_QUERY and FORWARDER_RESPONSE of each
/// message to and from upstream, retries among them. The log thread encodes, once for all destinations; each of them
/// has a thread that writes, and a bound on what waits for it.
///
/// Unchecked: `encoder` and `gathered` are the log thread's.
public final class DnstapWriter: LookupObserver, @unchecked Sendable {
    /// How a destination does.
    public struct Statistics: Sendable {
        public var destination: DnstapDestination
        /// Written, since the start.
        public var frames: UInt64
        /// Not written and never will be, since the start.
        public var lost: UInt64
        /// The last attempt to write has succeeded.
        public var isWorking: Bool
    }

    private let outputs: [DnstapOutput]
    private var encoder: DnstapEncoder
    /// Encoded and not yet handed over.
    private var gathered = LineBuffer()

    /// Bytes that are handed over at once.
    private static let piece = 64 * 1024

    /// Opens the files, so that what is wrong with one is known before serving starts. Collectors may come later.
    ///
    /// - Parameters:
    ///   - identity: of this server, in each frame; empty: left out.
    ///   - version: of its software, the same.
    ///   - maximumFileSize: bytes; a file that is full is moved to `PATH.1`, and so on.
    ///   - keptFiles: how many of those there are at most.
    ///   - report: told once when a destination fails and once when it works again; a sentence for the operator.
    /// - Throws: a sentence that starts with the destination.
    public init(
        _ destinations: [DnstapDestination], identity: String, version: String, maximumFileSize: Int = 100 << 20,
        keptFiles: Int = 9, report: @escaping @Sendable (String) -> Void = LookupLog.reportToStandardError
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

    /// How each destination does, in their order. From any thread.
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

    /// Each of them would have been two frames.
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
