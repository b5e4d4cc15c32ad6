import ArgumentParser
import Daemon

/// The flags that set configuration keys, for one group of commands.
///
/// They are not declared here but in the table of keys, which also provides help and completion. ArgumentParser finds
/// flags by reflecting on a type's properties, so this type presents one property per flag.
struct SettingFlags<Kind: SettingFlagKind>: ParsableArguments, CustomReflectable {
    /// The settings made by flags, in the order of the table.
    private(set) var settings: [Configuration.Option] = []

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private static var flags: [SettingFlag] { Kind.flags }

    /// Including the dashes.
    static var names: [String] { flags.map { "--" + $0.flag.name } }

    init() {}

    init(from decoder: any Decoder) throws {
        let parsed = try decoder.container(keyedBy: Name.self)
        for (flag, key) in Self.flags {
            let name = Name(stringValue: flag.name)
            let values: [String] =
                if let value = flag.fixedValue {
                    try parsed.decode(Flag<Bool>.self, forKey: name).wrappedValue ? [value] : []
                } else if key.isList {
                    try parsed.decode(Option<[String]>.self, forKey: name).wrappedValue
                } else {
                    try parsed.decode(Option<String?>.self, forKey: name).wrappedValue.map { [$0] } ?? []
                }
            if !values.isEmpty { settings.append(.init("--" + flag.name, key.path, values)) }
        }
    }

    var customMirror: Mirror {
        Mirror(self, children: Self.flags.map { (label: $0.flag.name, value: Self.definition($0.flag, $0.key)) })
    }

    private static func definition(_ flag: ConfigurationKey.Flag, _ key: ConfigurationKey) -> Any {
        let name = NameSpecification.customLong(flag.name)
        let help = ArgumentHelp(stringLiteral: key.help(flag))
        if flag.fixedValue != nil { return Flag(wrappedValue: false, name: name, help: help) }
        let valued = ArgumentHelp(key.help(flag), valueName: key.valueName)
        let completion: CompletionKind =
            switch key.suggestions {
            case .none: .default
            case .files: .file()
            case .folders: .directory
            case .words(let words): .list(words)
            }
        return key.isList
            ? Option<[String]>(wrappedValue: [], name: name, help: valued, completion: completion)
            : Option<String?>(name: name, help: valued, completion: completion)
    }

    mutating func validate() throws {
        for (index, setting) in settings.enumerated() {
            guard let other = settings[..<index].first(where: { $0.key == setting.key }) else { continue }
            throw ValidationError("\(setting.flag) and \(other.flag) exclude each other: leave one out.")
        }
    }

    /// The flags as given, to pass to another process.
    var arguments: [String] {
        settings.flatMap { setting in
            let takesValue = Self.flags.contains { "--" + $0.flag.name == setting.flag && $0.flag.fixedValue == nil }
            return takesValue ? setting.values.map { "\(setting.flag)=\($0)" } : [setting.flag]
        }
    }
}

typealias SettingFlag = (flag: ConfigurationKey.Flag, key: ConfigurationKey)

/// Commands that share flags. `flags` is stored, since the parser asks for it many times.
protocol SettingFlagKind {
    static var flags: [SettingFlag] { get }
}

extension ConfigurationKey {
    fileprivate static func flags(_ scope: Flag.Scope) -> [SettingFlag] {
        all.flatMap { key in key.flags.map { ($0, key) } }.filter { $0.flag.scope == scope }
    }
}

/// Flags for sources of answers: of all commands that read hosts and zone files.
enum SourceFlags: SettingFlagKind {
    static let flags = ConfigurationKey.flags(.sources)
}

/// Flags for recording and replaying.
enum CassetteFlags: SettingFlagKind {
    static let flags = ConfigurationKey.flags(.cassette)
}

/// Flags for how the daemon serves.
enum ServiceFlags: SettingFlagKind {
    static let flags = ConfigurationKey.flags(.service)
}
