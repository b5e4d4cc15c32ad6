import Daemon

/// Overrides: those of files with their lines, and leased ones.
enum OverridesPage {
    static func body(
        _ files: [HostsFileReport], _ listing: OverrideListing, leases: [OverrideLease], query: String,
        problem: String?, mayChange: Bool
    ) -> HTML {
        """
        <h1>Overrides</h1>\(Problems.alert(problem))\(added(leases, mayChange: mayChange))
        <h2>Files</h2>\(fileTable(files))
        <form class="filter" action="/overrides"><input name="q" value="\(query)" placeholder="*.acme.org" \
        aria-label="Names" spellcheck="false" autocomplete="off"><button>Find</button></form>\(lines(listing))
        """
    }

    private static func added(_ leases: [OverrideLease], mayChange: Bool) -> HTML {
        let rows = leases.map { lease -> HTML in
            let end: HTML = lease.left.map { "\(Format.age(UInt64($0))) left" } ?? "until the daemon ends"
            let remove: HTML =
                mayChange
                ? "<form method=\"post\" action=\"/overrides/remove\"><input type=\"hidden\" name=\"name\" value=\"\(lease.name)\"><button>Remove</button></form>"
                : ""
            return """
                <tr><td>\(Layout.rule(lease.rule))</td><td class="name"><a href="\(LookupsPage.link(lease.name))">\
                \(lease.name)</a></td><td class="mono">\(lease.addresses.joined(separator: " "))</td><td>\(end)</td>\
                <td>\(remove)</td></tr>
                """
        }
        let list: HTML = rows.isEmpty ? "" : Layout.table(["Rule", "Name", "Addresses", "Ends", ""], rows)
        return "<h2>Added for a while</h2>\(list)\(mayChange ? form(name: "", back: "") : "")"
    }

    /// A form to add an override; `back`: the page to return to.
    static func form(name: String, back: String) -> HTML {
        let field: HTML =
            back.isEmpty
            ? "<input name=\"name\" placeholder=\"name\" aria-label=\"Name\" required spellcheck=\"false\">"
            : "<input type=\"hidden\" name=\"name\" value=\"\(name)\"><input type=\"hidden\" name=\"back\" value=\"\(back)\">"
        return """
            <form class="inline" method="post" action="/overrides">\(field)\
            <input name="addresses" placeholder="127.0.0.1 ::1" aria-label="Addresses" required spellcheck="false">\
            \(Layout.leaseTimes)<button>Override</button></form>
            """
    }

    private static func fileTable(_ files: [HostsFileReport]) -> HTML {
        guard !files.isEmpty else {
            return Layout.empty("No hosts file is read. One is named with:", "stub53 serve --hosts FILE")
        }
        return Problems.table(
            "Names", kept: "lines", files.map { ($0.file, $0.names, $0.hasFailed, $0.problems) })
    }

    private static func lines(_ listing: OverrideListing) -> HTML {
        guard !listing.lines.isEmpty else { return "<p class=\"muted\">No override has such a name.</p>" }
        let rows = listing.lines.map { line -> HTML in
            """
            <tr class="row"><td class="name"><a href="\(LookupsPage.link(line.name))">\(line.name)</a></td>\
            <td class="mono">\(line.address)</td><td>\(Layout.rule(line.rule))</td></tr>
            """
        }
        let more: HTML = listing.hasMore ? "<p class=\"muted\">There are more: say which names.</p>" : ""
        return Layout.table(["Name", "Address", "Line"], rows) + more
    }
}

enum ZonesPage {
    static func body(_ zones: [ZoneReport]) -> HTML {
        guard !zones.isEmpty else {
            return "<h1>Zones</h1>" + Layout.empty("No zone is served. One is named with:", "stub53 serve --zone FILE")
        }
        let rows = zones.map { zone -> HTML in
            let apex: HTML =
                zone.apex.map { "<a href=\"\(LookupsPage.link($0))\">\($0)</a>" }
                ?? "<span class=\"bad\">not served</span>"
            let failed: HTML =
                zone.hasFailed && zone.apex != nil ? " <span class=\"bad\">the last good version</span>" : ""
            return """
                <tr><td class="name">\(apex)\(failed)</td><td class="number">\(zone.serial.map { "\($0)" } ?? "")</td>\
                <td class="number">\(zone.records.map { "\($0)" } ?? "")</td><td class="mono">\(zone.file)\
                \(Problems.list(zone.problems))</td><td class="muted">\(zone.loaded ?? "")</td></tr>
                """
        }
        return "<h1>Zones</h1>" + Layout.table(["Apex", "Serial", "Records", "File", "Loaded"], numbers: [1, 2], rows)
    }
}

