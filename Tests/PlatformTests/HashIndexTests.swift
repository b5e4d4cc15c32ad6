import Platform
import Testing

@Suite("The index of numbers by hashes")
struct HashIndexTests {
    @Test(
        "finds all that were added and not removed, in any number of slots, with many equal tags",
        arguments: [1, 2, 15, 16, 1000])
    func random(slots: Int) {
        var index = HashIndex(slots: slots)
        defer { index.deallocate() }
        var model: [UInt32: UInt32] = [:]
        for step in 0..<20_000 as Range<UInt32> {
            // Few different tags, so that probes run into each other; the numbers tell them apart.
            let tag = UInt32.random(in: 0..<40) &* 0x0666_6667
            if Bool.random(), let (number, itsTag) = model.randomElement() {
                index.remove(itsTag, number)
                model[number] = nil
                #expect(index.find(itsTag) { $0 == number } == nil)
            } else if model.count < 300 {
                if model.count + 1 >= index.capacity { index = index.resized(slots: index.capacity * 3 / 2 + 1) }
                index.insert(tag, step)
                model[step] = tag
            }
            if step.isMultiple(of: 500) {
                for (number, tag) in model { #expect(index.find(tag) { $0 == number } == number) }
            }
        }
        index = index.resized(slots: model.count + 1)
        for (number, tag) in model { #expect(index.find(tag) { $0 == number } == number) }
        #expect(index.find(1) { _ in true } == nil)
    }

    @Test("holds the extremes of tags and numbers")
    func extremes() {
        let index = HashIndex(slots: 3)
        defer { index.deallocate() }
        index.insert(.max, .max - 1)
        index.insert(0, 0)
        #expect(index.find(.max) { _ in true } == UInt32.max - 1)
        #expect(index.find(0) { _ in true } == 0)
        #expect(HashIndex.number(in: index.start(.max).pointee, .max) == UInt32.max - 1)
        #expect(HashIndex.number(in: 0, 0) == nil)
    }

    @Test("is empty at first, also without slots", arguments: [0, 1])
    func empty(slots: Int) {
        let index = HashIndex(slots: slots)
        #expect(index.find(7) { _ in true } == nil)
        index.deallocate()
    }
}
