import Foundation

/// A process's output lines as they arrive; a test can wait for one.
package final class LineReader: @unchecked Sendable {
    package struct Missing: Error, CustomStringConvertible {
        package let description: String

        package init(description: String) { self.description = description }
    }

    private struct Waiter {
        let id: Int
        let from: Int
        let matches: @Sendable (String) -> Bool
        let continuation: CheckedContinuation<String, any Error>
    }

    private let lock = NSLock()
    private var lines: [String] = []
    private var waiters: [Waiter] = []
    private var nextWaiter = 0
    private var isAtEnd = false

    init(_ handle: FileHandle) {
        Thread.detachNewThread { [self] in
            var rest = Data()
            while true {
                let data = handle.availableData
                if data.isEmpty { break }
                rest += data
                guard let last = rest.lastIndex(of: 0x0A) else { continue }
                let whole = rest[rest.startIndex...last]
                for line in whole.split(separator: 0x0A) { append(String(decoding: line, as: UTF8.self)) }
                rest = Data(rest[(last + 1)...])
            }
            if !rest.isEmpty { append(String(decoding: rest, as: UTF8.self)) }
            // Closed explicitly: Foundation would keep it open after the process has ended.
            try? handle.close()
            end()
        }
    }

    /// All lines so far.
    package var all: [String] { lock.withLock { lines } }

    /// The first matching line, among those from index `from` on or those to come.
    ///
    /// - Throws: `Missing` if none comes within `longestWait`, or the process ends first.
    package func first(
        from: Int = 0, where matches: @escaping @Sendable (String) -> Bool
    ) async throws -> String {
        try await withCheckedThrowingContinuation { continuation in
            lock.lock()
            defer { lock.unlock() }
            if let line = lines.dropFirst(from).first(where: matches) { return continuation.resume(returning: line) }
            if isAtEnd { return continuation.resume(throwing: missing("the process ended")) }
            let id = nextWaiter
            nextWaiter += 1
            waiters.append(Waiter(id: id, from: from, matches: matches, continuation: continuation))
            let end = DispatchTime.now() + Double(longestWait)
            DispatchQueue.global().asyncAfter(deadline: end) { [weak self] in self?.giveUp(id) }
        }
    }

    /// The first line that contains `text`.
    package func first(from: Int = 0, containing text: String) async throws -> String {
        try await first(from: from) { $0.contains(text) }
    }

    private func missing(_ why: String) -> Missing {
        Missing(description: "\(why) without the line; there was:\n\(lines.suffix(50).joined(separator: "\n"))")
    }

    private func append(_ line: String) {
        lock.withLock {
            lines.append(line)
            waiters.removeAll { waiter in
                guard lines.count > waiter.from, waiter.matches(line) else { return false }
                waiter.continuation.resume(returning: line)
                return true
            }
        }
    }

    private func end() {
        lock.withLock {
            isAtEnd = true
            for waiter in waiters { waiter.continuation.resume(throwing: missing("the process ended")) }
            waiters = []
        }
    }

    private func giveUp(_ id: Int) {
        lock.withLock {
            guard let index = waiters.firstIndex(where: { $0.id == id }) else { return }
            waiters.remove(at: index).continuation.resume(throwing: missing("\(longestWait) s passed"))
        }
    }
}
