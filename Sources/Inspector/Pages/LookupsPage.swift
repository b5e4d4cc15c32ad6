import DNSWire
import Lookup
import LookupLog
import Platform

/// The lookups, newest first; those of one navigation share a row.
enum LookupsPage {
    /// Lookups that could not be stored, shown at their place in the list.
    struct Loss {
        /// Microseconds since 1970.
        var time: UInt64
        var count: UInt64
        var reason: String
    }

    static let filterHint = "name:*.acme.org type:HTTPS source:upstream rcode:NXDOMAIN client:firefox since:10m"

    /// - Parameter newest: the newest lookup; nil: an older page, which gets no updates.
    static func body(
        _ navigations: [Navigation], losses: [Loss], filter: String, problem: String?, older: String?, newest: Int64?,
        command: String
    ) -> HTML {
        let complaint: HTML = problem.map { "<p class=\"bad\" role=\"alert\">\($0)</p>" } ?? ""
        let live: HTML = newest.map { " data-newest=\"\($0)\"" } ?? ""
        return """
            <form class="filter" action="/" role="search"><input name="q" value="\(filter)" placeholder="\(filterHint)" \
            aria-label="Filter" list="words" autocomplete="off" spellcheck="false"><datalist id="words"></datalist>\
            <button>Filter</button></form>\(complaint)
            <button type="button" id="new" hidden></button>
            <div id="lookups"\(live)>\(list(navigations, losses: losses, filter: filter, older: older, command: command, hasProblem: problem != nil))</div>
            """
    }

    /// The part that is updated as lookups arrive.
    static func list(
        _ navigations: [Navigation], losses: [Loss], filter: String, older: String?, command: String,
        hasProblem: Bool = false
    ) -> HTML {
        guard !navigations.isEmpty else {
            if hasProblem { return "" }
            return filter.isEmpty
                ? Layout.empty("Nobody has asked yet. Try:", command)
                : Layout.empty("No lookup fits. What can be asked for:", filterHint)
        }
        let longest = navigations.map(\.duration).max() ?? 1
        var rows: [HTML] = []
        var losses = losses[...]
        for navigation in navigations {
            while let loss = losses.first, loss.time >= navigation.lookups[0].time {
                rows.append(
                    "<tr class=\"loss\"><td colspan=\"7\">\(loss.count) lookups are missing here: \(loss.reason)</td></tr>"
                )
                losses = losses.dropFirst()
            }
            rows.append(row(navigation, longest: longest))
        }
        let more: HTML = older.map { "<p><a href=\"\($0)\" rel=\"next\">Older</a></p>" } ?? ""
        return """
            <table class="lookups"><thead><tr><th>Time (UTC)</th><th>Name</th><th>Asked</th><th>Answer</th>\
            <th class="wide">Rule</th><th class="wide">Client</th><th class="number">Took</th></tr></thead>\
            <tbody>\(rows)</tbody></table>\(more)
            """
    }

    private static func row(_ navigation: Navigation, longest: UInt64) -> HTML {
        let main = navigation.main
        let data = main.data
        let answer =
            data.isEmpty
            ? (main.isMasked ? "masked" : main.code == .nxDomain ? "" : main.extendedError?.text ?? "")
            : data.prefix(2).joined(separator: ", ") + (data.count > 2 ? " +\(data.count - 2)" : "")
        // On a logarithmic scale, so that a cache's microseconds and upstream's milliseconds both show.
        let share = bar(navigation.duration)
        return """
            <tr class="row" data-key="\(navigation.key)" data-href="/lookup/\(navigation.key)">\
            <td class="muted">\(navigation.lookups[0].clock)</td>\
            <td class="name"><a href="\(link(navigation.name))">\(Layout.breakable(navigation.name))</a></td>\
            <td>\(navigation.lookups.map(pill))</td><td class="mono">\(Format.cut(answer, 60))</td>\
            <td class="wide">\(Layout.rule(main.reason))</td>\
            <td class="wide">\(client(navigation))</td>\
            <td class="number">\(Format.duration(navigation.duration)) <svg class="\(main.source.description)" width="50" height="8" \
            aria-hidden="true"><rect class="bar" width="\(share)" height="8"/></svg></td></tr>
            """
    }

