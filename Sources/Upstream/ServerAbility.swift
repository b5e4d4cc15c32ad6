/// What a server can take, learnt from its answers and its silences. Times in microseconds.
///
/// Everything learnt is doubted: copies of later questions try again what did not work.
struct ServerAbility: Sendable {
    /// The most EDNS that it answers.
    private(set) var level = EDNSLevel.full
    /// It has answered with an OPT record.
    private(set) var speaksEDNS = false
    private var nextProbe: UInt64 = 0
    private var probeInterval: UInt64 = 0
    /// It has changed the case of a question's letters: random case is not used until this time.
    private var foldsCaseUntil: UInt64 = 0
    /// Questions whose case it has changed since it last kept one.
    private var foldedQuestions = 0
    /// It has answered over TCP what it did not answer over UDP: TCP is used until this time.
    private var streamUntil: UInt64 = 0

    private static let longestProbe: UInt64 = 600_000_000
    private static let believedFolds = 3
    private static let period: UInt64 = 600_000_000
    /// A server that has said so is believed longer than one whose silence may be a lost datagram.
    private static let afterError: UInt64 = 60_000_000
    private static let afterSilence: UInt64 = 1_000_000

    func keepsCase(_ now: UInt64) -> Bool { now >= foldsCaseUntil }

    func prefersStream(_ now: UInt64) -> Bool { now < streamUntil }

    /// Whether to send a copy of a question at a higher level, to see whether it is answered now.
    func isProbeDue(_ now: UInt64) -> Bool { level < .full && now >= nextProbe }

    mutating func noteProbe(_ now: UInt64) {
        probeInterval = min(max(probeInterval * 2, Self.afterSilence), Self.longestProbe)
        nextProbe = now + probeInterval
    }

    /// It has answered a query at `level`. If that is lower than the known one, higher ones have failed: with an error
    /// or by silence.
    mutating func noteAnswer(at level: EDNSLevel, hasOPT: Bool, afterError: Bool, _ now: UInt64) {
        if hasOPT { speaksEDNS = true }
        guard level != self.level else { return }
        if level > self.level {
            // An answer without OPT does not show that OPT was read.
            guard hasOPT else { return }
            probeInterval = 0
            nextProbe = now
        } else {
            // After a silence the next question tries again at once: what was lost may have been one datagram.
            probeInterval = afterError ? Self.afterError : 0
            nextProbe = now + probeInterval
        }
        self.level = level
    }

    mutating func noteKeptCase() { foldedQuestions = 0 }

    /// One such reply may be a forgery, which must not switch the protection off.
    mutating func noteFoldedCase(_ now: UInt64) {
        foldedQuestions += 1
        guard foldedQuestions >= Self.believedFolds else { return }
        foldedQuestions = 0
        foldsCaseUntil = now + Self.period
    }

    mutating func noteAnsweredOnlyOverStream(_ now: UInt64) { streamUntil = now + Self.period }

    mutating func noteDatagram() { streamUntil = 0 }
}
