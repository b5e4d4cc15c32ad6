import Foundation
import Testing

@testable import Platform

@Suite("Users of the machine")
struct SystemUserTests {
    @Test("are found by name and number")
    func found() throws {
        let root = try #require(SystemUser(named: "root"))
        #expect(root.isRoot && root.group == 0 && !root.sharesGroup)
        #expect(SystemUser(id: 0) == root)
        #expect(SystemUser(named: "no-such-user") == nil)
        #expect(SystemUser(named: "nobody")?.sharesGroup == true)
    }

    @Test("get root's files, but no links and no files of others", .enabled(if: getuid() == 0, "takes root"))
    func taken() throws {
        let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let user = try #require(SystemUser(named: "daemon"))
        user.take(folder: folder, mode: 0o750, files: [])
        for name in ["own", "secret", "named-twice", "others"] {
            #expect(FileManager.default.createFile(atPath: "\(folder)/\(name)", contents: nil))
        }
        #expect(symlink("\(folder)/secret", "\(folder)/link") == 0)
        #expect(link("\(folder)/named-twice", "\(folder)/second-name") == 0)
        #expect(chown("\(folder)/others", 3, 3) == 0)
        user.take(folder: folder, mode: 0o750, files: ["own", "link", "second-name", "others", "missing"])
        func owner(_ path: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? Int
        }
        #expect(try owner(folder) == Int(user.id))
        #expect(try owner("\(folder)/own") == Int(user.id))
        #expect(try owner("\(folder)/secret") == 0)
        #expect(try owner("\(folder)/named-twice") == 0)
        #expect(try owner("\(folder)/others") == 3)
    }
}
