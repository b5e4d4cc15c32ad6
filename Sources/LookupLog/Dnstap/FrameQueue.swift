internal import DNSWire
internal import Platform
internal import Synchronization

/// A bounded queue of frames from the log thread to one destination's thread.
///
/// The log thread copies under a lock, which the other thread holds only for a swap: it never waits for a write.
final class FrameQueue: Sendable {
    /// The most bytes in the queue; the destination's thread may hold as many again.
    static let maximumSize = 4 << 20

    private struct State: ~Copyable {
        var frames = LineBuffer()
        /// Lost frames not yet reported.
        var lost: UInt64 = 0
        var isReopening = false
        var isStopping = false
    }

    /// What the destination's thread must do, besides writing frames.
    struct Orders {
        /// Frames lost since the last `take`.
        var lost: UInt64
        var isReopening: Bool
        var isStopping: Bool
    }

    /// Wakes the destination's thread when a frame or an order is new.
    let signal: WakeSignal
    private let state = Mutex(State())
    private let allLost = Atomic<UInt64>(0)

    init() throws(SystemError) { signal = try WakeSignal() }

    /// Frames that this destination lost since the start.
    var lost: UInt64 { allLost.load(ordering: .relaxed) }

    // MARK: The log thread's side

    /// Appends as many whole frames as fit; the rest is counted as lost.
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

    /// Counts frames lost before or after this queue.
    func note(lost count: UInt64) { state.withLock { note(lost: count, &$0) } }

    private func note(lost count: UInt64, _ state: inout State) {
        // Only for the first loss since the last `take`: the writer then reports it.
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

    /// Returns the orders; if `buffer` is empty, moves the frames into it.
    func take(_ buffer: inout FrameBuffer) -> Orders {
        clearSignal()
        return state.withLock { state in
            if buffer.isEmpty { buffer.exchange(&state.frames) }
            let orders = Orders(lost: state.lost, isReopening: state.isReopening, isStopping: state.isStopping)
            state.lost = 0
            state.isReopening = false
            return orders
        }
    }

    /// Resets the signal without taking anything; `take` follows later.
    func clearSignal() { _ = signal.consume() }

    var isEmpty: Bool { state.withLock { $0.frames.count == 0 } }
    var isStopping: Bool { state.withLock { $0.isStopping } }
}

/// Whole frames that are written from the front; tracks how much of the first is written.
struct FrameBuffer: ~Copyable {
    private var frames = LineBuffer()
    /// Bytes of the first frame already written.
    private(set) var begun = 0

    var isEmpty: Bool { frames.count == 0 }

    /// The bytes to write next.
    var unwritten: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: frames.bytes[begun...]) }

    /// The number of frames, including a partly written one.
    var count: UInt64 { Self.count(frames.bytes) }

    /// Takes the contents of `other`, which gets the empty buffer.
    mutating func exchange(_ other: inout LineBuffer) { swap(&frames, &other) }

    /// Removes `count` written bytes; returns how many frames were completed.
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

    /// Restarts the first frame from its beginning.
    mutating func rewind() { begun = 0 }

    /// The bytes of `unwritten` that belong to the first frame.
    var restOfFirst: Int { (Self.length(frames.bytes, at: 0) ?? begun) - begun }

    /// The bytes of `unwritten` up to the last frame end within `most`.
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

    /// The length of the frame at `offset`, including its prefix; nil at the end.
    private static func length(_ bytes: UnsafeRawBufferPointer, at offset: Int) -> Int? {
        guard offset + FrameStream.lengthSize <= bytes.count, let base = bytes.baseAddress else { return nil }
        let length = FrameStream.lengthSize + Int(base.readUInt32(offset))
        return offset + length <= bytes.count ? length : nil
    }
}
