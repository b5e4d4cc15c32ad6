/// When each flight is due: a heap that knows each flight's position, so that a flight has one entry at most, and none
/// once it has ended.
struct WakeQueue {
    private var heap: [(time: UInt64, flight: Int32)] = []
    /// By flight; -1 if it is not in the heap.
    private var positions: [Int32] = []

    var first: (time: UInt64, flight: Int)? { heap.first.map { ($0.time, Int($0.flight)) } }

    mutating func set(_ flight: Int, _ time: UInt64) {
        while positions.count <= flight { positions.append(-1) }
        var position = Int(positions[flight])
        if position < 0 {
            position = heap.count
            heap.append((time, Int32(truncatingIfNeeded: flight)))
            positions[flight] = Int32(truncatingIfNeeded: position)
        } else {
            heap[position].time = time
        }
        rise(position)
        sink(Int(positions[flight]))
    }

    mutating func remove(_ flight: Int) {
        guard flight < positions.count, positions[flight] >= 0 else { return }
        let position = Int(positions[flight])
        positions[flight] = -1
        let last = heap.removeLast()
        guard position < heap.count else { return }
        place(last, position)
        rise(position)
        sink(Int(positions[Int(last.flight)]))
    }

    private mutating func place(_ entry: (time: UInt64, flight: Int32), _ position: Int) {
        heap[position] = entry
        positions[Int(entry.flight)] = Int32(truncatingIfNeeded: position)
    }

    private mutating func rise(_ start: Int) {
        var position = start
        let entry = heap[position]
        while position > 0 {
            let parent = (position - 1) / 2
            guard heap[parent].time > entry.time else { break }
            place(heap[parent], position)
            position = parent
        }
        place(entry, position)
    }

    private mutating func sink(_ start: Int) {
        var position = start
        let entry = heap[position]
        while true {
            var child = 2 * position + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1].time < heap[child].time { child += 1 }
            guard heap[child].time < entry.time else { break }
            place(heap[child], position)
            position = child
        }
        place(entry, position)
    }
}
