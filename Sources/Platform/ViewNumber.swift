import Synchronization

/// The names of views as numbers, which records and waiting queries can hold. A name keeps its number for the life of
/// the process.
public enum ViewNumber {
    private struct Names {
        var all: [String] = [""]
        var numbers: [String: UInt16] = ["": 0]
    }

    private static let names = Mutex(Names())

    /// The number of a view; 0 for the empty name, which is that of the queries of no view. Nil when there have been more
    /// names than numbers.
    public static func of(_ name: String) -> UInt16? {
        names.withLock { names in
            if let number = names.numbers[name] { return number }
            guard let number = UInt16(exactly: names.all.count) else { return nil }
            names.all.append(name)
            names.numbers[name] = number
            return number
        }
    }

    public static func name(_ number: UInt16) -> String {
        names.withLock { Int(number) < $0.all.count ? $0.all[Int(number)] : "" }
    }
}
