/// What is known of one upstream server from its answers and its silence. Times in microseconds.
///
/// A silence is about the question until several different questions stay without an answer.
struct ServerHealth: Sendable {
    /// Smoothed RTT and its mean deviation (RFC 6298 2); 0 before the first.
    private(set) var smoothedRTT: UInt64 = 0
    private(set) var deviation: UInt64 = 0
    /// Questions that were late since the last sign of life.
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
    /// When it was last asked to see how it is doing.
    private(set) var probedAt: UInt64 = 0
    private var probeInterval = Self.firstProbe
    private(set) var everHeard = false
    /// New questions sent to it although it is down, since `turnsSince`.
    private var turns = 0
    private var turnsSince: UInt64 = 0

    static let firstProbe: UInt64 = 1_000_000
    static let longestProbe: UInt64 = 30_000_000
    private static let downAfterLates = 3
    private static let downAfterRefusals = 2
    private static let downAfterSilence: UInt64 = 1_000_000
    /// How many new questions a server that is down gets in each second if there is no other.
    static let turnsPerSecond = 64
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

    /// Takes one of the turns of a server that is down; false if this second's are used up.
    mutating func takeTurn(_ now: UInt64) -> Bool {
        if now >= nextTurns {
            turnsSince = now
            turns = 0
        }
        guard turns < Self.turnsPerSecond else { return false }
        turns += 1
        return true
    }

    /// When there are turns again.
    var nextTurns: UInt64 { turnsSince + 1_000_000 }

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

    /// A query sent at `sent` is unanswered for so long that another server is asked. If it is a repeat, its question
    /// has been counted.
    mutating func noteLate(sent: UInt64, isRepeat: Bool, _ now: UInt64) {
        // The server has answered something since, so it is up: only this datagram was lost, or the question is slow.
        guard silentSince != 0, silentSince <= max(sent, 1) else { return }
        if !isRepeat { lates += 1 }
        if lates == 1, !isRepeat {
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
