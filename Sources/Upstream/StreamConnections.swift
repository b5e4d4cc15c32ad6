import Platform

/// The connections to each server: which one takes the next query, and when one is closed. Times in microseconds.
///
/// A server has one connection, for many queries at once; a second one if the first is silent while an answer is late;
/// and one for each query if it closes them after each answer.
/// - RFC: 7766 6.2.
struct StreamConnections {
    struct Connection {
        var server: Int
        var transport: UpstreamTransport
        var isOpen = true
        /// Ready for queries: connected, and past the TLS handshake.
        var isReady = false
        /// What it took until then.
        var handshake: UInt32 = 0
        /// Takes no more queries.
        var isRetired = false
        /// It has been silent while an answer was late: others are preferred until something arrives.
        var isDoubted = false
        var outstanding = 0
        var answers = 0
        var opened: UInt64
        /// When it last carried something.
        var used: UInt64
        /// Since when nothing has arrived although something is outstanding.
        var silentSince: UInt64
    }

    private struct Habits {
        /// The server closes a connection after an answer, with others outstanding: one query for each until then.
        var oneEachUntil: UInt64 = 0
        /// Connections that ended so since one took more. A single one may have been cut for another reason.
        var cuts = 0
        /// How long the last two connections were idle when the server closed them.
        var idles: (UInt64, UInt64) = (.max, .max)
        /// When that was last seen; after an hour it is doubted.
        var idleSeen: UInt64 = 0
    }

    private(set) var connections: [Connection] = []
    /// In the order in which they were opened.
    private var open: [Int] = []
    private var free: [Int] = []
    /// Free once the outbox, which may still refer to them, is empty.
    private var closed: [Int] = []
    private var habits: [Habits]
    private(set) var status: [UpstreamConnectionStatus]
    private let settings: ForwardSettings

    private static let silence: UInt64 = 3_000_000
    private static let idlePeriod: UInt64 = 3_600_000_000
    private static let oneEachPeriod: UInt64 = 600_000_000
    private static let believedCuts = 2
    /// Connections to one server.
    private static let most = 3
    private static let mostOneEach = 32
    /// More on one connection would leave too few unused IDs.
    private static let maximumOutstanding = 8_192

    init(_ settings: ForwardSettings) {
        self.settings = settings
        habits = Array(repeating: Habits(), count: settings.servers.count)
        status = Array(repeating: UpstreamConnectionStatus(), count: settings.servers.count)
    }

    subscript(_ number: Int) -> Connection { connections[number] }

    /// A connection for the next query to `server`: the newest, or a new one. Not one that `isAvoided`, unless there are
    /// too many.
    mutating func take(
        for server: Int, over transport: UpstreamTransport, now: UInt64, _ actions: inout [ForwardCore.Action],
        isAvoided: (Int) -> Bool
    ) -> Int {
        let oneEach = now < habits[server].oneEachUntil
        let all = open.filter { connections[$0].server == server && connections[$0].transport == transport }
        let usable = all.last {
            let connection = connections[$0]
            return !connection.isRetired && !connection.isDoubted
                && connection.outstanding < (oneEach ? 1 : Self.maximumOutstanding)
                && !isAvoided($0)
        }
        let number: Int
        if let usable {
            number = usable
        } else if all.count < (oneEach ? Self.mostOneEach : Self.most) {
            number = add(server, transport, now, &actions)
        } else {
            // Answers from one that is doubted are less likely than late.
            let sure = all.filter { !connections[$0].isDoubted && !connections[$0].isRetired }
            let best = sure.isEmpty ? all : sure
            number = best.min { connections[$0].outstanding < connections[$1].outstanding } ?? all[0]
        }
        if connections[number].outstanding == 0 { connections[number].silentSince = now }
        if oneEach { connections[number].isRetired = true }
        connections[number].outstanding += 1
        connections[number].used = now
        status[server].queries += 1
        return number
    }

    private mutating func add(
        _ server: Int, _ transport: UpstreamTransport, _ now: UInt64, _ actions: inout [ForwardCore.Action]
    ) -> Int {
        let connection = Connection(server: server, transport: transport, opened: now, used: now, silentSince: now)
        let number: Int
        if let reused = free.popLast() {
            number = reused
            connections[number] = connection
        } else {
            number = connections.count
            connections.append(connection)
        }
        open.append(number)
        status[server].opened += 1
        actions.append(.open(channel(number), server: server))
        return number
    }

    func channel(_ number: Int) -> UpstreamChannel { .stream(number, over: connections[number].transport) }

