import Resolution
import Synchronization

/// Where serving threads find the newest snapshot: one atomic read per batch, a lock only after a reload.
final class LocalDataStore: Sendable {
    struct Snapshot {
        var data: LocalData
        var generation: UInt64
    }

    private let number = Atomic<UInt64>(0)
    private let data: Mutex<LocalData>

    init(_ data: LocalData) {
        self.data = Mutex(data)
    }

    /// Changes with each `replace`.
    var generation: UInt64 { number.load(ordering: .acquiring) }

    func current() -> Snapshot {
        data.withLock { Snapshot(data: $0, generation: number.load(ordering: .acquiring)) }
    }

    /// Queries that are being answered keep the snapshot they have.
    func replace(_ new: LocalData) {
        data.withLock {
            $0 = new
            number.add(1, ordering: .releasing)
        }
    }
}
