internal import Glibc
public import Platform

/// A destination for lookups, and the form they are written in.
public struct LookupSink: Sendable, Hashable {
    public enum Form: Sendable, Hashable { case text, json }

    public enum Destination: Sendable, Hashable {
        case standardOutput
        /// Appended to; created with mode 0640 if missing; reopened by `LookupLog.reopen`.
        case file(path: String)
    }

    public var form: Form
    public var destination: Destination
    /// Whether text form colours the source. Nil: on a terminal, unless NO_COLOR is set.
    public var colors: Bool?
    /// When a file is full, and how many old ones are kept; nil: it grows.
    public var rotation: FileRotation.Limits?

    public init(
        _ form: Form, to destination: Destination, colors: Bool? = nil, rotation: FileRotation.Limits? = nil
    ) {
        self.form = form
        self.destination = destination
        self.colors = colors
        self.rotation = rotation
    }

    /// Why a sink can't be used: one sentence.
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }
}

/// Writes to one sink on the log thread: formats lines into a buffer and writes them in large pieces.
///
/// It never waits for a reader. Unwritten lines are kept up to a limit; more are lost and counted, and the next line
/// reports the number.
struct SinkWriter: ~Copyable {
    private let sink: LookupSink
    private let name: String
    private let report: @Sendable (String) -> Void
    private(set) var descriptor: Int32
    /// A regular file gets everything in one write; a pipe or terminal only as much as can't block.
    private var isRegularFile: Bool
    /// Of a regular file, in bytes.
    private var size: Int
    /// The full file could not be moved, which has been reported.
    private var isStuck = false
    private var pending = LineBuffer()
    private var json = JSONLines()
    private var text: TextLines
    /// Lines lost since the last line that reported it.
    private var lost: UInt64 = 0
    private var failing = false
    /// The reader is gone for good.
    private var closed = false

    /// The most bytes kept for a slow sink.
    private static let mostPending = 1 << 20
    /// Bytes that justify a write.
    private static let piece = 64 * 1024

    init(_ sink: LookupSink, report: @escaping @Sendable (String) -> Void) throws(LookupSink.Failure) {
        // All values are computed before the first property is set: with a throw in between, the optimizer of Swift 6.3
        // destroys `text` before it is initialized.
        let (name, descriptor) = try Self.open(sink.destination)
        let plain = getenv("NO_COLOR").map { $0.pointee != 0 } ?? false
        let colors = sink.colors ?? (isatty(descriptor) == 1 && !plain)
        self.sink = sink
        self.name = name
        self.report = report
        self.descriptor = descriptor
        (isRegularFile, size) = Self.size(descriptor)
        text = TextLines(colors: colors)
    }

    deinit { if descriptor > STDERR_FILENO { close(descriptor) } }

    private static func open(
        _ destination: LookupSink.Destination
    ) throws(LookupSink.Failure) -> (name: String, descriptor: Int32) {
        switch destination {
        case .standardOutput: return ("standard output", STDOUT_FILENO)
        case .file(let path):
            let descriptor = open(path)
            guard descriptor >= 0 else {
                throw LookupSink.Failure(description: "can't be written: \(reason(errno))")
            }
            return (path, descriptor)
        }
    }

