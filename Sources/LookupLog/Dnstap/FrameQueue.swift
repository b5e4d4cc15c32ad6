internal import DNSWire
internal import Platform
internal import Synchronization

/// Frames on their way from the log thread to one destination's thread, bounded.
///
/// The log thread copies under a lock that the other holds for a swap only, and never waits for a write.
final class FrameQueue: Sendable {
    /// Bytes that wait here; as many may be in the hands of the destination's thread.
    static let maximumSize = 4 << 20

    private struct State: ~Copyable {
        var frames = LineBuffer()
        /// Lost and not yet told.
        var lost: UInt64 = 0
        var isReopening = false
        var isStopping = false
    }

    /// What the destination's thread is told beside the frames.
    struct Orders {
        /// Frames lost since the last look.
        var lost: UInt64
        var isReopening: Bool
        var isStopping: Bool
    }

    /// Wakes the destination's thread when there is something new.
    let signal: WakeSignal
    private let state = Mutex(State())
    private let allLost = Atomic<UInt64>(0)

    init() throws(SystemError) { signal = try WakeSignal() }

    /// Frames that this destination did not get, since the start.
    var lost: UInt64 { allLost.load(ordering: .relaxed) }

    // MARK: The log thread's side

    /// Takes as many whole frames as there is room for; the rest is counted as lost.
    func append(_ frames: UnsafeRawBufferPointer) {
        state.withLock { state in
            let wasEmpty = state.frames.count == 0
            let room = Self.maximumSize - state.frames.count
            let fits = frames.count <= room ? frames.count : FrameBuffer.wholeFrames(frames, atMost: room)
            state.frames.append(UnsafeRawBufferPointer(rebasing: frames[..<fits]))
            if fits < frames.count {
                note(lost: FrameBuffer.count(UnsafeRawBufferPointer(rebasing: frames[fits...])), &state)
            }
            if wasEmpty { signal.wake() }
        }
    }

    /// Counts frames that were lost on their way here or behind it.
    func note(lost count: UInt64) { state.withLock { note(lost: count, &$0) } }

    private func note(lost count: UInt64, _ state: inout State) {
        // Once, until it has been seen: somebody is to say so.
        if state.lost == 0, count > 0 { signal.wake() }
        state.lost += count
        allLost.add(count, ordering: .relaxed)
    }

    func reopen() {
        state.withLock { $0.isReopening = true }
        signal.wake()
    }

    func stop() {
        state.withLock { $0.isStopping = true }
        signal.wake()
    }

    // MARK: The destination's side

    /// What there is to do; the frames move into `buffer` when it is empty.
    func take(_ buffer: inout FrameBuffer) -> Orders {
        hush()
        return state.withLock { state in
            if buffer.isEmpty { buffer.exchange(&state.frames) }
            let orders = Orders(lost: state.lost, isReopening: state.isReopening, isStopping: state.isStopping)
            state.lost = 0
            state.isReopening = false
            return orders
        }
    }

    /// What it was woken for so far is known; `take` comes later.
    func hush() { _ = signal.consume() }

    var isEmpty: Bool { state.withLock { $0.frames.count == 0 } }
    var isStopping: Bool { state.withLock { $0.isStopping } }
}

/// Whole frames that leave at the front, and how far the first of them has left.
struct FrameBuffer: ~Copyable {
    private var frames = LineBuffer()
    /// Bytes of the first frame that were written already.
    private(set) var begun = 0

    var isEmpty: Bool { frames.count == 0 }

    /// What is to be written next.
    var unwritten: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: frames.bytes[begun...]) }

    /// How many frames there are, begun ones included.
    var count: UInt64 { Self.count(frames.bytes) }

    /// Takes what is in `other`, which gets the empty buffer.
    mutating func exchange(_ other: inout LineBuffer) { swap(&frames, &other) }

    /// So many bytes were written; returns how many frames are out by it.
    mutating func wrote(_ count: Int) -> UInt64 {
        begun += count
        var whole: UInt64 = 0
        while let length = Self.length(frames.bytes, at: 0), length <= begun {
            frames.removeFirst(length)
            begun -= length
            whole += 1
        }
        return whole
    }

    /// The first frame is to be written from its start again.
    mutating func rewind() { begun = 0 }

    /// Bytes of `unwritten` that belong to its first frame.
    var restOfFirst: Int { (Self.length(frames.bytes, at: 0) ?? begun) - begun }

    /// Bytes of `unwritten` up to the end of the last frame within `most`.
    func wholeFrames(atMost most: Int) -> Int { max(Self.wholeFrames(frames.bytes, atMost: most + begun) - begun, 0) }

    // MARK: Frames in memory

    static func wholeFrames(_ bytes: UnsafeRawBufferPointer, atMost most: Int) -> Int {
        var end = 0
        while let length = length(bytes, at: end), end + length <= most { end += length }
        return end
    }

    static func count(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var cursor = 0
        var count: UInt64 = 0
        while let length = length(bytes, at: cursor) {
            cursor += length
            count += 1
        }
        return count
    }

    /// Bytes of the frame at `offset` with its length in front; nil at the end.
    private static func length(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int? {
        guard offset + FrameStream.lengthSize <= bytes.count, let base = bytes.baseAddress else { return nil }
        let length = FrameStream.lengthSize + Int(base.readUInt32(offset))
        return offset + length <= bytes.count ? length : nil
    }
}
