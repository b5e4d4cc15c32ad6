import DNSWire
import LocalData
import Platform

extension ViewSettings {
    /// Settings that a view may have of its own.
    static func mayHave(_ key: ConfigurationKey) -> Bool {
        ["hosts.", "rules.", "zones.", "special."].contains { key.path.hasPrefix($0) }
            || ["upstream.servers", "upstream.private", "upstream.private-domains"].contains(key.path)
    }

    static var keys: [String] { ["listen", "clients"] + ConfigurationKey.all.filter(mayHave).map(\.path) }

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
            settings.append(Setting(key: path, values: values.items, place: place))
        }
    }

    /// Reports what makes it useless.
    func check(_ diagnostics: inout Diagnostics) {
        if !listen.encrypted.isEmpty {
            diagnostics.error(
                place, "views.\(name).listen: a view is asked over UDP and TCP; over TLS and HTTPS tell it by clients")
        }
        guard listen.plain.isEmpty, listen.encrypted.isEmpty, clients.isEmpty else { return }
        diagnostics.error(
            place,
            "views.\(name): nobody would be answered by it; give listen (where it is asked) or clients (who asks)")
    }

    /// The configuration for its queries.
    func applied(to base: Configuration) -> Configuration {
        var own = base
        var ignored = Diagnostics()
        for setting in settings {
            let values = ConfigurationKey.Values(setting.values.map { ($0.text, $0.place) })
            ConfigurationKey.find(setting.key)?.set(&own, values, at: setting.place, nil, &ignored)
        }
        if own.upstream.servers.isEmpty, own.upstream.rest == nil {
            own.upstream.rest = Configuration.Upstream.Rest.none
        }
        return own
    }
}
