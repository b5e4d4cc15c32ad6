internal import Synchronization

/// A process of this machine that asked.
public struct ClientProcess: Sendable, Hashable, CustomStringConvertible {
    public var pid: Int32
    /// The command's name: bytes from another program, at most 15 (proc(5), comm).
    public var command: String

    public init(pid: Int32, command: String) {
        self.pid = pid
        self.command = command
    }

    public var description: String { "\(command)[\(pid)]" }

    // MARK: Numbers, which records carry

    private struct Known {
        var all: [ClientProcess] = []
        var numbers: [ClientProcess: UInt32] = [:]
        /// The number in front of the first of `all`.
        var base: UInt32 = 0
    }

    private static let known = Mutex(Known())
    /// So many are held; after that the table starts anew, and what is older loses its name.
    private static let most = 1 << 16

    /// The number of a process in records; never 0.
    static func number(of process: ClientProcess) -> UInt32 {
        known.withLock { known in
            if let number = known.numbers[process] { return number }
            if known.all.count == most {
                // Numbers are not used again soon: what is older must not get another's name.
                let base = known.base &+ UInt32(most)
                known = Known(base: base > UInt32.max / 2 ? 0 : base)
            }
            known.all.append(process)
            let number = known.base + UInt32(known.all.count)
            known.numbers[process] = number
            return number
        }
    }

    static func at(_ number: UInt32) -> ClientProcess? {
        guard number > 0 else { return nil }
        return known.withLock { known in
            let index = Int(number) - Int(known.base) - 1
            return known.all.indices.contains(index) ? known.all[index] : nil
        }
    }
}
