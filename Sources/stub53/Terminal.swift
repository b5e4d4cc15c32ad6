import Glibc
import Lookup

/// Output to the terminal: colours if wanted, and messages.
enum Terminal {
    /// Standard output is a terminal and NO_COLOR is unset.
    static let hasColors: Bool = {
        func variable(_ name: String) -> String { getenv(name).map { String(cString: $0) } ?? "" }
        return isatty(STDOUT_FILENO) == 1 && variable("NO_COLOR").isEmpty && variable("TERM") != "dumb"
    }()

    struct Color {
        /// SGR parameters (ECMA-48 8.3.117).
        private let parameters: StaticString

        static let bold = Color(parameters: "1")
        static let red = Color(parameters: "31")
        static let grey = Color(parameters: "90")

        private init(parameters: StaticString) { self.parameters = parameters }
        init(_ source: SourceKind) { parameters = source.terminalColor }

        var start: String { "\u{1B}[\(parameters)m" }
    }

    static func colored(_ text: String, _ color: Color?) -> String {
        guard hasColors, let color else { return text }
        return "\(color.start)\(text)\u{1B}[0m"
    }

    static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(width - text.count, 0))
    }

    static func count(_ number: Int, _ word: String) -> String { "\(number) \(word)\(number == 1 ? "" : "s")" }

    /// Writes the bytes unchanged, by default to standard output.
    static func write(_ bytes: [UInt8], to descriptor: Int32 = STDOUT_FILENO) {
        fflush(nil)
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written < 0 && errno != EINTR {
                // The reader has gone, so end quietly.
                if errno == EPIPE { exit(0) }
                error("stub53: what was read can't be written: \(String(cString: strerror(errno)))")
                exit(1)
            }
            rest = rest.dropFirst(max(written, 0))
        }
    }

    /// One line on standard error.
    static func error(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        fflush(nil)
        _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
