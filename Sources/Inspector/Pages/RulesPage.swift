import Daemon

/// Rules: leased ones, and the files.
enum RulesPage {
    static func body(_ listing: RuleListing, problem: String?, typed: String, mayChange: Bool) -> HTML {
        """
        <h1>Rules</h1>\(Problems.alert(problem))\(added(listing.leases, typed, mayChange: mayChange))
        <h2>Files</h2>\(files(listing.files))
        """
    }

    private static func added(_ leases: [RuleLease], _ typed: String, mayChange: Bool) -> HTML {
        let rows = leases.map { lease -> HTML in
            let end: HTML = lease.left.map { "\(Format.age(UInt64($0))) left" } ?? "until the daemon ends"
            let remove: HTML =
                mayChange
                ? "<form method=\"post\" action=\"/rules/remove\"><input type=\"hidden\" name=\"number\" value=\"\(lease.number)\"><button>Remove</button></form>"
                : ""
            return """
                <tr><td>\(Layout.rule(lease.rule))</td><td class="mono">\(lease.text)</td><td>\(end)</td><td>\(remove)</td></tr>
                """
        }
        let list: HTML = rows.isEmpty ? "" : Layout.table(["Rule", "What it says", "Ends", ""], rows)
        return "<h2>Added for a while</h2>\(list)\(mayChange ? form(typed) : "")"
    }

    private static func form(_ typed: String) -> HTML {
        """
        <form class="inline" method="post" action="/rules"><input name="rule" value="\(typed)" \
        placeholder="api.example.com A delay=2s" aria-label="Rule" required spellcheck="false" autocomplete="off" size="48">\
        \(Layout.leaseTimes)<button>Add</button></form>\
        <form class="inline" method="post" action="/rules/reset"><button>Count from 1 again</button></form>
        """
    }

    private static func files(_ files: [RulesFileReport]) -> HTML {
        guard !files.isEmpty else {
            return Layout.empty("No rules file is read. One is named with:", "stub53 serve --rules FILE")
        }
        return Problems.table(
            "Rules", kept: "rules", files.map { ($0.file, $0.rules, $0.hasFailed, $0.problems) })
    }
}
