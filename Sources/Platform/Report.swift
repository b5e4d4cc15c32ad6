import Glibc

/// Messages about the service on standard error; lookups go to the log.
public enum Report {
    public static func diagnostics(_ diagnostics: Diagnostics) {
        for diagnostic in diagnostics.list { line("\(diagnostic)") }
        if diagnostics.left > 0 { line("... and \(diagnostics.left) more problems") }
    }

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
