import DNSWire
import Lookup
import Platform
import Upstream

/// Gives the replies of a tape, those to one question in their order; the last is repeated.
struct CassettePlayer: Sendable {
    private struct Track: Sendable {
        var replies: [CassetteReply]
        /// The reply that is next, and how often it was given already.
        var next = 0
        var given = 0
    }

    private let file: Place
    private var tracks: [FetchKey: Track]
    private(set) var unknownQuestions = UnknownQuestions()

    init(_ tape: CassetteTape, of path: String) {
        file = Place(path: path)
        tracks = tape.replies.mapValues { Track(replies: $0) }
    }

    mutating func next(_ key: FetchKey) -> RecordedReply? {
        guard let reply = peek(key), let found = track(for: key), var track = tracks[found] else { return nil }
        track.given += 1
        if reply.hasSuccessor, track.given >= track.replies[track.next].times {
            track.next += 1
            track.given = 0
        }
        tracks[found] = track
        return reply
    }

    func peek(_ key: FetchKey) -> RecordedReply? {
        guard let found = track(for: key), let track = tracks[found] else { return nil }
        let reply = track.replies[track.next]
        let isLast = track.next == track.replies.count - 1
        return RecordedReply(
            message: reply.isSilence
                ? RecordedMessage.failure(found, .noReachableAuthority, "no upstream answered in time") : reply.message,
            place: file.line(reply.line), microseconds: reply.microseconds, delay: 0, hasSuccessor: !isLast)
    }

    /// The question itself, or else the same with other flags: a server without DNSSEC would answer so.
    private func track(for key: FetchKey) -> FetchKey? {
        if tracks[key] != nil { return key }
        for (dnssecOK, checkingDisabled) in [
            (key.dnssecOK, !key.checkingDisabled), (!key.dnssecOK, key.checkingDisabled),
            (!key.dnssecOK, !key.checkingDisabled),
        ] {
            let other = key.with(dnssecOK: dnssecOK, checkingDisabled: checkingDisabled)
            if tracks[other] != nil { return other }
        }
        return nil
    }

    /// The reply to a question that the tape does not have.
    mutating func unknown(_ key: FetchKey) -> RecordedReply {
        unknownQuestions.note(key)
        return RecordedReply(
            message: RecordedMessage.failure(key, .notReady, "not in the cassette"), place: file, microseconds: 0,
            delay: 0, hasSuccessor: true)
    }

    /// The file has been written anew.
    mutating func move(to tape: CassetteTape) {
        for key in tracks.keys {
            guard let moved = tape.replies[key], moved.count >= tracks[key]!.replies.count else { continue }
            for index in tracks[key]!.replies.indices { tracks[key]!.replies[index].line = moved[index].line }
        }
    }
}

/// The questions that a cassette has no reply to.
struct UnknownQuestions: Sendable {
    private var counts: [FetchKey: Int] = [:]
    /// Lookups of further questions.
    private var left = 0

    private static let most = 1000
    /// In reports at the end.
    private static let mostShown = 50

    mutating func note(_ key: FetchKey) {
        if counts.count < Self.most || counts[key] != nil { counts[key, default: 0] += 1 } else { left += 1 }
    }

    /// By name and type.
    var listed: [(question: String, count: Int)] {
        counts.map { ("\(Name(uncheckedWire: $0.key.name)) \($0.key.type)", $0.value) }.sorted { $0.0 < $1.0 }
    }

    func lines(_ path: String) -> [String] {
        let listed = listed
        guard !listed.isEmpty else { return [] }
        let count = listed.count == 1 ? "one question is" : "\(listed.count) questions are"
        var lines = ["\(path): \(count) not in the cassette; to add replies, use --unknown record"]
        for (question, count) in listed.prefix(Self.mostShown) {
            lines.append("  \(question)\(count > 1 ? ", \(count) times" : "")")
        }
        let rest = listed.count - Self.mostShown
        if rest > 0 || left > 0 { lines.append("  and more") }
        return lines
    }
}
