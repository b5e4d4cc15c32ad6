import Platform

/// One setting: its name, values and meaning, and whether a change needs a restart.
///
/// A key is declared once, in `all`. The configuration file, the flags with help and completion, the reference, hints
/// for unknown keys, and the report of a reload are derived from it.
package struct ConfigurationKey: Sendable {
    /// With dots between levels: `hosts.null-address`.
    package let path: String
    /// The form of a value: `NUMBER`, `mask|pass|synthesize`; for a list, followed by `...`.
    package let form: String
    /// The default, as shown to users.
    package let initial: String
    package let meaning: String
    /// When a change takes effect.
    package let effect: Effect
    /// Its flags on the command line; most keys have none.
    package let flags: [Flag]
    package let suggestions: SettingSuggestions
    package let isList: Bool
    private let assign: @Sendable (inout Configuration, Values, Place, String, inout Diagnostics) -> Void
    private let compare: @Sendable (Configuration, Configuration) -> Bool
    private let transfer: @Sendable (Configuration, inout Configuration) -> Void

    package enum Effect: String, Sendable {
        /// A reload applies it.
        case reload
        /// Sockets, threads or open files depend on it.
        case restart
    }

    /// A flag of the command line that sets the key.
    package struct Flag: Sendable {
        /// The commands that accept the flag.
        package enum Scope: Sendable {
            /// All that read hosts and zone files: `serve`, `check`, `why`, `exec`, `trace`.
            case sources
            /// `serve` only.
            case service
            /// `serve`, `exec`, `check`.
            case cassette
        }

        package let scope: Scope
        /// Without the dashes.
        package let name: String
        /// The value that the flag sets; nil: the value follows the flag.
        package let fixedValue: String?
        /// Nil: the key's meaning applies.
        fileprivate let ownMeaning: String?

        static func sources(_ name: String, sets value: String? = nil, _ meaning: String? = nil) -> Flag {
            Flag(scope: .sources, name: name, fixedValue: value, ownMeaning: meaning)
        }

        static func cassette(_ name: String) -> Flag {
            Flag(scope: .cassette, name: name, fixedValue: nil, ownMeaning: nil)
        }

        static func service(_ name: String, sets value: String? = nil) -> Flag {
            Flag(scope: .service, name: name, fixedValue: value, ownMeaning: nil)
        }
    }

    /// The values given for a key, each with its place.
    struct Values: Sendable {
        var items: [(text: String, place: Place)]
        init(_ items: [(String, Place)]) { self.items = items.map { (text: $0.0, place: $0.1) } }
    }

    /// `initial`: the default in words, if the value at `target` does not show it.
    init<Value>(
        _ path: String, _ target: any WritableKeyPath<Configuration, Value> & Sendable, _ kind: SettingKind<Value>,
        _ meaning: String, initial: String? = nil, takes effect: Effect = .reload, flags: [Flag] = []
    ) {
        self.path = path
        self.form = kind.form
        self.meaning = meaning
        self.initial = initial ?? kind.show(Configuration()[keyPath: target])
        self.effect = effect
        self.flags = flags
        suggestions = kind.suggestions
        isList = kind.isList
        compare = { $0[keyPath: target] == $1[keyPath: target] }
        transfer = { $1[keyPath: target] = $0[keyPath: target] }
        assign = { configuration, values, place, front, diagnostics in
            switch kind.reading {
            case .one(let read):
                guard let last = values.items.last, values.items.count == 1 else {
                    diagnostics.error(place, front + "takes one value (\(kind.form)), not a list")
                    return
                }
                do throws(WrongValue) { configuration[keyPath: target] = try read(last.text) } catch {
                    diagnostics.error(last.place, front + error.description)
                }
            case .list(let empty, let add):
                var list = empty
                for item in values.items {
                    do throws(WrongValue) { try add(&list, item.text) } catch {
                        diagnostics.error(item.place, front + error.description)
                    }
                }
                configuration[keyPath: target] = list
            }
        }
    }

    /// Replaces the key's values by `values`. `label` is put before a problem whose place does not name the key.
    func set(
        _ configuration: inout Configuration, _ values: Values, at place: Place, _ label: String?,
        _ diagnostics: inout Diagnostics
    ) {
        assign(&configuration, values, place, label.map { "\($0): " } ?? "", &diagnostics)
    }

    /// Whether both configurations have the same value.
    func isSame(_ left: Configuration, _ right: Configuration) -> Bool { compare(left, right) }

    func copy(from source: Configuration, to target: inout Configuration) { transfer(source, &target) }

    /// The help for `flag`, one of `flags`: a sentence, with the default if a value follows.
    package func help(_ flag: Flag) -> String {
        let meaning = flag.ownMeaning ?? self.meaning
        let sentence = meaning.prefix(1).uppercased() + meaning.dropFirst() + "."
        return flag.fixedValue == nil ? "\(sentence) (default: \(initial))" : sentence
    }

    /// The placeholder for a value in help: `[domain=]server`.
    package var valueName: String { (form.hasSuffix(" ...") ? form.dropLast(4) : form[...]).lowercased() }
}
