import Foundation
import TestSupport
import Testing

/// The inspector as a user sees it: in a real Chromium, controlled by keyboard.
@Suite("The inspector page in Chromium", .serialized, .enabled(if: WebDriver.isInstalled))
struct InspectorPageTests {
    final class World: Sendable {
        let folder: TemporaryFolder
        let daemon: DaemonProcess
        let url: String
        let browser: WebDriver

        init(dark: Bool = false) async throws {
            folder = try TemporaryFolder()
            try folder.write("127.0.0.14 over.acme.org\n127.0.0.999 broken.acme.org\n", to: "hosts")
            try folder.write(
                """
                $ORIGIN acme.org.
                $TTL 3600
                @ IN SOA ns hostmaster 1 7200 3600 1209600 300
                @ NS ns
                ns A 152.153.81.53
                @ A 152.153.81.14
                @ HTTPS 1 . alpn=h2
                over HTTPS 1 . alpn=h2
                www CNAME over

                """, to: "zones/acme.org.zone")
            daemon = try await DaemonProcess([
                "--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--no-upstream", "--inspector",
                "127.0.0.1:0", "--history", folder.file("history.db"), "--log-file", folder.file("log"),
            ])
            let line = try await daemon.output.first { $0.hasPrefix("inspector") }
            url = line.split(separator: " ").last.map(String.init) ?? ""
            browser = try await WebDriver(dark: dark)
        }

        /// The queries that a browser makes when it visits a name.
        func visit(_ name: String) async throws {
            for type in ["HTTPS", "AAAA", "A"] { _ = try await daemon.dig(name, type) }
        }
    }

    private static let rows = "document.querySelectorAll('tr.row').length"

