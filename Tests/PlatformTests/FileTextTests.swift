import Glibc
import Testing

@testable import Platform

@Suite("Reading a file as a whole")
struct FileTextTests {
    private static func failure(_ path: String, _ limit: Int) -> String {
        do {
            _ = try FileText.bytes(of: path, limit: limit)
            return ""
        } catch { return error.description }
    }

    @Test("A device without an end is given up")
    func device() {
        #expect(Self.failure("/dev/zero", 1 << 30) == "is larger than 1 MiB")
        #expect(Self.failure("/dev/zero", 4096) == "is larger than 4096 bytes")
        #expect(Self.failure("/dev/null", 4096) == "")
    }

    @Test("A pipe that writes on and on is given up")
    func pipe() throws {
        var ends: [Int32] = [0, 0]
        try #require(Glibc.pipe(&ends) == 0)
        let (reading, writing) = (ends[0], ends[1])
        _ = WorkerThread("writer") {
            // Fails when nobody reads any more.
            let piece = [UInt8](repeating: 0x0A, count: 65_536)
            while write(writing, piece, piece.count) > 0 {}
            close(writing)
        }
        #expect(Self.failure("/proc/self/fd/\(reading)", 1 << 30) == "is larger than 64 MiB")
        close(reading)
    }
}
