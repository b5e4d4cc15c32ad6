import Synchronization
import Transports

/// What the service runs with now. The serving threads answer from `store`, which has the same, compiled.
final class ServedState: Sendable {
    let store: ServedDataStore
    private let loaded: Mutex<LoadedState>
    private let cookie = ServerCookie()
    private let wakeReaders = Mutex<@Sendable () -> Void>({})

    init(_ loaded: LoadedState) {
        self.loaded = Mutex(loaded)
        store = ServedDataStore(loaded.servedData(cookie))
    }

    /// `wake` has all serving threads look at `store`, also those that have nothing to do.
    func onChange(_ wake: @escaping @Sendable () -> Void) { wakeReaders.withLock { $0 = wake } }

    /// Reads; `store` does not change meanwhile.
    func withLock<R: Sendable>(_ read: (LoadedState) -> R) -> R { loaded.withLock { read($0) } }

    /// Changes the state and what is served by it, one caller after the other. Where `change` throws it has changed
    /// nothing.
    func change<R: Sendable, Problem: Error>(
        _ change: (inout LoadedState) throws(Problem) -> R
    ) throws(Problem) -> R {
        let result = loaded.withLock { loaded -> Result<R, Problem> in
            do throws(Problem) {
                let result = try change(&loaded)
                store.replace(loaded.servedData(cookie))
                return .success(result)
            } catch {
                return .failure(error)
            }
        }
        let value = try result.get()
        wakeReaders.withLock { $0 }()
        return value
    }
}
