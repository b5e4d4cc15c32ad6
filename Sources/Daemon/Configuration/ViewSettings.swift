import DNSWire
import LocalData
import Platform

/// One view: who asks or where, and the settings that differ for it.
struct ViewSettings: Sendable {
    /// Letters, digits, `-` and `_`; 32 bytes at most.
    let name: String
    var place = Place.nowhere
    /// Where its queries come in; empty: anywhere.
    var listen = Configuration.Listen()
    /// Who asks; empty: anybody.
    var clients: [AddressNetwork] = []
    /// The settings of its own, with their values.
    var settings: [(key: ConfigurationKey, values: ConfigurationKey.Values, place: Place)] = []

    /// Views of one configuration; more are refused.
    static let most = 1000

    init(_ name: String) { self.name = name }

    static func isName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                ASCII.isDigit($0) || (0x61...0x7A).contains(ASCII.lowercased($0)) || $0 == 0x2D || $0 == 0x5F
            }
    }

    /// Settings that a view may have of its own.
    static func mayHave(_ key: ConfigurationKey) -> Bool {
        ["hosts.", "rules.", "zones.", "special."].contains { key.path.hasPrefix($0) }
            || ["upstream.servers", "upstream.private", "upstream.private-domains"].contains(key.path)
    }

    static var keys: [String] { ["listen", "clients"] + ConfigurationKey.all.filter(mayHave).map(\.path) }

    /// Whether it has a setting of this group, or this one.
    func has(_ prefix: String) -> Bool {
        settings.contains { $0.key.path == prefix || $0.key.path.hasPrefix(prefix + ".") }
    }

    /// Takes one setting; `path` is the key without the view's name.
    mutating func set(
        _ path: String, _ values: ConfigurationKey.Values, at place: Place, _ diagnostics: inout Diagnostics
    ) {
        let front = "views.\(name).\(path): "
        switch path {
        case "listen":
            for item in values.items {
                do throws(WrongValue) { try ConfigurationText.addListen(item.text, &listen) } catch {
                    diagnostics.error(item.place, front + error.description)
                }
            }
        case "clients":
            for item in values.items {
                guard let network = AddressNetwork(item.text) else {
                    diagnostics.error(
                        item.place,
                        front + "\(quoted(item.text.utf8)) is no network; one is ADDRESS/LENGTH, as 10.0.0.0/8")
                    continue
                }
                clients.append(network)
            }
        default:
            guard let key = ConfigurationKey.find(path), Self.mayHave(key) else {
                let near = nearest(to: path, among: Self.keys)
                diagnostics.error(
                    place,
                    front + "a view has no such setting; "
                        + (near.map { "did you mean '\($0)'?" }
                            ?? "it may have hosts, rules, zones, upstream and special"))
                return
            }
            // Problems are told here, once.
            var trial = Configuration()
            key.set(&trial, values, at: place, "views.\(name).\(path)", &diagnostics)
            settings.append((key, values, place))
        }
    }

    /// Reports what makes it useless.
    func check(_ diagnostics: inout Diagnostics) {
        guard listen.plain.isEmpty, listen.encrypted.isEmpty, clients.isEmpty else { return }
        diagnostics.error(
            place,
            "views.\(name): nobody would be answered by it; give listen (where it is asked) or clients (who asks)")
    }

    /// The configuration for its queries.
    func applied(to base: Configuration) -> Configuration {
        var own = base
        var ignored = Diagnostics()
        for setting in settings { setting.key.set(&own, setting.values, at: setting.place, nil, &ignored) }
        if own.upstream.servers.isEmpty, own.upstream.rest == nil {
            own.upstream.rest = Configuration.Upstream.Rest.none
        }
        return own
    }
}
