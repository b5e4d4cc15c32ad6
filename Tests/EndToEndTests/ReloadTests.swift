import Foundation
import TestSupport
import Testing

/// The running daemon's files change: it notices by itself, and a bad edit changes nothing.
@Suite("A running daemon whose files change", .serialized)
struct ReloadTests {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write("127.0.0.14 over.test\n", to: "hosts")
        try folder.write(ZoneText.shop, to: "zones/shop.zone")
    }

    private func daemon(_ more: String...) async throws -> DaemonProcess {
        try await DaemonProcess(
            ["--hosts", folder.file("hosts"), "--zones", folder.file("zones"), "--no-upstream"] + more)
    }

    /// Runs `change`, and waits until the daemon reports that it has loaded what it could.
    private func reload(_ daemon: DaemonProcess, _ change: () throws -> Void) async throws -> [String] {
        let before = daemon.errors.all.count
        try change()
        _ = try await daemon.errors.first(from: before) { $0.hasPrefix("reload ") && $0.contains(": ") }
        return Array(daemon.errors.all[before...])
    }

    /// Writes a file beside the old one and renames it, as editors and deployment tools do.
    private func replace(_ name: String, _ text: String) throws {
        let beside = try folder.write(text, to: "new")
        #expect(rename(beside, folder.file(name)) == 0)
    }

    @Test("answers from edited overrides at once, whether written in place or replaced")
    func overrides() async throws {
        let daemon = try await daemon()
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        _ = try await reload(daemon) { try folder.write("127.0.0.15 over.test\n", to: "hosts") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.15\n")
        _ = try await reload(daemon) { try replace("hosts", "# two\n127.0.0.16 over.test\n") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.16\n")
        let before = daemon.output.all.count
        #expect(try await daemon.dig("over.test", "+short", "+tcp") == "127.0.0.16\n")
        #expect(
            try await daemon.lookup("over.test.", "A", from: before)["rule"] as? String == "\(folder.file("hosts")):2")
        #expect(try await daemon.stop() == 0)
    }

    @Test("skips a bad line, reports it, and loads the rest")
    func badLine() async throws {
        let daemon = try await daemon()
        let said = try await reload(daemon) {
            try folder.write("127.0.0.15 over.test\n300.1.1.1 bad.test\n127.0.0.16 more.test\n", to: "hosts")
        }
        #expect(said.contains { $0.hasPrefix("\(folder.file("hosts")):2: ") }, "\(said)")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.15\n")
        #expect(try await daemon.dig("more.test", "+short") == "127.0.0.16\n")
        #expect(try await daemon.dig("bad.test", "+short") == "")
    }

    @Test("keeps the overrides if their file is removed, reports it, and loads the file when it returns")
    func overridesGone() async throws {
        let daemon = try await daemon()
        let said = try await reload(daemon) { try FileManager.default.removeItem(atPath: folder.file("hosts")) }
        #expect(said.contains { $0.contains(folder.file("hosts")) && $0.contains("can't be read") }, "\(said)")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        _ = try await reload(daemon) { try replace("hosts", "127.0.0.17 over.test\n") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.17\n")
    }

    @Test("serves an edited and a new zone, and no longer a removed one")
    func zones() async throws {
        let daemon = try await daemon()
        let first = try await daemon.dig("www.shop.test", "+short")
        #expect(first == "198.51.100.7\n", "\(daemon.output.all) \(daemon.errors.all)")
        let edited = ZoneText.shop.replacing("hostmaster 1", with: "hostmaster 2").replacing("0.7", with: "0.8")
        var said = try await reload(daemon) { try replace("zones/shop.zone", edited) }
        #expect(said.contains { $0.contains("zone shop.test. serial 1 -> 2") }, "\(said)")
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.8\n")
        said = try await reload(daemon) {
            try replace("zones/more.zone", ZoneText.shop.replacing("shop.test", with: "more.test"))
        }
        #expect(try await daemon.dig("www.more.test", "+short") == "198.51.100.7\n", "\(said)")
        said = try await reload(daemon) { try FileManager.default.removeItem(atPath: folder.file("zones/more.zone")) }
        #expect(said.contains { $0.contains("zone more.test. gone") }, "\(said)")
        #expect(try await daemon.dig("www.more.test").contains("status: NXDOMAIN"))
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.8\n")
    }

    @Test("follows a file that its zone includes")
    func include() async throws {
        try folder.write("www2 A 198.51.100.20\n", to: "parts/more")
        try folder.write(ZoneText.shop + "$INCLUDE \(folder.file("parts/more"))\n", to: "zones/shop.zone")
        let daemon = try await daemon()
        #expect(try await daemon.dig("www2.shop.test", "+short") == "198.51.100.20\n")
        _ = try await reload(daemon) { try folder.write("www2 A 198.51.100.21\n", to: "parts/more") }
        #expect(try await daemon.dig("www2.shop.test", "+short") == "198.51.100.21\n")
    }

    @Test(
        "keeps the last good zone after a bad edit, reports the line, and loads the corrected one",
        arguments: ["www A 198.51.100.777", "www A 198.51.100.8\nwww CNAME ns", "www A (198.51.100.8"])
    func badZone(_ line: String) async throws {
        let daemon = try await daemon()
        let said = try await reload(daemon) {
            try replace("zones/shop.zone", ZoneText.shop.replacing("www A 198.51.100.7", with: line))
        }
        let file = folder.file("zones/shop.zone")
        #expect(said.contains { $0.hasPrefix("\(file):6: ") || $0.hasPrefix("\(file):7: ") }, "\(said)")
        #expect(said.contains { $0.contains("\(file) not loaded, its last good version stays") }, "\(said)")
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        // An edit of another file does not lose it either.
        _ = try await reload(daemon) { try folder.write("127.0.0.15 over.test\n", to: "hosts") }
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        _ = try await reload(daemon) { try replace("zones/shop.zone", ZoneText.shop.replacing("0.7", with: "0.9")) }
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.9\n")
        #expect(try await daemon.stop() == 0)
    }

    @Test("keeps the zones of a folder that becomes unreadable")
    func folderGone() async throws {
        let daemon = try await daemon()
        let said = try await reload(daemon) { #expect(rename(folder.file("zones"), folder.file("away")) == 0) }
        #expect(said.contains { $0.contains("\(folder.file("zones")): is no folder") }, "\(said)")
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        _ = try await reload(daemon) {
            try folder.write(ZoneText.shop.replacing("0.7", with: "0.9"), to: "away/shop.zone")
            #expect(rename(folder.file("away"), folder.file("zones")) == 0)
        }
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.9\n")
    }

    @Test("notices a redirected link, with which orchestrators swap whole folders")
    func link() async throws {
        try folder.write("127.0.0.21 over.test\n", to: "one/hosts")
        try folder.write("127.0.0.22 over.test\n", to: "two/hosts")
        func point(_ target: String) throws {
            #expect(symlink(target, folder.file("data.new")) == 0)
            #expect(rename(folder.file("data.new"), folder.file("data")) == 0)
        }
        try point("one")
        try FileManager.default.removeItem(atPath: folder.file("hosts"))
        #expect(symlink("data/hosts", folder.file("hosts")) == 0)
        let daemon = try await daemon()
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.21\n")
        _ = try await reload(daemon) { try point("two") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.22\n")
        _ = try await reload(daemon) { try folder.write("127.0.0.23 over.test\n", to: "two/hosts") }
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.23\n")
    }

    @Test("SIGHUP reloads everything, and reopens a rotated log")
    func hangup() async throws {
        let log = folder.file("lookups.log")
        let daemon = try await daemon("--log-file", log)
        #expect(try await daemon.dig("over.test", "+short") == "127.0.0.14\n")
        try await eventually("the log") { try String(contentsOfFile: log, encoding: .utf8).contains("over.test.") }
        #expect(rename(log, log + ".1") == 0)
        let before = daemon.errors.all.count
        daemon.program.signal(SIGHUP)
        _ = try await daemon.errors.first(from: before, containing: "SIGHUP: ")
        #expect(try await daemon.dig("www.shop.test", "+short") == "198.51.100.7\n")
        #expect(try await daemon.stop() == 0)
        let old = try String(contentsOfFile: log + ".1", encoding: .utf8)
        let new = try String(contentsOfFile: log, encoding: .utf8)
        #expect(old.contains("over.test.") && !old.contains("www.shop.test."))
        #expect(new.contains("www.shop.test.") && !new.contains("over.test."))
    }

    @Test("answers without interruption during repeated reloads")
    func withoutGap() async throws {
        let daemon = try await daemon()
        let client = try DatagramClient(port: daemon.port)
        for round in 0..<20 {
            try replace("hosts", "127.0.0.\(20 + round) over.test\n")
            daemon.program.signal(SIGHUP)
            for id in 0..<50 {
                client.send(Wire.query("over.test.", id: UInt16(round * 50 + id)))
                let answer = try #require(try await client.receive())
                #expect(Wire.id(answer) == round * 50 + id && Wire.answers(answer) == 1)
            }
        }
        #expect(try await daemon.stop() == 0)
    }
}
