import Synchronization

/// Holds the newest snapshot for serving threads: one atomic read per batch, a lock only after a reload.
package final class ServedDataStore: Sendable {
    package struct Snapshot {
        package var data: ServedData
        package var generation: UInt64
    }

    private let number = Atomic<UInt64>(0)
    private let data: Mutex<ServedData>

    package init(_ data: ServedData) {
        self.data = Mutex(data)
    }

    /// Changes with each `replace`.
    var generation: UInt64 { number.load(ordering: .acquiring) }

    package func current() -> Snapshot {
        data.withLock { Snapshot(data: $0, generation: number.load(ordering: .acquiring)) }
    }

    /// Queries being answered keep their snapshot.
    package func replace(_ new: ServedData) {
        data.withLock {
            $0 = new
            number.add(1, ordering: .releasing)
        }
    }
}
