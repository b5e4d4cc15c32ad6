import Platform
import Transports
import Upstream

/// How a setting's value is parsed, shown, and described.
struct SettingKind<Value: Equatable & Sendable>: Sendable {
    /// What a value looks like.
    let form: String
    let reading: Reading
    /// The value as a user would write it.
    let show: @Sendable (Value) -> String
    let suggestions: SettingSuggestions

    enum Reading: Sendable {
        case one(@Sendable (String) throws(WrongValue) -> Value)
        /// `add` adds one item to a list that starts as `empty`.
        case list(empty: Value, add: @Sendable (inout Value, String) throws(WrongValue) -> Void)
    }

    var isList: Bool {
        if case .list = reading { return true }
        return false
    }

    init(
        _ form: String, suggestions: SettingSuggestions = .none,
        show: @escaping @Sendable (Value) -> String = { "\($0)" },
        read: @escaping @Sendable (String) throws(WrongValue) -> Value
    ) {
        self.form = form
        self.suggestions = suggestions
        self.show = show
        reading = .one(read)
    }

    init(
        listOf form: String, suggestions: SettingSuggestions = .none,
        show: @escaping @Sendable (Value) -> String, empty: Value,
        add: @escaping @Sendable (inout Value, String) throws(WrongValue) -> Void
    ) {
        self.form = form + " ..."
        self.suggestions = suggestions
        self.show = show
        reading = .list(empty: empty, add: add)
    }
}

/// The values that a shell may suggest.
package enum SettingSuggestions: Equatable, Sendable {
    case none, files, folders
    case words([String])
}

// MARK: One value

extension SettingKind where Value == Bool {
    static var yesOrNo: SettingKind {
        SettingKind(
            "yes|no", suggestions: .words(["yes", "no"]), show: { $0 ? "yes" : "no" },
            read: { text throws(WrongValue) in try ConfigurationText.flag(text) })
    }
}

extension SettingKind where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the raw values of an enumeration.
    static var word: SettingKind {
        let words = Value.allCases.map(\.rawValue)
        return SettingKind(words.joined(separator: "|"), suggestions: .words(words), show: \.rawValue) {
            text throws(WrongValue) in
            guard let value = Value(rawValue: text) else {
                let hint = nearest(to: text, among: words).map { "; did you mean '\($0)'?" } ?? ""
                throw WrongValue("\(quoted(text.utf8)) is none of \(words.joined(separator: ", "))\(hint)")
            }
            return value
        }
    }
}

extension SettingKind where Value == String {
    static var path: SettingKind {
        SettingKind("PATH", suggestions: .files) { text throws(WrongValue) in try ConfigurationText.path(text) }
    }

    /// At most 255 printable ASCII characters.
    static var text: SettingKind {
        SettingKind("TEXT") { text throws(WrongValue) in
            guard text.utf8.count <= 255, text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
                throw WrongValue("\(quoted(text.utf8)) is not at most 255 printable ASCII characters")
            }
            return text
        }
    }
}

extension SettingKind where Value == SystemUser {
    static var user: SettingKind {
        SettingKind("NAME", show: \.name) { text throws(WrongValue) in
            guard let user = SystemUser(named: text) else {
                throw WrongValue(
                    "\(quoted(text.utf8)) is no user of this machine; 'adduser --system --group stub53' makes one")
            }
            return user
        }
    }
}

extension SettingKind where Value == Int {
    static func number(_ range: ClosedRange<UInt64>) -> SettingKind {
        SettingKind("NUMBER") { text throws(WrongValue) in Int(try ConfigurationText.number(text, in: range)) }
    }

    /// Bytes.
    static func size(_ range: ClosedRange<Int>) -> SettingKind {
        SettingKind("BYTES", show: ConfigurationText.shown(bytes:)) { text throws(WrongValue) in
            try ConfigurationText.size(text, in: range)
        }
    }
}

/// The unit of a property that holds a time.
enum TimeUnit {
    case microseconds, milliseconds, seconds
}

extension SettingKind where Value: FixedWidthInteger {
    /// `range` is in milliseconds.
    static func time(in unit: TimeUnit, _ range: ClosedRange<UInt64>) -> SettingKind {
        SettingKind(
            "TIME",
            show: { value in
                switch unit {
                case .microseconds: ConfigurationText.shown(milliseconds: UInt64(value) / 1000)
                case .milliseconds: ConfigurationText.shown(milliseconds: UInt64(value))
                case .seconds: ConfigurationText.shown(milliseconds: UInt64(value) * 1000)
                }
            },
            read: { text throws(WrongValue) in
                let milliseconds = try ConfigurationText.duration(text, in: range)
                switch unit {
                case .microseconds: return Value(milliseconds * 1000)
                case .milliseconds: return Value(milliseconds)
                case .seconds:
                    guard milliseconds % 1000 == 0 else {
                        throw WrongValue("\(quoted(text.utf8)) is no whole number of seconds")
                    }
                    return Value(milliseconds / 1000)
                }
            })
    }
}

extension SettingKind where Value == Configuration.Endpoint<SocketAddress> {
    static func address(defaultPort: UInt16) -> SettingKind {
        SettingKind(
            "ADDR:PORT|off", suggestions: .words(["off"]), show: { $0.value.map { "\($0)" } ?? "off" },
            read: { text throws(WrongValue) in
                if text == "off" { return Value(nil) }
                return Value(try ConfigurationText.address(text, defaultPort: defaultPort, mayChoosePort: true))
            })
    }
}

extension SettingKind where Value == Configuration.Endpoint<String> {
    static var path: SettingKind {
        SettingKind(
            "PATH|off", suggestions: .files, show: { $0.value ?? "off" },
            read: { text throws(WrongValue) in Value(text == "off" ? nil : try ConfigurationText.path(text)) })
    }
}

extension SettingKind {
    /// A value that may be unset.
    static func optional<Wrapped>(_ kind: SettingKind<Wrapped>) -> SettingKind where Value == Wrapped? {
        guard case .one(let read) = kind.reading else { preconditionFailure("lists have a kind of their own") }
        return SettingKind(
            kind.form, suggestions: kind.suggestions, show: { $0.map(kind.show) ?? "none" },
            read: { text throws(WrongValue) in try read(text) })
    }
}

// MARK: Lists

extension SettingKind where Value == [String]? {
    /// Paths; `none` is the empty list.
    static func paths(_ suggestions: SettingSuggestions) -> SettingKind {
        SettingKind(
            listOf: "PATH", suggestions: suggestions, show: { ($0 ?? []).joined(separator: " ") }, empty: [],
            add: { paths, text throws(WrongValue) in
                if text != "none" { paths = (paths ?? []) + [try ConfigurationText.path(text)] }
            })
    }
}
