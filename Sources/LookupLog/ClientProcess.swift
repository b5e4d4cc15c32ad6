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

    /// Those that ask, and those that are read back from where they were kept: a month of these must not push those out.
    private static let asking = Mutex(ProcessNumbers())
    private static let kept = Mutex(ProcessNumbers())
    /// Tells the numbers of those that were kept.
    private static let keptMark: UInt32 = 1 << 31

    /// The number of a process in records; never 0.
    static func number(of process: ClientProcess, isKept: Bool = false) -> UInt32 {
        isKept ? kept.withLock { $0.number(of: process) } | keptMark : asking.withLock { $0.number(of: process) }
    }

    static func at(_ number: UInt32) -> ClientProcess? {
        guard number > 0 else { return nil }
        return number & keptMark == 0
            ? asking.withLock { $0.at(number) } : kept.withLock { $0.at(number & ~keptMark) }
    }
}

/// Processes by numbers, so many at once: after that the table starts anew, and what is older loses its name.
struct ProcessNumbers {
    private var all: [ClientProcess] = []
    private var numbers: [ClientProcess: UInt32] = [:]
    /// The number in front of the first of `all`.
    private var base: UInt32 = 0

    static let most = 1 << 16

    mutating func number(of process: ClientProcess) -> UInt32 {
        if let number = numbers[process] { return number }
        if all.count == Self.most {
            // Numbers are not used again soon: what is older must not get another's name.
            let next = base + UInt32(Self.most)
            self = ProcessNumbers()
            base = next > 1 << 30 ? 0 : next
        }
        all.append(process)
        let number = base + UInt32(all.count)
        numbers[process] = number
        return number
    }

    func at(_ number: UInt32) -> ClientProcess? {
        let index = Int(number) - Int(base) - 1
        return all.indices.contains(index) ? all[index] : nil
    }
}
