/// One reason why a program may not get what was written.
struct Finding: Encodable, Hashable, Sendable {
    /// What it is about.
    enum Subject: String, Encodable, Sendable {
        case daemon, resolver, port, manager, container, browser, name, override, lookups, certificate, clock, upstream
    }

    let subject: Subject
    /// What was found: a sentence without its end.
    let what: String
    /// From what that follows, with FILE:LINE.
    let why: String
    /// How it is put right.
    let mend: String

    init(_ subject: Subject, _ what: String, why: String, mend: String) {
        self.subject = subject
        self.what = Self.printable(what)
        self.why = Self.printable(why)
        self.mend = Self.printable(mend)
    }

    /// Files and servers are not ours: what they say can't move the cursor.
    private static func printable(_ text: String) -> String {
        var shown = ""
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 || (0x7F...0x9F).contains(scalar.value) || scalar.properties.isBidiControl {
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }
}
