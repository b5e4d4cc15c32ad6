import Foundation
import TestSupport

/// A Chromium controlled like by a user: opens pages, presses keys, reads the page (W3C WebDriver).
final class WebDriver: Sendable {
    static let isInstalled = FileManager.default.isExecutableFile(atPath: "/usr/bin/chromedriver")

    private let driver: ProgramProcess
    private let session: URL
    private let home: TemporaryFolder

    /// - Parameter dark: the system prefers dark pages.
    init(dark: Bool = false, width: Int = 1300, height: Int = 850) async throws {
        home = try TemporaryFolder()
        driver = try ProgramProcess("/usr/bin/chromedriver", ["--port=0"])
        let line = try await driver.output.first(containing: "started successfully on port ")
        let port = line.split(separator: " ").last.map { $0.filter(\.isNumber) } ?? ""
        let base = URL(string: "http://127.0.0.1:\(port)/session")!
        let arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
            "--user-data-dir=\(home.path)/profile", "--window-size=\(width),\(height)",
            "--blink-settings=preferredColorScheme=\(dark ? 0 : 1)",
        ]
        let answer = try await Self.send(
            "POST", base,
            [
                "capabilities": [
                    "alwaysMatch": [
                        "browserName": "chrome",
                        "goog:chromeOptions": [
                            "binary": "/usr/bin/chromium", "args": arguments,
                        ],
                    ]
                ]
            ])
        guard let id = (answer as? [String: Any])?["sessionId"] as? String else {
            throw LineReader.Missing(description: "no session: \(answer)")
        }
        session = base.appending(path: id)
    }

    deinit {
        // The browser ends with the session, which the driver ends.
        driver.signal(SIGTERM)
    }

    /// Ends the browser.
    func end() async { _ = try? await Self.send("DELETE", session, nil) }

    func open(_ url: String) async throws {
        _ = try await Self.send("POST", session.appending(path: "url"), ["url": url])
    }

    /// The value of a JavaScript expression.
    @discardableResult
    func value(_ expression: String) async throws -> Any {
        try await Self.send(
            "POST", session.appending(path: "execute/sync"), ["script": "return \(expression)", "args": [Any]()])
    }

    /// Waits until an expression is true.
    func wait(_ expression: String) async throws {
        let end = ContinuousClock.now + .seconds(longestWait)
        while (try await value("Boolean(\(expression))")) as? Bool != true {
            guard ContinuousClock.now < end else {
                let page = try await value("document.body.innerText")
                throw LineReader.Missing(
                    description: "'\(expression)' is not so after \(longestWait) s; the page:\n\(page)")
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Presses keys in sequence.
    func press(_ keys: String) async throws {
        let actions = keys.flatMap { key in
            [["type": "keyDown", "value": String(key)], ["type": "keyUp", "value": String(key)]]
        }
        _ = try await Self.send(
            "POST", session.appending(path: "actions"),
            ["actions": [["type": "key", "id": "keys", "actions": actions]]])
    }

    static let enter = "\u{E007}"
    static let escape = "\u{E00C}"

    /// Clicks the element that a selector finds.
    func click(_ selector: String) async throws {
        let found = try await Self.send(
            "POST", session.appending(path: "element"), ["using": "css selector", "value": selector])
        guard let element = (found as? [String: String])?.values.first else { return }
        _ = try await Self.send("POST", session.appending(path: "element/\(element)/click"), [:])
    }

    func screenshot(to path: String) async throws {
        let answer = try await Self.send("GET", session.appending(path: "screenshot"), nil)
        guard let text = answer as? String, let data = Data(base64Encoded: text) else { return }
        try data.write(to: URL(filePath: path))
    }

    /// The `value` in the driver's response.
    private static func send(_ method: String, _ url: URL, _ body: [String: Any]?) async throws -> Any {
        // With curl, because URLSession can't parse the driver's responses.
        var words = ["-s", "-m", "60", "-w", "\n%{http_code}", "-X", method, url.absoluteString]
        if let body {
            let json = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
            words += ["-H", "Content-Type: application/json", "-d", json]
        }
        let answer = try await Command.run(words, executable: URL(filePath: "/usr/bin/curl")).output
        let lines = answer.split(separator: "\n", omittingEmptySubsequences: false)
        let text = lines.dropLast().joined(separator: "\n")
        let value = (try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])?["value"] ?? NSNull()
        guard lines.last == "200" else {
            throw LineReader.Missing(description: "\(method) \(url.path): \(answer)")
        }
        return value
    }
}
