internal import Synchronization

/// A process of this machine that sent a query.
public struct ClientProcess: Sendable, Hashable, CustomStringConvertible {
    public var pid: Int32
    /// The command name: bytes that another program chose, at most 15 (proc(5), comm).
    public var command: String

    public init(pid: Int32, command: String) {
        self.pid = pid
        self.command = command
    }

    public var description: String { "\(command)[\(pid)]" }

    // MARK: Numbers used in records

    /// Separate tables for processes that ask now and for those read back from the history: reading a month of history
    /// must not push out current ones.
    private static let asking = Mutex(ProcessNumbers())
    private static let kept = Mutex(ProcessNumbers())
    /// Marks numbers of the second table.
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

/// Numbers processes, up to a limit; then it starts again, and older processes lose their names.
struct ProcessNumbers {
    private var all: [ClientProcess] = []
    private var numbers: [ClientProcess: UInt32] = [:]
    /// One less than the number of the first process in `all`.
    private var base: UInt32 = 0

    static let most = 1 << 16

    mutating func number(of process: ClientProcess) -> UInt32 {
        if let number = numbers[process] { return number }
        if all.count == Self.most {
            // Numbers are not reused soon: an old record must not show another process's name.
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
