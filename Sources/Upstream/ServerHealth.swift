/// What is known of one upstream server from its answers and its silence. Times in microseconds.
struct ServerHealth: Sendable {
    /// Smoothed RTT and its mean deviation (RFC 6298 2); 0 before the first.
    private(set) var smoothedRTT: UInt64 = 0
    private(set) var deviation: UInt64 = 0
    /// Queries that were late since the last sign of life.
    private(set) var lates = 0
    /// Network errors since the last sign of life.
    private(set) var refusals = 0
    private(set) var isDown = false
    /// It answers, but unusably (REFUSED, NOTIMP, malformed): others are preferred.
    private(set) var faults = 0
    /// When the first query was sent that no sign of life has followed; 0 if there is none.
    private var silentSince: UInt64 = 0
    /// When it was last up again after being down.
    private var backSince: UInt64 = 0
    private var probedAt: UInt64 = 0
    private var probeInterval = Self.firstProbe
    private(set) var everHeard = false
    /// It answered FORMERR to EDNS: plain DNS until this time (RFC 6891 7).
    private var plainUntil: UInt64 = 0

    static let firstProbe: UInt64 = 1_000_000
    static let longestProbe: UInt64 = 30_000_000
    /// How often a server is tried if there is no other.
    static let lastResortProbe: UInt64 = 500_000
    private static let downAfterLates = 3
    private static let downAfterRefusals = 2
    private static let downAfterSilence: UInt64 = 1_000_000
    /// A shorter silence may be a change of networks: waiting then serves the client better than failing.
    private static let failFastAfter: UInt64 = 3_000_000
    private static let plainPeriod: UInt64 = 600_000_000
    private static let unmeasuredRTT: UInt64 = 400_000

    /// How long to wait before the next server is asked too.
    var retransmitTimeout: UInt64 {
        smoothedRTT == 0 ? Self.unmeasuredRTT : min(max(smoothedRTT + 4 * deviation, 50_000), 1_000_000)
    }

    /// Lower is better.
    var score: UInt64 {
        (smoothedRTT == 0 ? Self.unmeasuredRTT : smoothedRTT) + UInt64(min(lates + faults + refusals, 10)) * 400_000
    }

    /// Whether to copy a query to it, whose answer is not needed, to see how it is doing.
    func isProbeDue(_ now: UInt64) -> Bool { probedAt == 0 || now >= probedAt + probeInterval }

    /// When it may be tried although it is down, if there is no other: at any time while its silence is new, then one
    /// query at a time.
    func lastResortAt(_ now: UInt64) -> UInt64 {
        if refusals == 0, silentSince == 0 || now < silentSince + Self.failFastAfter { return now }
        return probedAt + min(probeInterval, Self.lastResortProbe)
    }

    func usesEDNS(_ now: UInt64) -> Bool {
        // Old middleboxes drop EDNS queries silently.
        now >= plainUntil && (everHeard || lates < 2)
    }

    mutating func noteSent(_ now: UInt64) {
        if silentSince == 0 { silentSince = max(now, 1) }
        // Until it answers or is down, probes become less frequent.
        if isDown || isProbeDue(now) {
            if probedAt != 0 { probeInterval = min(probeInterval * 2, Self.longestProbe) }
            probedAt = max(now, 1)
        }
    }

    /// A message that matches a query arrived.
    mutating func noteArrival(_ now: UInt64) {
        probeInterval = Self.longestProbe
        if isDown {
            // How long a queued answer took says how long the server was away, not how fast it is.
            smoothedRTT = 0
            deviation = 0
            backSince = now
            probeInterval = Self.firstProbe
        }
        lates = 0
        refusals = 0
        silentSince = 0
        isDown = false
        everHeard = true
        probedAt = max(now, 1)
    }

    mutating func noteRTT(sent: UInt64, _ now: UInt64) {
        faults = 0
        guard sent >= backSince else { return }
        let rtt = max(now - min(sent, now), 1)
        if smoothedRTT == 0 {
            smoothedRTT = rtt
            deviation = rtt / 2
        } else {
            let distance = rtt > smoothedRTT ? rtt - smoothedRTT : smoothedRTT - rtt
            deviation = (3 * deviation + distance) / 4
            smoothedRTT = max((7 * smoothedRTT + rtt) / 8, 1)
        }
    }

    mutating func noteFault() { faults = min(faults + 1, 5) }

    mutating func notePlainOnly(_ now: UInt64) { plainUntil = now + Self.plainPeriod }

    /// A query sent at `sent` is unanswered for so long that another server is asked.
    mutating func noteLate(sent: UInt64, _ now: UInt64) {
        // The server has answered something since, so it is up: only this datagram was lost or is slow.
        guard silentSince != 0, silentSince <= max(sent, 1) else { return }
        lates += 1
        if lates == 1 {
            // It now ranks behind others; probes find out whether the delay was temporary.
            probedAt = max(now, 1)
            probeInterval = Self.firstProbe
        }
        if lates >= Self.downAfterLates, now >= silentSince + Self.downAfterSilence { goDown(now) }
    }

    /// The network reports it as unreachable.
    mutating func noteRefusal(_ now: UInt64) {
        refusals += 1
        if refusals >= Self.downAfterRefusals { goDown(now) }
    }

    private mutating func goDown(_ now: UInt64) {
        guard !isDown else { return }
        isDown = true
        probedAt = max(now, 1)
        probeInterval = Self.firstProbe
    }
}

/// The health of one upstream server, for display.
public struct UpstreamStatus: Sendable, Hashable {
    public enum State: String, Sendable, Hashable {
        /// No sign of life yet.
        case untried
        case up
        /// Not asked while another is up; probed now and then.
        case down
    }

    public let server: UpstreamServer
    public let state: State
    /// Smoothed round trip in microseconds; 0 before the first answer.
    public let smoothedRTT: UInt64
    /// Unanswered queries since the last sign of life.
    public let failures: Int
    /// Since start.
    public let queries: UInt64
    public let answers: UInt64
    public let timeouts: UInt64
    /// Unusable answers, including SERVFAIL and REFUSED, and network errors.
    public let errors: UInt64
}

/// The cookies for one server: ours, and the last one it sent.
///
/// - RFC: 7873 4 (client cookie 8 bytes, server cookie 8 to 32).
struct CookieJar: Sendable {
    let client: UInt64
    private(set) var server: [UInt8] = []

    init(client: UInt64) {
        self.client = client
    }

    /// The server has sent one: its next responses have one, too.
    var isExpected: Bool { !server.isEmpty }

    mutating func forget() { server = [] }

    /// False if the option does not echo our cookie: the message is then no response to us.
    mutating func take(_ option: UnsafeRawBufferPointer) -> Bool {
        guard option.count >= 8, let base = option.baseAddress, base.loadUnaligned(as: UInt64.self) == client
        else { return false }
        let rest = option.count - 8
        guard rest == 0 || (8...32).contains(rest) else { return false }
        if rest > 0, !server.elementsEqual(option[8...]) { server = Array(option[8...]) }
        return true
    }
}
