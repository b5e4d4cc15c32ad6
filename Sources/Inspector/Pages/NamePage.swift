import Daemon
import Lookup

/// A name: why it is answered as it is, what a browser does with it, and which clients asked for it.
enum NamePage {
    static func body(_ explanations: [Explanation], recent: HTML, forms: HTML) -> HTML {
        guard let first = explanations.first else { return "" }
        let sentence: HTML =
            first.browser.map { browser in
                "<p>A browser <strong>\(browser.sentence)</strong>.</p>"
            } ?? ""
        return """
            <h1 class="name">\(first.name)</h1>\(sentence)\(forms)
            \(explanations.map(section))
            <h2>Recent lookups</h2>\(recent)
            """
    }

    private static func section(_ explanation: Explanation) -> HTML {
        let answer = explanation.answer
        let source = answer.needsUpstream ? SourceKind.upstream.description : answer.source
        let summary: HTML =
            answer.needsUpstream
            ? "is asked upstream\(answer.lastName == explanation.name ? "" : ", as \(answer.lastName)")"
            : "<span class=\"mono\">\(Format.cut(answer.summary, 120))</span>"
        let chain = explanation.chain.map { hop -> HTML in
            "<li><span class=\"mono\">\(hop.name)</span> <span class=\"pill \(hop.source)\">\(hop.source)</span> \(Layout.rule(hop.rule))</li>"
        }
        let hops: HTML = chain.isEmpty ? "" : "<ol>\(chain)</ol>"
        let note: HTML = answer.note.map { "<p class=\"bad\">\($0)</p>" } ?? ""
        let rows = explanation.rows.enumerated().flatMap { index, row -> [HTML] in
            let word = SourceKind(word: row.source).map { "\($0.heading)" } ?? row.source
            let tone = row.decides ? "" : " muted"
            let mark: HTML =
                row.decides
                ? "<span class=\"pill \(row.source)\">\(word)</span>" : "<span class=\"muted\">\(word)</span>"
            let main: HTML = """
                <tr><td class="muted">\(index + 1)</td><td>\(mark)</td><td>\(Layout.rule(row.rule))</td>\
                <td class="mono\(tone)">\(row.text)</td><td class="\(tone)">\(row.comment)</td></tr>
                """
            let shadowed = row.shadowed.map { entry -> HTML in
                """
                <tr><td></td><td></td><td>\(Layout.rule(entry.rule))</td>\
                <td class="mono muted">\(entry.name) \(entry.type) \(entry.data)</td><td class="muted">\(entry.reason)</td></tr>
                """
            }
            return [main] + shadowed
        }
        let cached = explanation.cached.map { entry -> HTML in
            """
            <p>Cached\(entry.dnssecOK ? " with DO" : ""): \(entry.responseCode), \(Format.count(entry.answers, "record")), \
            \(entry.age) s old, \(entry.isStale ? "stale" : "\(entry.remaining) s left"), \(Format.count(Int(entry.hits), "hit"))\
            \(entry.upstream.map { ", from \($0) in \(Format.duration(entry.upstreamMicroseconds ?? 0))" } ?? "")</p>
            """
        }
        return """
            <h2>\(explanation.type) \(summary) <span class="pill \(source)">\(source)</span></h2>
            \(note)\(hops)
            \(Layout.table(["", "Source", "Where", "What", ""], rows))\(cached)
            """
    }

    static func search(names: [String], query: String) -> HTML {
        let rows = names.map { name -> HTML in
            "<tr><td class=\"name\"><a href=\"\(LookupsPage.link(name))\">\(name)</a></td></tr>"
        }
        let list =
            rows.isEmpty
            ? Layout.empty("No name that starts so was asked for. Any name has a reason:", "stub53 why acme.org")
            : Layout.table(["Names that were asked for"], rows)
        return """
            <form class="filter" action="/names"><input name="q" value="\(query)" placeholder="a name, as acme.org" \
            aria-label="Name" spellcheck="false" autocomplete="off"><button>Find</button>\
            <button name="why" value="1">Why?</button></form>
            \(list)
            """
    }
}
