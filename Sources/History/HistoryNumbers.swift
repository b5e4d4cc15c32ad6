internal import DNSWire
internal import GRDB
import Lookup
internal import LookupLog
import Platform

/// The properties of a lookup that recur often and are searched together.
struct Facet: Hashable {
    var source: SourceKind
    var type: RecordType
    var recordClass: RecordClass
    /// Nil: there was no response.
    var code: ResponseCode?
    var kind: AnswerKind
    var transport: Transport
    /// There was a readable question.
    var asked: Bool
    /// A private address for a public name.
    var isPrivate: Bool

    /// Added to the raw value of `kind`, so that files of earlier versions need no new column.
    private static let privateMark: UInt8 = 128
    fileprivate var storedKind: UInt8 { kind.rawValue | (isPrivate ? Self.privateMark : 0) }

    init(_ record: LookupRecord) {
        source = record.source
        type = record.type
        recordClass = record.recordClass
        code = record.responseCode
        kind = record.answerKind
        transport = record.transport
        asked = record.hasQuestion
        isPrivate = record.privateAnswer != .none
    }

    /// Reads the columns from `first` on: source, type, class, code, kind, transport, asked.
    init(_ row: SQLStatement, _ first: Int32) {
        source = row.value(first).flatMap(SourceKind.init(rawValue:)) ?? .none
        type = RecordType(rawValue: row.value(first + 1) ?? 0)
        recordClass = RecordClass(rawValue: row.value(first + 2) ?? 0)
        code = row.value(first + 3).map(ResponseCode.init(rawValue:))
        let stored: UInt8 = row.value(first + 4) ?? 0
        isPrivate = stored & Self.privateMark != 0
        kind = Self.kind(AnswerKind(rawValue: stored & ~Self.privateMark) ?? .answer, type, code)
        transport = row.value(first + 5).flatMap(Transport.init(rawValue:)) ?? .udp
        asked = row.integer(first + 6) != 0
    }

    /// A stored kind, made consistent: a file may contain anything, and earlier versions had no `.transfer`.
    private static func kind(_ kept: AnswerKind, _ type: RecordType, _ code: ResponseCode?) -> AnswerKind {
        guard let code else { return .dropped }
        if kept == .answer, type == .axfr, code == .noError { return .transfer }
        return kept == .dropped ? .answer : kept
    }

    static let columns = "facet.source, facet.type, facet.class, facet.code, facet.kind, facet.transport, facet.asked"
}

/// Numbers names, clients, facets, files and servers: tables of texts, with recent entries cached in memory.
struct HistoryNumbers {
    private struct ClientKey: Hashable {
        var address: SocketAddress
        var process: ClientProcess?
    }

    /// A recently used name: its hash and its number.
    private struct KnownName {
        var hash: UInt64 = 0
        var number: UInt32 = 0
    }

    private var facets: [Facet: UInt32] = [:]
    private var clients: [ClientKey: UInt32] = [:]
    private var files: [UInt32: Int64] = [:]
    private var upstreams: [String: Int64] = [:]
    /// By the low bits of the hash.
    private var names = [KnownName](repeating: KnownName(), count: 1 << 15)
    private var lookupName = NameBox()

    private let findFacet, addFacet, findClient, addClient, findName, addName: SQLStatement
    private let findFile, addFile, findUpstream, addUpstream, last: SQLStatement

    /// The most entries cached in memory.
    private static let most = 4096

    /// Boxes a noncopyable value.
    private final class NameBox { var name = LookupName() }

    init(_ database: Database) throws {
        findFacet = try SQLStatement(
            database,
            "SELECT id FROM facet WHERE (source, type, class, code, kind, transport, asked) = (?,?,?,?,?,?,?)")
        addFacet = try SQLStatement(
            database,
            """
            INSERT INTO facet (source, type, class, code, kind, transport, asked, source_word, type_word, class_word,
            rcode_word, transport_word) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
            """)
        findClient = try SQLStatement(database, "SELECT id FROM client WHERE (address, pid, command) = (?,?,?)")
        addClient = try SQLStatement(database, "INSERT INTO client (address, pid, command) VALUES (?,?,?)")
        findName = try SQLStatement(database, "SELECT id FROM name WHERE reversed = ?")
        addName = try SQLStatement(database, "INSERT INTO name (reversed, text) VALUES (?,?)")
        findFile = try SQLStatement(database, "SELECT id FROM file WHERE path = ?")
        addFile = try SQLStatement(database, "INSERT INTO file (path) VALUES (?)")
        findUpstream = try SQLStatement(database, "SELECT id FROM upstream WHERE address = ?")
        addUpstream = try SQLStatement(database, "INSERT INTO upstream (address) VALUES (?)")
        last = try SQLStatement(database, "SELECT last_insert_rowid()")
    }

    mutating func forget() {
        facets = [:]
        clients = [:]
        for index in names.indices { names[index] = KnownName() }
    }

    /// The number that `find` returns, or else that of the row inserted by `add`.
    private func number(_ find: SQLStatement, _ add: SQLStatement, _ bindAdd: () -> Void) throws -> Int64 {
        defer { find.reset() }
        if try find.step() { return find.integer(0) }
        bindAdd()
        try add.run()
        defer { last.reset() }
        return try last.step() ? last.integer(0) : 0
    }

