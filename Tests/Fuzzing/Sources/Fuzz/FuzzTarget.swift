/// Something that reads bytes from outside, and the rules that hold whatever they are.
struct FuzzTarget: Sendable {
    let name: String
    /// The longest input, in bytes.
    var longest = 4096
    /// What to begin with, beside the files in `Seeds`.
    var seeds: @Sendable () throws -> [[UInt8]] = { [] }
    /// What means something to the reader: libFuzzer puts it in.
    var words: @Sendable () -> [[UInt8]] = { [] }
    /// Makes what inputs are tried on; the result takes one after the other, and ends the process where a rule is broken.
    let prepare: @Sendable () -> (UnsafeRawBufferPointer) -> Void
}

/// Ends the process when a rule is broken: libFuzzer then keeps the input.
func expect(
    _ holds: Bool, _ rule: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
) {
    if !holds { broken(rule(), file: file, line: line) }
}

func broken(_ rule: String, file: StaticString = #fileID, line: UInt = #line) -> Never {
    fatalError(rule.debugDescription, file: file, line: line)
}

/// Reads an input from its front: what a target takes to choose how it goes about the rest.
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