    /// The width in pixels: 10 us are 4, a second is 50.
    private static func bar(_ microseconds: UInt64) -> Int {
        var rest = microseconds
        var pixels = 2
        while rest >= 10 {
            pixels += 8
            rest /= 10
        }
        return min(50, pixels + Int(rest) * 8 / 10)
    }

    static func pill(_ lookup: LoggedLookup) -> HTML {
        let kind = lookup.isMasked ? " masked" : lookup.isPlain ? "" : " \(lookup.outcome)"
        let outcome = kind + (lookup.privateAnswer == .none ? "" : " private")
        let source = lookup.source.description
        return
            "<span class=\"pill \(source)\" title=\"\(source)\">\(lookup.typeWord) \(source)\(outcome)</span>"
    }

    private static func client(_ navigation: Navigation) -> HTML {
        guard let process = navigation.process else {
            return "<span class=\"muted\">\(navigation.lookups[0].client.ip)</span>"
        }
        return "\(process.command) <span class=\"muted\">\(process.pid)</span>"
    }

    /// The URL of a name's page. Browsers remove a path segment that is a single dot.
    static func link(_ name: String) -> String { name == "." ? "/name" : "/name/" + name.percentEncoded }

    // MARK: One navigation, opened

    static func detail(_ navigation: Navigation) -> HTML {
        let records = navigation.lookups.map { lookup -> HTML in
            let answers = lookup.answers.map { answer -> HTML in "<div class=\"mono\">\(answer.line)</div>" }
            let none: HTML =
                "<span class=\"muted\">\(lookup.isMasked ? "masked by the override" : lookup.outcome)</span>"
            let error: HTML =
                lookup.extendedError.map { "<div class=\"muted\">EDE \($0.code): \($0.text)</div>" } ?? ""
            let fate = lookup.privateAnswer.word.map { "\($0)" }
            let mark: HTML =
                fate.map { "<div class=\"bad\">private address of a public name, \($0)</div>" } ?? ""
            let chain = lookup.chain.map { hop -> HTML in
                let source = hop.source.description
                return
                    "<div>\(hop.name) <span class=\"pill \(source)\">\(source)</span> \(Layout.rule(hop.place))</div>"
            }
            let upstream: HTML =
                lookup.upstream.map { server in
                    let setup =
                        lookup.upstreamSetup.handshakeMicroseconds.map { ", handshake \(Format.duration($0))" }
                        ?? lookup.upstreamSetup.word.map { ", connection \($0)" } ?? ""
                    return
                        "<div class=\"muted\">\(server), \(Format.duration(lookup.upstreamMicroseconds ?? 0))\(setup)</div>"
                } ?? ""
            return """
                <tr><td>\(pill(lookup))</td><td class="muted">\(lookup.clock)</td><td>\(answers.isEmpty ? none : HTML(joining: answers))\(mark)\(error)</td>\
                <td>\(Layout.rule(lookup.rule))\(upstream)\(chain)</td><td class="muted">\(lookup.client.description) \(lookup.transport.description)<br>\
                \(lookup.flags.joined(separator: " "))</td><td class="number">\(Format.duration(lookup.durationMicroseconds))</td></tr>
                """
        }
        return """
            \(SequenceDiagram(navigation).svg)\
            \(Layout.table(["Asked", "At", "Records", "Why", "Client", "Took"], numbers: [5], records))\
            <p><a href="\(link(navigation.name))">Why \(navigation.name) is answered so</a> · <a href="/lookup/\(navigation.key)">This visit</a></p>
            """
    }
}

extension HTML {
    init(joining parts: [HTML]) { self = "\(parts)" }
}
