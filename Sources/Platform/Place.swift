import Synchronization

/// The place of a rule: a file and line, or a document such as an RFC.
///
/// Eight plain bytes, so that every table record and ring entry can hold one.
public struct Place: Hashable, Sendable, BitwiseCopyable {
    /// 0 is "nowhere"; else an index into the process's list of files.
    public let file: UInt32
    /// From 1; 0 for the whole file.
    public let line: UInt32

    public static let nowhere = Place(file: 0, line: 0)

    @inlinable
    public init(file: UInt32, line: UInt32) {
        self.file = file
        self.line = line
    }

    /// The place of `line` in `path`, as the user wrote the path.
    public init(path: String, line: Int = 0) {
        self.init(file: Self.intern(path), line: UInt32(clamping: line))
    }

    /// Another line of the same file.
    public func line(_ line: Int) -> Place { Place(file: file, line: UInt32(clamping: line)) }

    public var isNowhere: Bool { file == 0 }

    /// The file's path, or the document's name.
    public var path: String { Self.files.withLock { $0.paths[Int(file)] } }

    /// All files and documents named so far, by `file`.
    public static var paths: [String] { files.withLock { $0.paths } }

    private struct Files {
        var paths = [""]
        var numbers: [String: UInt32] = ["": 0]
    }

    /// Only grows, so that an old log record still finds its file; bounded by the number of files ever named.
    private static let files = Mutex(Files())

    private static func intern(_ path: String) -> UInt32 {
        files.withLock { files in
            if let number = files.numbers[path] { return number }
            let number = UInt32(files.paths.count)
            files.paths.append(path)
            files.numbers[path] = number
            return number
        }
    }
}

extension Place: CustomStringConvertible {
    /// `FILE:LINE`, or `FILE` for the whole file.
    public var description: String { line == 0 ? path : "\(path):\(line)" }
}

/// One problem with a file: `FILE:LINE: why`.
public struct Diagnostic: Hashable, Sendable, CustomStringConvertible {
    public enum Severity: Sendable { case warning, error }

    public let place: Place
    public let severity: Severity
    /// One line: what is wrong and how to fix it. Bytes from the file are escaped.
    public let message: String

    public init(_ place: Place, _ severity: Severity = .error, _ message: String) {
        self.place = place
        self.severity = severity
        self.message = message
    }

    public var description: String { "\(place): \(severity == .warning ? "warning: " : "")\(message)" }
}

/// The problems found so far, bounded, so that a hostile file can't fill memory.
public struct Diagnostics: Sendable {
    public private(set) var list: [Diagnostic] = []
    /// How many more there were than `list` holds.
    public private(set) var left = 0
    public private(set) var hasErrors = false

    private static let most = 1000

    public init() {}

    public mutating func append(_ diagnostic: Diagnostic) {
        if diagnostic.severity == .error { hasErrors = true }
        if list.count < Self.most { list.append(diagnostic) } else { left += 1 }
    }

    public mutating func error(_ place: Place, _ message: String) { append(Diagnostic(place, .error, message)) }
    public mutating func warning(_ place: Place, _ message: String) { append(Diagnostic(place, .warning, message)) }

    public mutating func append(contentsOf other: Diagnostics) {
        for diagnostic in other.list { append(diagnostic) }
        left += other.left
        hasErrors = hasErrors || other.hasErrors
    }
}

/// Makes text from a file safe to print: escapes control and non-ASCII bytes, shortens long text.
public func quoted(_ bytes: some Collection<UInt8>) -> String {
    var text: [UInt8] = [UInt8(ascii: "'")]
    for byte in bytes.prefix(80) {
        if (0x20...0x7E).contains(byte) {
            text.append(byte)
        } else {
            text += Array("\\\(byte / 100)\(byte / 10 % 10)\(byte % 10)".utf8)
        }
    }
    if bytes.count > 80 { text += Array("...".utf8) }
    text.append(UInt8(ascii: "'"))
    return String(decoding: text, as: UTF8.self)
}