enum CachePage {
    static func body(
        _ listing: CacheListing, _ cache: CacheStatistics, query: String, note: String?, mayChange: Bool
    ) -> HTML {
        let asked = cache.hits + cache.misses
        let share = asked > 0 ? ", \(cache.hits * 100 / asked) % of \(asked) lookups were there" : ""
        let flush: HTML =
            mayChange
            ? """
            <form class="inline" method="post" action="/cache/flush"><input name="name" placeholder="a name; empty: all" \
            aria-label="Name" spellcheck="false"><label><input type="checkbox" name="tree" value="1"> and below</label>\
            <button>Flush</button></form>
            """ : ""
        let done: HTML = note.map { "<p role=\"status\">\($0)</p>" } ?? ""
        let rows = listing.entries.map { entry -> HTML in
            """
            <tr><td class="name"><a href="\(LookupsPage.link(entry.name))">\(entry.name)</a></td>\
            <td>\(entry.type)\(entry.dnssecOK ? " DO" : "")\(entry.checkingDisabled ? " CD" : "")</td>\
            <td>\(entry.responseCode == "NOERROR" && entry.answers == 0 ? "NODATA" : entry.responseCode)</td><td class="number">\(entry.answers)</td>\
            <td class="number">\(Format.age(UInt64(entry.age)))</td>\
            <td class="number">\(entry.isStale ? "stale" : Format.age(UInt64(entry.remaining)))</td>\
            <td class="number">\(entry.hits)</td><td class="muted">\(entry.upstream ?? "")</td></tr>
            """
        }
        let list =
            rows.isEmpty
            ? Layout.empty("No answer of upstream is held under such a name.", "stub53 query example.net")
            : Layout.table(
                ["Name", "Type", "Code", "Records", "Age", "Left", "Hits", "From"], numbers: [3, 4, 5, 6], rows)
        let more: HTML = listing.hasMore ? "<p class=\"muted\">There are more: say which names.</p>" : ""
        return """
            <h1>Cache</h1><p>\(cache.entries) answers, \(Format.size(cache.bytes)) of \(Format.size(cache.capacity))\(share)</p>
            \(done)\(flush)<form class="filter" action="/cache"><input name="q" value="\(query)" placeholder="*.example.net" \
            aria-label="Names" spellcheck="false" autocomplete="off"><button>Find</button></form>\(list)\(more)
            """
    }
}

enum UpstreamsPage {
    static func body(_ servers: [UpstreamReport], roundTrips: [(server: String, plot: HTML)]) -> HTML {
        guard !servers.isEmpty else {
            return "<h1>Upstreams</h1>"
                + Layout.empty("Nothing is forwarded. A server is named with:", "stub53 serve --upstream 9.9.9.9")
        }
        let rows = servers.map { server -> HTML in
            let state: HTML = server.state == "down" ? "<span class=\"bad\">down</span>" : "\(server.state)"
            return """
                <tr><td class="mono">\(server.address) <span class="muted">\(server.transport)</span></td>\
                <td class="name">\(server.domain == "." ? "all other names" : server.domain)</td><td>\(state)</td>\
                <td class="number">\(server.roundTripMicroseconds.map { Format.duration($0) } ?? "-")</td>\
                <td class="number">\(server.queries)</td><td class="number">\(server.answers)</td>\
                <td class="number">\(server.timeouts)</td><td>\(server.remarks.joined(separator: "; "))</td></tr>
                """
        }
        let plots = roundTrips.map { one -> HTML in
            "<section><h2 class=\"mono\">\(one.server)</h2>\(one.plot)</section>"
        }
        return """
            <h1>Upstreams</h1>\(Layout.table(
                ["Server", "For", "State", "Round trip", "Queries", "Answers", "Timeouts", "Remarks"],
                numbers: [3, 4, 5, 6], rows))
            <div class="charts">\(plots)</div>
            """
    }
}

/// The problems of a file.
enum Problems {
    static func list(_ problems: [ProblemReport]) -> HTML {
        let rows = problems.prefix(50).map { problem -> HTML in
            "<div class=\"\(problem.severity == "error" ? "bad" : "muted")\">\(Layout.rule(problem.rule)) \(problem.message)</div>"
        }
        let more: HTML = problems.count > 50 ? "<div class=\"muted\">\(problems.count - 50) more</div>" : ""
        return HTML(joining: rows) + more
    }

    /// Files, each with a number of what it holds, and its problems. One that can't be read has its last good ones `kept`.
    static func table(
        _ count: String, kept: String, _ files: [(path: String, count: Int, hasFailed: Bool, problems: [ProblemReport])]
    ) -> HTML {
        Layout.table(
            ["File", count], numbers: [1],
            files.map { file in
                let failed: HTML = file.hasFailed ? " <span class=\"bad\">the last good \(kept)</span>" : ""
                return
                    "<tr><td class=\"mono\">\(file.path)\(failed)\(list(file.problems))</td><td class=\"number\">\(file.count)</td></tr>"
            })
    }

    static func alert(_ problem: String?) -> HTML {
        problem.map { "<p class=\"bad\" role=\"alert\">\($0)</p>" } ?? ""
    }
}
