import CLinux
import Glibc
import Synchronization

/// Wakes one thread that waits for descriptors: to look around, or to end.
public final class WakeSignal: Sendable {
    public let descriptor: Int32
    private let ends = Atomic<Bool>(false)

    public init() throws(SystemError) {
        descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard descriptor >= 0 else { throw SystemError("eventfd") }
    }

    deinit { close(descriptor) }

    public func wake() {
        var one: UInt64 = 1
        _ = write(descriptor, &one, 8)
    }

    public func end() {
        ends.store(true, ordering: .releasing)
        wake()
    }

    /// Whether the thread is to end.
    public var hasEnded: Bool { ends.load(ordering: .acquiring) }

    /// Waits until woken, `milliseconds` at most (-1: for ever).
    public func wait(milliseconds: Int32 = -1) {
        var wait = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        _ = poll(&wait, 1, milliseconds)
    }

    /// The descriptor is quiet until the next `wake`; whether the thread is to end.
    public func consume() -> Bool {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
        return hasEnded
    }
}
