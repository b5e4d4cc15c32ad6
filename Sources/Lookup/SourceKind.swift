/// The one list of sources, in the order in which they are asked. All code that names, colours, counts or lists sources
/// reads it.
///
/// Records and histories store the raw values: a new source is listed at its place in the order and takes the next
/// number.
public enum SourceKind: UInt8, Sendable, Hashable, BitwiseCopyable, CaseIterable, CustomStringConvertible {
    /// A rule that says what the answer is.
    case rule = 7
    case hosts = 1
    case zone = 2
    case special = 3
    case cache = 4
    case stale = 5
    case upstream = 6
    /// No source: an error or a refusal.
    case none = 0

    /// How a source is shown.
    public struct Appearance: Sendable, BitwiseCopyable {
        /// Its word in log, filter, metrics and JSON, and its class on the page.
        let word: StaticString
        /// Its heading in `why`.
        let heading: StaticString
        /// SGR parameters for a terminal (ECMA-48 8.3.117).
        let terminal: StaticString
        /// Its colours on the page, in a light and a dark theme.
        let light, dark: ColorPair
    }

    /// CSS colours of a text and its background.
    public struct ColorPair: Sendable, BitwiseCopyable {
        public let text, tint: StaticString
    }

    private var appearance: Appearance {
        switch self {
        case .rule:
            Appearance(
                word: "rule", heading: "rules", terminal: "36",
                light: ColorPair(text: "#0b5c63", tint: "#dcf3f4"), dark: ColorPair(text: "#7fd6dd", tint: "#0f3236"))
        case .hosts:
            Appearance(
                word: "hosts", heading: "hosts", terminal: "32",
                light: ColorPair(text: "#0a6637", tint: "#e2f4ea"), dark: ColorPair(text: "#7fdca5", tint: "#12321f"))
        case .zone:
            Appearance(
                word: "zone", heading: "zones", terminal: "34",
                light: ColorPair(text: "#0b4fb3", tint: "#e5eefb"), dark: ColorPair(text: "#9dc3ff", tint: "#15294a"))
        case .special:
            Appearance(
                word: "special", heading: "special", terminal: "35",
                light: ColorPair(text: "#5a2da3", tint: "#efe7fb"), dark: ColorPair(text: "#ccb2ff", tint: "#2d1f4b"))
        case .cache:
            Appearance(
                word: "cache", heading: "cache", terminal: "90",
                light: ColorPair(text: "#474e57", tint: "#eceef1"), dark: ColorPair(text: "#c2c9d1", tint: "#2a2f36"))
        case .stale:
            Appearance(
                word: "stale", heading: "stale", terminal: "2;33",
                light: ColorPair(text: "#6b3f1d", tint: "#f3e6da"), dark: ColorPair(text: "#e1b190", tint: "#392618"))
        case .upstream:
            Appearance(
                word: "upstream", heading: "upstream", terminal: "33",
                light: ColorPair(text: "#774900", tint: "#fcefd3"), dark: ColorPair(text: "#f2c46d", tint: "#38290b"))
        case .none:
            Appearance(
                word: "none", heading: "none", terminal: "31",
                light: ColorPair(text: "#a1121e", tint: "#fce5e6"), dark: ColorPair(text: "#ff9ca4", tint: "#471a1e"))
        }
    }

    public var word: StaticString { appearance.word }
    public var heading: StaticString { appearance.heading }
    public var terminalColor: StaticString { appearance.terminal }
    public var lightColors: ColorPair { appearance.light }
    public var darkColors: ColorPair { appearance.dark }
    public var description: String { "\(appearance.word)" }

    /// The source with this word, in any case.
    public init?(word: some StringProtocol) {
        let wanted = word.lowercased()
        guard let source = Self.allCases.first(where: { $0.description == wanted }) else { return nil }
        self = source
    }

    /// Bytes of the longest word.
    public static let longestWord = allCases.map(\.word.utf8CodeUnitCount).max() ?? 0
}

/// A value for each source.
public struct BySource<Value: Sendable>: Sendable {
    /// By number.
    private var values: [Value]

    public init(repeating value: Value) {
        values = Array(repeating: value, count: 1 + Int(SourceKind.allCases.map(\.rawValue).max() ?? 0))
    }

    public subscript(_ source: SourceKind) -> Value {
        get { values[Int(source.rawValue)] }
        _modify { yield &values[Int(source.rawValue)] }
    }
}

extension BySource where Value: AdditiveArithmetic {
    public var sum: Value { values.reduce(.zero, +) }
}