    mutating func noteReady(_ number: Int, handshake: UInt32, _ now: UInt64) {
        guard connections[number].isOpen else { return }
        connections[number].isReady = true
        connections[number].handshake = handshake
        connections[number].silentSince = now
        status[connections[number].server].handshake = UInt64(handshake)
    }

    /// A message has arrived on it.
    mutating func noteArrival(_ number: Int, _ now: UInt64) {
        connections[number].isReady = true
        connections[number].isDoubted = false
        connections[number].answers += 1
        connections[number].silentSince = now
        connections[number].used = now
    }

    /// A query on it is no longer outstanding.
    mutating func release(_ number: Int, _ now: UInt64, _ actions: inout [ForwardCore.Action]) {
        connections[number].outstanding -= 1
        connections[number].used = now
        let isUseless = connections[number].isRetired || connections[number].isDoubted
        if isUseless, connections[number].outstanding == 0 { close(number, &actions) }
    }

    /// An answer is late on it, and nothing else has come since the question.
    mutating func doubt(_ number: Int) { connections[number].isDoubted = true }

    /// The server answers what is outstanding, and takes no more queries on it.
    mutating func retire(_ number: Int, _ actions: inout [ForwardCore.Action]) {
        guard number < connections.count, connections[number].isOpen else { return }
        connections[number].isRetired = true
        if connections[number].outstanding == 0 { close(number, &actions) }
    }

    /// How long the last connection to `server` took to be ready, in microseconds; 0: there was none.
    func handshake(with server: Int) -> UInt64 { status[server].handshake }

    /// Takes it out of use after a failure or an idle time; returns what it was. Nil if it is closed already.
    mutating func end(_ number: Int, now: UInt64, _ actions: inout [ForwardCore.Action]) -> Connection? {
        guard number < connections.count, connections[number].isOpen else { return nil }
        let connection = connections[number]
        close(number, &actions)
        return connection
    }

    /// The server, not we, has ended `connection`.
    mutating func noteEnd(of connection: Connection, _ fault: UpstreamFault, _ now: UInt64) {
        // A connection that has fallen silent says nothing of the server's habits.
        guard fault == .closed else { return }
        if connection.outstanding > 0 {
            if (1...2).contains(connection.answers)
                || connection.outstanding > 1 && connection.isReady && connection.answers == 0
            {
                habits[connection.server].cuts += 1
                if habits[connection.server].cuts >= Self.believedCuts {
                    habits[connection.server].oneEachUntil = now + Self.oneEachPeriod
                }
            } else {
                habits[connection.server].cuts = 0
            }
        } else if connection.answers > 0 {
            habits[connection.server].idles = (now - min(connection.used, now), habits[connection.server].idles.0)
            habits[connection.server].idleSeen = now
        }
    }

    private mutating func close(_ number: Int, _ actions: inout [ForwardCore.Action]) {
        guard connections[number].isOpen else { return }
        connections[number].isOpen = false
        connections[number].isRetired = true
        open.removeAll { $0 == number }
        actions.append(.close(channel(number)))
        closed.append(number)
    }

    /// Opens a connection ahead of the next query.
    mutating func reopen(
        to server: Int, over transport: UpstreamTransport, now: UInt64, _ actions: inout [ForwardCore.Action]
    ) {
        let isOpen = open.contains { connections[$0].server == server && !connections[$0].isRetired }
        if !isOpen { _ = add(server, transport, now, &actions) }
    }

    /// Connections that should have been closed by `now`: idle, or dead without notice.
    func due(_ now: UInt64) -> [Int] { open.filter { now >= deadline($0) } }

    var nextDeadline: UInt64 { open.reduce(.max) { min($0, deadline($1)) } }

    private func deadline(_ number: Int) -> UInt64 {
        let connection = connections[number]
        if connection.outstanding > 0 { return connection.silentSince + Self.silence }
        let habit = habits[connection.server]
        // A little before the server closes it, so that no query meets the closing.
        let isDoubted = connection.used > habit.idleSeen + Self.idlePeriod
        let learnt = isDoubted ? .max : max(habit.idles.0, habit.idles.1)
        let most = connection.transport == .tcp ? settings.streamIdle : settings.encryptedIdle
        return connection.used + min(most, learnt == .max ? .max : max(learnt / 10 * 9, 500_000))
    }

    /// The outbox has been sent.
    mutating func endBurst() {
        free += closed
        closed.removeAll(keepingCapacity: true)
    }

    /// For display.
    func status(of server: Int, _ now: UInt64) -> UpstreamConnectionStatus {
        var status = status[server]
        for number in open where connections[number].server == server {
            status.open += 1
            status.age = max(status.age, now - min(connections[number].opened, now))
        }
        return status
    }
}
