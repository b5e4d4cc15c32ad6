import DNSWire
import LocalData
import Platform
import Upstream

/// A view that is to be added to a running daemon.
package struct ViewRequest: Codable, Sendable {
    package var name: String
    /// As in a configuration file.
    package var listen: [String]
    package var clients: [String]
    /// By key, as `hosts.files`.
    package var settings: [String: [String]]
    /// Nil: until the daemon ends.
    package var seconds: UInt32?

    package init(
        name: String, listen: [String], clients: [String], settings: [String: [String]], seconds: UInt32?
    ) {
        self.name = name
        self.listen = listen
        self.clients = clients
        self.settings = settings
        self.seconds = seconds
    }
}

/// A view, for people and programs.
package struct ViewReport: Codable, Sendable, Hashable {
    package var name: String
    /// Where it is asked, with the ports in use.
    package var listen: [String]
    package var clients: [String]
    package var settings: [String: [String]]
    package var overrideNames: Int
    package var rules: Int
    /// It was added at run time.
    package var isLeased: Bool
    package var until: String?
    /// The seconds that remain.
    package var left: UInt32?

    enum CodingKeys: String, CodingKey {
        case name, listen, clients, settings, rules
        case overrideNames = "override_names"
        case isLeased = "leased"
        case until, left
    }
}

/// The views added at run time, the newest first.
struct ViewLeases: Sendable {
    struct Live: Sendable {
        var settings: ViewSettings
        var term: LeaseTerm
    }

    private(set) var live: [Live] = []
    private var last = 0
    var settings: [ViewSettings] { live.map(\.settings) }
    var nextEnd: UInt64? { live.map(\.term).nextEnd }

    /// Checks a request.
    static func settings(_ request: ViewRequest) throws(OverrideProblem) -> ViewSettings {
        try LeaseTerm.check(request.seconds)
        guard ViewSettings.isName(request.name) else {
            throw OverrideProblem(
                "\(quoted(request.name.utf8)) is no name of a view: 1 to 32 letters, digits, '-' and '_'")
        }
        let place = Place(path: "view add \(request.name)")
        var view = ViewSettings(request.name)
        view.place = place
        var diagnostics = Diagnostics()
        func set(_ key: String, _ values: [String]) {
            guard !values.isEmpty else { return }
            view.set(key, .init(values.map { ($0, place) }), at: place, &diagnostics)
        }
        set("listen", request.listen)
        set("clients", request.clients)
        for (key, values) in request.settings.sorted(by: { $0.key < $1.key }) { set(key, values) }
        view.check(&diagnostics)
        if let problem = diagnostics.list.first { throw OverrideProblem(problem.message) }
        return view
    }

    /// Returns the settings with their number.
    mutating func add(_ settings: ViewSettings, seconds: UInt32?, now: Moment) -> ViewSettings {
        live.removeAll { $0.settings.name == settings.name }
        var settings = settings
        last += 1
        settings.lease = last
        live.insert(Live(settings: settings, term: LeaseTerm(seconds: seconds, from: now)), at: 0)
        return settings
    }

    mutating func remove(_ name: String) { live.removeAll { $0.settings.name == name } }

    /// Those that expire by `now`, monotonic in microseconds.
    func due(at now: UInt64) -> [(name: String, lease: Int)] {
        live.filter { $0.term.end <= now }.map { ($0.settings.name, $0.settings.lease) }
    }
}

extension LoadedState {
    /// Views may have come and gone since the reload of `self` began.
    mutating func takeViews(of state: LoadedState) {
        viewLeases = state.viewLeases
        viewAddresses = state.viewAddresses
        let leased = Dictionary(viewLeases.settings.map { ($0.name, $0.lease) }, uniquingKeysWith: { $1 })
        let configured = Set(configuration.views.map(\.name))
        for view in sources.views where leased[view.name] == nil && !configured.contains(view.name) { drop(view) }
        for view in state.sources.views {
            guard let lease = leased[view.name] else { continue }
            if sources.views.contains(where: { $0.name == view.name && $0.settings.lease == lease }) { continue }
            insert(view, state.sources.listed.filter { $0.partition == view.number })
            sources.watched += state.sources.watched.filter { !sources.watched.contains($0) }
        }
    }

    mutating func insert(_ view: LoadedView, _ servers: [UpstreamServer]) {
        for old in sources.views where old.name == view.name { drop(old) }
        sources.views.insert(view, at: 0)
        sources.listed += servers
        makeViewCaches(emptied: false)
    }

    mutating func drop(_ view: LoadedView) {
        sources.views.removeAll { $0.name == view.name }
        sources.listed.removeAll { $0.partition == view.number }
        makeViewCaches(emptied: false)
    }
}
