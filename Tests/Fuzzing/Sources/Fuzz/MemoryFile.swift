import CFuzzer
import Glibc

/// A file in memory, for code that reads paths.
struct MemoryFile {
    let descriptor: Int32
    var path: String { "/proc/self/fd/\(descriptor)" }

    /// With a fixed number, so that inputs can name it.
    init(number: Int32) {
        let descriptor = cfuzzer_memory_file()
        precondition(descriptor >= 0 && dup2(descriptor, number) == number, "no file can be had")
        close(descriptor)
        self.descriptor = number
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        precondition(
            ftruncate(descriptor, 0) == 0 && pwrite(descriptor, bytes.baseAddress, bytes.count, 0) == bytes.count,
            "the file can't be written")
    }

    func write(_ text: String) {
        var text = text
        text.withUTF8 { write(UnsafeRawBufferPointer($0)) }
    }
}
