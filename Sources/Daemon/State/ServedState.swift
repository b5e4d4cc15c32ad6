import Synchronization
import Transports

/// The current state of the service. The serving threads answer from `store`, its compiled form.
final class ServedState: Sendable {
    let store: ServedDataStore
    private let loaded: Mutex<LoadedState>
    private let cookie = ServerCookie()
    private let wakeReaders = Mutex<@Sendable () -> Void>({})

    init(_ loaded: LoadedState) {
        self.loaded = Mutex(loaded)
        store = ServedDataStore(loaded.servedData(cookie))
    }

    /// `wake` makes all serving threads look at `store`, even idle ones.
    func onChange(_ wake: @escaping @Sendable () -> Void) { wakeReaders.withLock { $0 = wake } }

    /// Reads the state; `store` does not change meanwhile.
    func withLock<R: Sendable>(_ read: (LoadedState) -> R) -> R { loaded.withLock { read($0) } }

    /// Changes the state and what is served from it, one caller at a time. If `change` throws, nothing has changed.
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
