import Foundation

/// A generator with a fixed seed, so that every run asks the same questions.
/// - Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014 (SplitMix64).
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64 = 53

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// The servers' data and the questions, written once per run.
final class DataFiles {
    let folder: String

    init(folder: String) { self.folder = folder }

    static let apex = "zone.example."

    /// Ten hosts per site, as in typical overrides and block lists.
    static func host(_ index: Int) -> String { "host\(index).site\(index / 10).example." }
    static func owner(_ index: Int) -> String { "host\(index).\(apex)" }
    static func address(_ index: Int) -> String { "10.\(index >> 16 & 255).\(index >> 8 & 255).\(index & 255)" }

    /// The hosts share 1000 addresses. Beyond 100,000 lines all have 0.0.0.0, as in block lists, which are the files of
    /// that length. (dnsmasq takes minutes for a million distinct addresses.)
    static func hostAddress(_ index: Int, of count: Int) -> String {
        count > 100_000 ? "0.0.0.0" : address(index % 1000)
    }

    // MARK: Data

    /// A certificate for encrypted transports, and its key.
    func certificate() throws -> (chain: String, key: String) {
        let (chain, key) = (folder + "/server.pem", folder + "/server.key")
        if access(chain, F_OK) == 0 { return (chain, key) }
        let words = [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out",
            chain,
        ]
        let child = try Child(words, cores: 0b11, output: folder + "/openssl")
        guard child.wait() == 0 else { throw Failure("openssl made no certificate:\n\(child.lastLines)") }
        return (chain, key)
    }

    /// A hosts file with `count` lines.
    func hosts(_ count: Int) throws -> String {
        try file("hosts-\(count)") { add in
            for index in 0..<count { add("\(Self.hostAddress(index, of: count)) \(Self.host(index).dropLast())\n") }
        }
    }

    /// The same as local data of unbound.
    func localData(_ count: Int) throws -> String {
        try file("local-data-\(count)") { add in
            // One zone for all names: otherwise each would get its own, which costs memory.
            add("local-zone: \"example.\" static\n")
            for index in 0..<count {
                add("local-data: \"\(Self.host(index)) 0 IN A \(Self.hostAddress(index, of: count))\"\n")
            }
        }
    }

    /// A zone with `count` names, and a wildcard for every hundred.
    func zone(_ count: Int) throws -> String {
        try file("zone-\(count)") { add in
            add("$ORIGIN \(Self.apex)\n$TTL 300\n@ IN SOA ns hostmaster 1 7200 900 1209600 300\n@ IN NS ns\n")
            add("ns IN A 127.0.0.1\n")
            for index in 0..<count { add("host\(index) IN A \(Self.address(index))\n") }
            for index in 0..<(count / 100) { add("*.wild\(index) IN A \(Self.address(index))\n") }
        }
    }

    /// The number of records in `zone`.
    static func recordCount(_ count: Int) -> Int { 3 + count + count / 100 }

    // MARK: Questions: a name and a type per line, in random order

    func hostQuestions(_ count: Int) throws -> String {
        try file("ask-hosts-\(count)") { add in
            var random = SplitMix()
            for _ in 0..<Self.questions { add("\(Self.host(.random(in: 0..<count, using: &random))) A\n") }
        }
    }

    /// The share of questions to a zone that have an answer.
    static let existingShare = 0.85

    /// Seven of ten names exist; of the rest, half match a wildcard and half don't exist.
    func zoneQuestions(_ count: Int) throws -> String {
        try file("ask-zone-\(count)") { add in
            var random = SplitMix()
            for _ in 0..<Self.questions {
                let index = Int.random(in: 0..<count, using: &random)
                switch Int.random(in: 0..<20, using: &random) {
                case 0..<14: add("\(Self.owner(index)) A\n")
                case 14..<17: add("name\(index).wild\(index % (count / 100)).\(Self.apex) A\n")
                default: add("none\(index).\(Self.apex) A\n")
                }
            }
        }
    }

    /// Names known upstream, each repeated often.
    func remoteQuestions(_ count: Int) throws -> String {
        try file("ask-remote-\(count)") { add in
            var random = SplitMix()
            for index in (0..<count).shuffled(using: &random) { add("www.remote\(index).example. A\n") }
        }
    }

    private static let questions = 100_000

    private func file(_ name: String, _ write: ((String) -> Void) -> Void) throws -> String {
        let path = "\(folder)/\(name)"
        if access(path, R_OK) == 0 { return path }
        guard let file = fopen(path, "w") else { throw Failure("\(path): \(String(cString: strerror(errno)))") }
        write { fputs($0, file) }
        let isWritten = ferror(file) == 0
        guard fclose(file) == 0, isWritten else { throw Failure("\(path) can't be written: is the disk full?") }
        return path
    }
}