    // MARK: Numbers

    mutating func facet(_ facet: Facet) throws -> UInt32 {
        if let number = facets[facet] { return number }
        func bind(_ statement: SQLStatement) {
            statement.bind(facet.source.rawValue, 1)
            statement.bind(facet.type.rawValue, 2)
            statement.bind(facet.recordClass.rawValue, 3)
            statement.bind(facet.code.map { Int64($0.rawValue) } ?? -1, 4)
            statement.bind(facet.storedKind, 5)
            statement.bind(facet.transport.rawValue, 6)
            statement.bind(facet.asked ? 1 : 0 as Int64, 7)
        }
        bind(findFacet)
        let found = try number(findFacet, addFacet) {
            bind(addFacet)
            addFacet.bind(facet.source.description, 8)
            for index in [9, 10, 11] as [Int32] { addFacet.bindNull(index) }
            if facet.asked {
                addFacet.bind(facet.type.description, 9)
                addFacet.bind(facet.recordClass.description, 10)
            }
            if let code = facet.code { addFacet.bind(facet.kind == .noData ? "NODATA" : code.description, 11) }
            addFacet.bind(facet.transport.description, 12)
        }
        let number = UInt32(truncatingIfNeeded: found)
        if facets.count >= Self.most { facets = [:] }
        facets[facet] = number
        return number
    }

    mutating func client(_ record: LookupRecord) throws -> UInt32 {
        let key = ClientKey(address: record.client.withPort(0), process: record.process)
        if let number = clients[key] { return number }
        let address = key.address.ip
        func bind(_ statement: SQLStatement) {
            statement.bind(address, 1)
            statement.bind(key.process?.pid ?? 0, 2)
            statement.bind(key.process?.command ?? "", 3)
        }
        bind(findClient)
        let number = UInt32(truncatingIfNeeded: try number(findClient, addClient) { bind(addClient) })
        if clients.count >= Self.most { clients = [:] }
        clients[key] = number
        return number
    }

    /// 0 if there is no valid name.
    mutating func name(in message: UnsafeRawBufferPointer, at offset: Int) throws -> UInt32 {
        guard lookupName.name.assign(message: message, at: offset) > 0 else { return 0 }
        let hash = lookupName.name.hash
        let slot = Int(truncatingIfNeeded: hash & UInt64(names.count - 1))
        if names[slot].hash == hash, names[slot].number != 0 { return names[slot].number }
        let name = lookupName.name.name
        let reversed = Self.reversed(name)
        findName.bind(reversed, 1)
        let found = try number(findName, addName) {
            addName.bind(reversed, 1)
            addName.bind(name.description, 2)
        }
        let number = UInt32(truncatingIfNeeded: found)
        names[slot] = KnownName(hash: hash, number: number)
        return number
    }

    mutating func file(_ place: Place) throws -> Int64 {
        if let number = files[place.file] { return number }
        let path = place.path
        findFile.bind(path, 1)
        let number = try number(findFile, addFile) { addFile.bind(path, 1) }
        files[place.file] = number
        return number
    }

    mutating func upstream(_ address: String) throws -> Int64 {
        if let number = upstreams[address] { return number }
        findUpstream.bind(address, 1)
        let number = try number(findUpstream, addUpstream) { addUpstream.bind(address, 1) }
        upstreams[address] = number
        return number
    }

    // MARK: Forms

    /// The labels of a lower-case name from right to left, each followed by a dot: the names below it start with this.
    static func reversed(_ name: Name) -> String {
        var text: [UInt8] = []
        for label in name.labels.reversed() {
            for byte in label { ASCII.appendEscaped(byte, to: &text) }
            text.append(UInt8(ascii: "."))
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// A hop in bytes, big-endian: its name's offset (2), source (1), number of its file (4), line (4). After the hops,
    /// what rules did, in the same form: the actions, `fault`, file and line.
    static let hopLength = 11
    static let fault: UInt8 = 0xFF
    /// The view: its name in place of a file.
    static let view: UInt8 = 0xFE

    mutating func hops(_ record: LookupRecord) throws -> [UInt8] {
        var bytes: [UInt8] = []
        func append(_ value: UInt32, _ count: UInt32) {
            for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * (count - 1 - index)))) }
        }
        for index in 0..<record.hopCount {
            let hop = record.hop(index)
            append(UInt32(hop.nameOffset), 2)
            append(UInt32(hop.source.rawValue), 1)
            append(hop.place.isNowhere ? 0 : UInt32(truncatingIfNeeded: try file(hop.place)), 4)
            append(hop.place.line, 4)
        }
        if !record.view.isEmpty {
            append(0, 2)
            append(UInt32(Self.view), 1)
            append(UInt32(truncatingIfNeeded: try file(Place(path: record.view))), 4)
            append(0, 4)
        }
        for index in 0..<record.faultCount {
            let entry = record.fault(index)
            append(UInt32(entry.actions.rawValue), 2)
            append(UInt32(Self.fault), 1)
            append(entry.place.isNowhere ? 0 : UInt32(truncatingIfNeeded: try file(entry.place)), 4)
            append(entry.place.line, 4)
        }
        return bytes
    }
}
