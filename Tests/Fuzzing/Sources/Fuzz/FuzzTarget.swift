/// Code that reads untrusted bytes, and the rules that hold for any input.
struct FuzzTarget: Sendable {
    let name: String
    /// The longest input, in bytes.
    var longest = 4096
    /// Seeds, besides the files in `Seeds`.
    var seeds: @Sendable () throws -> [[UInt8]] = { [] }
    /// Words with a meaning, which libFuzzer inserts.
    var words: @Sendable () -> [[UInt8]] = { [] }
    /// Prepares the trial of inputs; the result takes one input at a time, and ends the process if a rule is broken.
    let prepare: @Sendable () -> (UnsafeRawBufferPointer) -> Void
}

/// Ends the process if a rule is broken: libFuzzer then keeps the input.
func expect(
    _ holds: Bool, _ rule: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
) {
    if !holds { broken(rule(), file: file, line: line) }
}

func broken(_ rule: String, file: StaticString = #fileID, line: UInt = #line) -> Never {
    fatalError(rule.debugDescription, file: file, line: line)
}

/// Reads an input from the front: bytes that choose how a target uses the rest.
struct InputReader {
    private(set) var rest: UnsafeRawBufferPointer

    init(_ input: UnsafeRawBufferPointer) { rest = input }

    /// 0 at the end.
    mutating func byte() -> UInt8 {
        guard let first = rest.first else { return 0 }
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst())
        return first
    }

    mutating func bytes(_ count: Int) -> UnsafeRawBufferPointer {
        let taken = UnsafeRawBufferPointer(rebasing: rest.prefix(count))
        rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
        return taken
    }
}

func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

func hex(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { String(UInt16($0) + 0x100, radix: 16).dropFirst() }.joined()
}
