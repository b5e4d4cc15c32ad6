import Testing

@testable import Upstream

@Suite("The index of questions in flight")
struct NumberIndexTests {
    @Test("finds exactly what was inserted and not removed, even with equal or similar keys")
    func likeADictionary() {
        var random = SystemRandomNumberGenerator()
        let seed = UInt64.random(in: 0...UInt64.max, using: &random)
        var generator = SplitMix(state: seed)
        var index = NumberIndex()
        // Several numbers per key: few keys, so that they collide.
        var model: [UInt64: Set<Int>] = [:]
        for step in 0..<20_000 {
            let key = generator.next() % 300
            let number = Int(generator.next() % 4)
            if model[key]?.contains(number) == true {
                index.remove(key, number)
                model[key]?.remove(number)
            } else {
                index.insert(key, number)
                model[key, default: []].insert(number)
            }
            let probe = generator.next() % 300
            for number in 0..<4 {
                let found = index.find(probe) { $0 == number } != nil
                #expect(found == (model[probe]?.contains(number) == true), "seed \(seed), step \(step)")
            }
        }
        #expect(index.count == model.values.reduce(0) { $0 + $1.count })
    }
}