    @Test("Lookups appear by themselves, those of one navigation in one row, with answer and line")
    func live() async throws {
        let world = try await World()
        try await world.browser.open(world.url)
        #expect(
            try await world.browser.value("document.body.innerText.includes('Nobody has asked yet')") as? Bool == true)
        try await world.visit("over.acme.org")
        try await world.browser.wait("\(Self.rows) == 1 && document.querySelectorAll('tr.row .pill').length == 3")
        let row = try await world.browser.value("document.querySelector('tr.row').innerText") as? String ?? ""
        for text in ["over.acme.org.", "HTTPS hosts masked", "AAAA hosts NODATA", "127.0.0.14", "hosts:1"] {
            #expect(row.contains(text), "\(text) in \(row)")
        }
        // Nothing is loaded from other hosts, and the page's own policy blocks nothing.
        let loaded =
            try await world.browser.value(
                "performance.getEntriesByType('resource').map((e) => new URL(e.name).origin)") as? [String] ?? []
        #expect(!loaded.isEmpty && loaded.allSatisfy { $0 == world.url })
        await world.browser.end()
    }

    @Test("The keyboard opens and closes a row with its diagram; meanwhile new lookups wait in a pill")
    func keyboard() async throws {
        let world = try await World()
        try await world.visit("www.acme.org")
        try await world.browser.open(world.url)
        try await world.browser.wait("document.querySelectorAll('tr.row .pill').length == 3")
        try await world.browser.press("j" + WebDriver.enter)
        try await world.browser.wait("document.querySelector('tr.detail svg.sequence')")
        let detail = try await world.browser.value("document.querySelector('tr.detail').textContent") as? String ?? ""
        for text in ["A www.acme.org.?", "zones/acme.org.zone", "/hosts", "127.0.0.14", "acme.org.zone:9"] {
            #expect(detail.contains(text), "\(text) in \(detail)")
        }
        try await world.visit("acme.org")
        try await world.browser.wait("document.querySelector('#new').innerText == '3 new'")
        #expect(try await world.browser.value(Self.rows) as? Int == 1)
        try await world.browser.press(WebDriver.escape)
        try await world.browser.wait("!document.querySelector('tr.detail')")
        try await world.browser.wait("\(Self.rows) == 2")
        await world.browser.end()
    }

    @Test("The filter box accepts the words of stub53 log, reports errors, and is in the URL")
    func filter() async throws {
        let world = try await World()
        try await world.visit("over.acme.org")
        try await world.visit("nope.acme.org")
        try await world.browser.open(world.url)
        try await world.browser.wait("\(Self.rows) == 2")
        try await world.browser.press("/rcode:NXDOMAIN" + WebDriver.enter)
        try await world.browser.wait("location.search == '?q=rcode%3ANXDOMAIN' && \(Self.rows) == 1")
        #expect(
            try await world.browser.value("document.querySelector('tr.row td.name').innerText") as? String
                == "nope.acme.org.")
        try await world.browser.open(world.url + "/?q=type:HTTPSS")
        let alert = try await world.browser.value("document.querySelector('[role=alert]').innerText") as? String
        #expect(alert?.contains("did you mean HTTPS?") == true)
        await world.browser.end()
    }

    @Test("A hostile name is shown as text everywhere")
    func hostile() async throws {
        let world = try await World()
        let name = #"\<img\032src=x\032onerror=document.title=1\>\"'.acme.org"#
        try await world.visit(name)
        for path in ["/", "/names", "/health"] {
            try await world.browser.open(world.url + path)
            if path == "/" {
                try await world.browser.wait("\(Self.rows) == 1")
                try await world.browser.press("j" + WebDriver.enter)
                try await world.browser.wait("document.querySelector('tr.detail')")
                // Its own page, through the link.
                try await world.browser.click("tr.row td.name a")
                try await world.browser.wait("location.pathname.startsWith('/name/')")
                #expect(
                    try await world.browser.value("document.querySelector('h1').innerText.includes('<img')") as? Bool
                        == true)
            }
            #expect(try await world.browser.value("document.querySelectorAll('img').length") as? Int == 0)
            #expect(try await world.browser.value("document.title == '1'") as? Bool == false)
        }
        await world.browser.end()
    }

    @Test("An override is added and removed on the page; a name's page shows why, and what a browser does")
    func overrides() async throws {
        let world = try await World()
        try await world.browser.open(world.url + "/overrides")
        #expect(try await world.browser.value("document.body.innerText.includes('hosts:2')") as? Bool == true)
        _ = try await world.browser.value(
            """
            (() => { const form = document.querySelector('form[action="/overrides"][method=post]');
              form.name.value = 'acme.org'; form.addresses.value = '127.0.0.77'; form.requestSubmit(); })()
            """.replacing("\n", with: " ").replacing("form.name.value", with: "form.elements.name.value"))
        try await world.browser.wait("document.body.innerText.includes('override:1')")
        #expect(try await world.daemon.dig("+short", "acme.org") == "127.0.0.77\n")
        try await world.browser.open(world.url + "/name/acme.org")
        let page = try await world.browser.value("document.body.innerText") as? String ?? ""
        for text in ["connects to 127.0.0.77", "downgrade is possible", "shadowed by 1", "acme.org.zone:6", "masked"] {
            #expect(page.contains(text), "\(text) in \(page)")
        }
        try await world.browser.open(world.url + "/overrides")
        try await world.browser.click("form[action='/overrides/remove'] button")
        try await world.browser.wait("!document.body.innerText.includes('override:1')")
        #expect(try await world.daemon.dig("+short", "acme.org") == "152.153.81.14\n")
        await world.browser.end()
    }

    @Test("Dark and light follow the system, and text has enough contrast (WCAG AA)", arguments: [false, true])
    func contrast(dark: Bool) async throws {
        let world = try await World(dark: dark)
        for name in ["over.acme.org", "acme.org", "nope.test", "x.example"] { try await world.visit(name) }
        try await world.browser.open(world.url)
        try await world.browser.wait("\(Self.rows) >= 4")
        let worst =
            try await world.browser.value(
                """
                (() => { const rgb = (c) => c.match(/[0-9.]+/g).map(Number);
                  const light = (c) => rgb(c).slice(0, 3).map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
                  const ground = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
                    if (rgb(c).length == 3 || rgb(c)[3] > 0) return c; } return 'rgb(255, 255, 255)'; };
                  let worst = 99;
                  for (const e of document.querySelectorAll('body *')) {
                    if (![...e.childNodes].some((n) => n.nodeType == 3 && n.data.trim()) || e.closest('svg, script')) continue;
                    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
                    worst = Math.min(worst, (a + 0.05) / (b + 0.05)); }
                  return worst; })()
                """.replacing("\n", with: " ")) as? Double
        #expect((worst ?? 0) >= 4.5)
        let page = try await world.browser.value("getComputedStyle(document.body).backgroundColor") as? String
        #expect(page == (dark ? "rgb(18, 20, 23)" : "rgb(255, 255, 255)"))
        await world.browser.end()
    }

    @Test("A request under another name, or from another site, gets nothing and changes nothing")
    func guarded() async throws {
        let world = try await World()
        func status(_ words: String...) async throws -> String {
            try await Command.run(
                ["-s", "-o", "/dev/null", "-w", "%{http_code}"] + words, executable: URL(filePath: "/usr/bin/curl")
            ).output
        }
        #expect(try await status(world.url) == "200")
        #expect(try await status("-H", "Host: evil.example", world.url) == "421")
        let form = ["-d", "name=acme.org&addresses=127.0.0.66&seconds=60", world.url + "/overrides"]
        #expect(
            try await Command.run(
                ["-s", "-o", "/dev/null", "-w", "%{http_code}"] + form, executable: URL(filePath: "/usr/bin/curl")
            ).output == "403")
        #expect(try await status("-H", "Origin: http://evil.example", form[0], form[1], form[2]) == "403")
        #expect(try await status("-H", "Origin: \(world.url)", form[0], form[1], form[2]) == "303")
        #expect(try await world.daemon.dig("+short", "acme.org") == "127.0.0.66\n")
        await world.browser.end()
    }
}