    private static func open(_ path: String) -> Int32 {
        // Without O_NONBLOCK, opening a FIFO would block until it has a reader.
        Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o640)
    }

    private static func size(_ descriptor: Int32) -> (isRegularFile: Bool, size: Int) {
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return (false, 0) }
        return (true, Int(status.st_size))
    }

    private static func reason(_ code: Int32) -> String { String(cString: strerror(code)) }

    // MARK: Lines

    mutating func setUpstreams(_ names: [String]) {
        json.setUpstreams(names)
        text.setUpstreams(names)
    }

    /// Formats one lookup; returns the number of lines lost, 0 or 1.
    @inline(__always)
    mutating func append(_ record: LookupRecord, id: UInt64) -> UInt64 {
        if pending.count >= Self.piece {
            flush()
            if pending.count >= Self.mostPending || closed {
                lost += 1
                return 1
            }
        }
        if lost > 0 { appendLost(time: record.time) }
        switch sink.form {
        case .json: json.append(record, id: id, to: &pending)
        case .text: text.append(record, to: &pending)
        }
        return 0
    }

    /// Reports that `count` lookups never reached the log thread.
    mutating func append(lost count: UInt64, time: UInt64) {
        lost += count
        if pending.count < Self.mostPending { appendLost(time: time) }
    }

    private mutating func appendLost(time: UInt64) {
        switch sink.form {
        case .json: json.append(lost: lost, time: time, to: &pending)
        case .text: text.append(lost: lost, time: time, to: &pending)
        }
        lost = 0
    }

    // MARK: Writing

    /// The descriptor for poll(2); negative if there is nothing to wait for.
    var waitsFor: Int32 { pending.count > 0 && !isRegularFile && !closed ? descriptor : -1 }
    /// Unwritten lines remain that need another attempt.
    var wantsRetry: Bool { pending.count > 0 && !closed }

    /// Writes as much as the sink takes.
    mutating func flush() {
        while pending.count > 0, !closed {
            if !isRegularFile && !isWritable { return }
            let bytes = pending.bytes
            // A pipe that is ready takes at least this much (pipe(7): PIPE_BUF).
            let count = isRegularFile ? bytes.count : min(bytes.count, 4096)
            let written = write(descriptor, bytes.baseAddress, count)
            if written > 0 {
                pending.removeFirst(written)
                size += written
                if failing {
                    failing = false
                    report("log \(name): writing again\(lost > 0 ? "; \(lost) lookups were lost" : "")")
                }
                continue
            }
            let code = errno
            if written < 0 && code == EINTR { continue }
            if written < 0 && code == EAGAIN { return }
            return fail(code)
        }
        // Here the last line is whole.
        if isRegularFile, let limits = sink.rotation, size >= limits.size { rotate(limits) }
    }

    /// Moves the full file away and begins another.
    private mutating func rotate(_ limits: FileRotation.Limits) {
        // What can't be moved now is tried again when as much has been added.
        size = 0
        // A link such as /dev/stdout is no file of ours to move.
        guard case .file(let path) = sink.destination, !path.hasPrefix("/dev/"), !path.hasPrefix("/proc/"),
            let real = realpath(path, nil)
        else { return }
        defer { free(real) }
        let file = String(cString: real)
        // Another process may have moved or emptied it.
        if FileRotation.isFile(descriptor, at: file) {
            let written = Self.size(descriptor).size
            guard written >= limits.size else {
                size = written
                return
            }
            do { try FileRotation.rotate(file, keeping: limits.kept) } catch {
                defer { isStuck = true }
                if isStuck { return }
                return report("log \(name): is full, but can't be moved to \(file).1: \(error.reason); it grows on")
            }
        }
        open(again: path)
    }

    private var isWritable: Bool {
        var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&wait, 1, 0) == 1
    }

    /// Lines stay whole: the rest of a partly written line is written first once writing works again.
    private mutating func fail(_ code: Int32) {
        if code == EPIPE && sink.destination == .standardOutput {
            closed = true
            report("log \(name): nobody reads it any more; lookups are no longer written there")
        } else if !failing {
            failing = true
            report("log \(name): can't be written: \(Self.reason(code)); lookups will be lost until it can")
        }
    }

    /// Reopens a file by its path, after a log rotation. On failure, reports it and keeps the old file.
    mutating func reopen() {
        guard case .file(let path) = sink.destination else { return }
        flush()
        open(again: path)
    }

    private mutating func open(again path: String) {
        let new = Self.open(path)
        guard new >= 0 else {
            return report("log \(name): can't be opened again: \(Self.reason(errno)); the old file is written on")
        }
        close(descriptor)
        descriptor = new
        (isRegularFile, size) = Self.size(new)
        isStuck = false
        flush()
    }

    /// Writes the rest, waiting for a reader up to `milliseconds`; returns the number of lines lost.
    mutating func finish(milliseconds: Int32) -> UInt64 {
        flush()
        var left = milliseconds
        while waitsFor >= 0, left > 0 {
            var wait = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = poll(&wait, 1, 20)
            left -= 20
            flush()
        }
        return UInt64(pending.bytes.count { $0 == UInt8(ascii: "\n") })
    }
}
