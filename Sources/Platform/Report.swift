import Glibc

/// Messages about the service on standard error; lookups go to the log.
public enum Report {
    public static func diagnostics(_ diagnostics: Diagnostics) {
        for diagnostic in diagnostics.list { line("\(diagnostic)") }
        if diagnostics.left > 0 { line("... and \(diagnostics.left) more problems") }
    }

    /// One line that says who reports it, for a problem of the running service.
    public static func problem(_ text: String) { line("stub53: \(text)") }

    public static func line(_ text: String) {
        var bytes = Array(text.utf8)
        bytes.append(0x0A)
        _ = bytes.withUnsafeBytes { write(2, $0.baseAddress, $0.count) }
    }

    public static func output(_ text: String) {
        var bytes = Array(text.utf8)
        bytes.append(0x0A)
        _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    }
}
