import CLinux
import Glibc
import Platform

/// An epoll: reports ready descriptors by the tags they were added with.
struct EventQueue: ~Copyable {
    let descriptor: Int32
    private let events: UnsafeMutablePointer<epoll_event>

    private static let capacity = 64

    init() throws(SystemError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("epoll_create1") }
        events = .allocate(capacity: Self.capacity)
        events.initialize(repeating: epoll_event(), count: Self.capacity)
    }

    deinit {
        close(descriptor)
        events.deallocate()
    }

    /// Waits `milliseconds` at most (-1: for ever); returns the number of events.
    func wait(milliseconds: Int32) -> Int {
        max(0, Int(epoll_wait(descriptor, events, Int32(Self.capacity), milliseconds)))
    }

    subscript(index: Int) -> (tag: UInt64, bits: UInt32) { (events[index].data.u64, events[index].events) }

    /// Watches `target` for the events in `bits`, reported as `tag`. False if the system refuses.
    static func watch(_ target: Int32, for bits: UInt32, as tag: UInt64, on queue: Int32, isKnown: Bool = false) -> Bool
    {
        var event = epoll_event()
        event.events = bits
        event.data.u64 = tag
        return epoll_ctl(queue, isKnown ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, target, &event) == 0
    }
}
