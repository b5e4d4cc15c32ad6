// Repeats one operation and does nothing else, for an instruction counter:
//
//   Instructions KIND COUNT
//
// The difference of two counts is the operation's cost, without preparation; see `instructions.sh`.

import CFixedSeed
import Glibc

let arguments = CommandLine.arguments
guard arguments.count == 3, let operation = Operation(rawValue: arguments[1]), let count = Int(arguments[2]), count >= 0
else {
    print("usage: Instructions \(Operation.allCases.map(\.rawValue).joined(separator: "|")) COUNT")
    exit(64)
}
do {
    let answered = try operation.run(count)
    guard answered == count else {
        print("Instructions: \(operation.rawValue): \(answered) of \(count) came out as they should")
        exit(1)
    }
} catch {
    print("Instructions: \(operation.rawValue): \(error)")
    exit(1)
}
