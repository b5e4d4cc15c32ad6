import Platform

/// The frame around all pages.
enum Tab: String, CaseIterable {
    case lookups, names, overrides, rules, zones, cache, upstreams, health

    var path: String { self == .lookups ? "/" : "/\(rawValue)" }
    var title: String { rawValue.prefix(1).uppercased() + rawValue.dropFirst() }
}

enum Layout {
    static func page(_ tab: Tab?, title: String, addresses: [String], pulse: HTML, _ body: HTML) -> HTML {
        let tabs = Tab.allCases.map { other -> HTML in
            let current: HTML = other == tab ? " aria-current=\"page\"" : ""
            return "<a href=\"\(other.path)\"\(current)>\(other.title)</a>"
        }
        return """
            <!doctype html>
            <html lang="en"><head><meta charset="utf-8"><title>\(title) · stub53</title>
            <meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
            <link rel="stylesheet" href="/app.css"><script src="/app.js" defer></script></head>
            <body><header><strong>stub53</strong><span class="addresses">\(addresses.joined(separator: " · "))</span>\
            <span id="pulse">\(pulse)</span></header>
            <nav>\(tabs)</nav><main>\(body)</main></body></html>
            """
    }

    /// A table; `numbers` are the right-aligned columns.
    static func table(_ head: [String], numbers: Set<Int> = [], _ rows: [HTML]) -> HTML {
        let cells = head.enumerated().map { index, title -> HTML in
            numbers.contains(index) ? "<th class=\"number\">\(title)</th>" : "<th>\(title)</th>"
        }
        return "<table><thead><tr>\(cells)</tr></thead><tbody>\(rows)</tbody></table>"
    }

    /// How long something added stays, to be chosen in a form.
    static let leaseTimes: HTML = """
        <select name="seconds" aria-label="For how long"><option value="600">10 minutes</option>\
        <option value="3600">1 hour</option><option value="86400">1 day</option>\
        <option value="">until the daemon ends</option></select>
        """

    static func rule(_ place: Place) -> HTML { rule(place.isNowhere ? nil : "\(place)") }

    /// FILE:LINE that is copied by a click.
    static func rule(_ text: String?) -> HTML {
        guard let text, !text.isEmpty else { return "<span class=\"muted\">-</span>" }
        return "<button type=\"button\" class=\"rule\" title=\"copy\">\(breakable(text))</button>"
    }

    /// A text that may wrap after dots and slashes.
    static func breakable(_ text: String) -> HTML {
        var parts: [HTML] = []
        var part = ""
        for character in text {
            part.append(character)
            if character == "." || character == "/" {
                parts.append("\(part)<wbr>")
                part = ""
            }
        }
        return "\(parts)\(part)"
    }

    static func empty(_ text: String, _ command: String) -> HTML {
        "<p class=\"empty\">\(text)<br><code>\(command)</code></p>"
    }
}
