import DNSWire
import LocalData
import Platform

/// One view: who asks or where, and the settings that differ for it.
struct ViewSettings: Sendable {
    /// Letters, digits, `-` and `_`; 32 bytes at most.
    let name: String
    var place = Place.nowhere
    /// Counts those added at run time, from 1; 0: of the configuration file.
    var lease = 0
    /// Where its queries come in; empty: anywhere.
    var listen = Configuration.Listen()
    /// Who asks; empty: anybody.
    var clients: [AddressNetwork] = []
    /// The settings of its own.
    var settings: [Setting] = []

    /// A key, with its values as they were written.
    struct Setting: Sendable {
        var key: String
        var values: [(text: String, place: Place)]
        var place: Place
    }

    /// Views of one configuration; more are refused.
    static let most = 1000

    init(_ name: String) { self.name = name }

    static func isName(_ text: String) -> Bool {
        (1...32).contains(text.utf8.count)
            && text.utf8.allSatisfy {
                ASCII.isDigit($0) || (0x61...0x7A).contains(ASCII.lowercased($0)) || $0 == 0x2D || $0 == 0x5F
            }
    }

    /// Whether it has a setting of this group, or this one.
    func has(_ prefix: String) -> Bool {
        settings.contains { $0.key == prefix || $0.key.hasPrefix(prefix + ".") }
    }
}
