import DNSWire
import FoundationEssentials
import History
import LookupLog
import Platform

/// Lookups that a filter has found, from lines of the JSON log that come in pieces.
struct FoundLookups {
    /// How many lookups have no line, because they were not kept.
    fileprivate(set) var missing = 0
    private let filter: String
    private var lookups: [LookupExpectation.Lookup] = []
    /// The beginning of a line whose end has not come yet.
    private var rest: [UInt8] = []
    private var problem: String?

    /// More than any test makes; a bound for memory.
    private static let most = 200_000

    init(_ filter: String) { self.filter = filter }

    mutating func take(_ bytes: [UInt8]) {
        guard problem == nil else { return }
        rest += bytes
        guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { return }
        let decoder = JSONDecoder()
        for line in rest[..<end].split(separator: UInt8(ascii: "\n")) {
            if let lookup = try? decoder.decode(LookupExpectation.Lookup.self, from: Data(line)) {
                lookups.append(lookup)
            } else if let loss = try? decoder.decode(Loss.self, from: Data(line)) {
                missing += loss.lost
            } else {
                problem = "the daemon is of another version: its lookups can't be read"
            }
        }
        rest.removeSubrange(...end)
        if lookups.count > Self.most {
            problem = "more than \(Self.most) lookups match \(quoted(filter.utf8)); narrow the filter, or --since"
        }
    }

    func all() throws(ServiceFailure) -> [LookupExpectation.Lookup] {
        if let problem { throw ServiceFailure(.problem, problem) }
        return lookups
    }

    /// A line about missing lookups.
    struct Loss: Decodable {
        var lost: Int
    }

    /// Whether a line of the JSON log is about missing lookups.
    static func isLoss(_ line: ArraySlice<UInt8>) -> Bool {
        (try? JSONDecoder().decode(Loss.self, from: Data(line))) != nil
    }
}

/// Lookups in a history's file.
struct HistoryLookups {
    private let store: HistoryStore

    init(_ path: String) throws(ServiceFailure) {
        do { store = try HistoryStore(reading: path) } catch { throw ServiceFailure(.problem, "\(error)") }
    }

    func find(_ filter: String, _ found: inout FoundLookups) throws(ServiceFailure) {
        var formatter = LookupFormatter(.json)
        do {
            try store.forEachPage(try LookupFilter(words: filter)) { page in
                formatter.setUpstreams(page.upstreams)
                for lookup in page.lookups { formatter.append(lookup) }
                found.take(formatter.take())
                found.missing += page.losses.reduce(0) { $0 + $1.count }
                return true
            }
        } catch { throw ServiceFailure(.problem, "\(error)") }
    }
}
