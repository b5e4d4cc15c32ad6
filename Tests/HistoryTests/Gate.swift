import Foundation
import Synchronization
import TestSupport

/// Blocks searches until it is opened.
final class Gate: Sendable {
    private let isOpen = Atomic(false)
    private let begun = Atomic(0)

    var count: Int { begun.load(ordering: .acquiring) }

    func open() { isOpen.store(true, ordering: .releasing) }

    /// Blocks the searching thread.
    func pass() {
        begun.add(1, ordering: .releasing)
        while !isOpen.load(ordering: .acquiring) { usleep(1000) }
    }

    func wait(for count: Int) async throws {
        try await eventually("\(count) searches run") { self.begun.load(ordering: .acquiring) == count }
    }
}
