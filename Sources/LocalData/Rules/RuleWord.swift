import DNSWire
import Lookup
import Platform

/// The words of a rule after its types: actions and conditions.
package enum RuleWord {
    typealias Meaning = @Sendable (inout Rule, String?) throws(RuleReader.WrongRule) -> Void

    /// By word. `ttl` is the reader's: what it means depends on the other words.
    static let all: [String: Meaning] = [
        // Faults
        "delay": { rule, value throws(RuleReader.WrongRule) in try delay(&rule, value) },
        "drop": fault(.drop), "truncate": fault(.truncate), "shuffle": fault(.shuffle),
        "wrong-id": fault(.wrongID), "garbage": fault(.garbage), "close": fault(.close),
        "keep": { rule, value throws(RuleReader.WrongRule) in
            rule.faults.actions.insert(.keep)
            rule.faults.kept = UInt16(try number("keep", value, 1...65_535))
        },
        "only": { rule, value throws(RuleReader.WrongRule) in
            switch value {
            case "4": rule.faults.actions.insert(.onlyIPv4)
            case "6": rule.faults.actions.insert(.onlyIPv6)
            default: throw wrong("only", value, "only=4 or only=6")
            }
        },
        "strip": { rule, value throws(RuleReader.WrongRule) in
            for part in (value ?? "").split(separator: ",", omittingEmptySubsequences: false) {
                switch part {
                case "https": rule.faults.actions.insert(.stripHTTPS)
                case "ech": rule.faults.actions.insert(.stripECH)
                case "hints": rule.faults.actions.insert(.stripHints)
                default: throw wrong("strip", value, "strip=https, strip=ech or strip=hints")
                }
            }
        },
        "slow": { rule, value throws(RuleReader.WrongRule) in
            rule.faults.actions.insert(.slow)
            rule.faults.rate = try rate(value)
        },
        "ttl": { _, _ throws(RuleReader.WrongRule) in throw wrong("ttl", nil, "ttl=5s") },
        // Errors
        "servfail": error(.serverFailure), "refused": error(.refused), "formerr": error(.formatError),
        "notimp": error(.notImplemented),
        // Answers
        "nxdomain": answer(.nxDomain), "nodata": answer(.noData), "block": answer(.block),
        "answer": { rule, value throws(RuleReader.WrongRule) in try addresses(&rule, value) },
        "alias": { rule, value throws(RuleReader.WrongRule) in
            guard let value else { throw wrong("alias", nil, "alias=NAME") }
            let target: Name
            do throws(TypedNameError) { target = try Name(typed: value) } catch {
                throw RuleReader.WrongRule(error.description)
            }
            try set(&rule, .alias(target.canonicalWire))
        },
        // Conditions
        "rate": { rule, value throws(RuleReader.WrongRule) in rule.condition.share = try share(value) },
        "seed": { rule, value throws(RuleReader.WrongRule) in rule.seed = try number("seed", value, 0...UInt64.max) },
        "first": { rule, value throws(RuleReader.WrongRule) in
            rule.condition.first = UInt32(try number("first", value, 1...1_000_000_000))
        },
        "after": { rule, value throws(RuleReader.WrongRule) in
            rule.condition.after = UInt32(try number("after", value, 0...1_000_000_000))
        },
        "every": { rule, value throws(RuleReader.WrongRule) in
            rule.condition.every = UInt32(try number("every", value, 1...1_000_000_000))
        },
        "between": { rule, value throws(RuleReader.WrongRule) in rule.condition.between = try between(value) },
        "client": { rule, value throws(RuleReader.WrongRule) in try client(&rule, value) },
        "view": { rule, value throws(RuleReader.WrongRule) in
            guard let value, !value.isEmpty else { throw wrong("view", value, "view=NAME") }
            rule.condition.view = value
        },
        "transport": { rule, value throws(RuleReader.WrongRule) in
            for part in (value ?? "").split(separator: ",", omittingEmptySubsequences: false) {
                guard let transport = Transport.allCases.first(where: { $0.description == part }) else {
                    throw wrong("transport", value, "transport=udp, tcp, dot or doh, or several with commas")
                }
                rule.condition.transports.append(transport)
            }
        },
    ]

    private static func wrong(_ word: String, _ value: String?, _ mend: String) -> RuleReader.WrongRule {
        RuleReader.WrongRule("\(word)=\(value.map { quoted($0.utf8) } ?? "") has no such value; write \(mend)")
    }

    private static func bare(_ value: String?) throws(RuleReader.WrongRule) {
        guard let value else { return }
        throw RuleReader.WrongRule("\(quoted(value.utf8)) stands behind a word that takes no value; remove it")
    }

    private static func fault(_ action: Faults.Actions) -> Meaning {
        { rule, value throws(RuleReader.WrongRule) in
            try bare(value)
            rule.faults.actions.insert(action)
        }
    }

    private static func error(_ code: ResponseCode) -> Meaning {
        { rule, value throws(RuleReader.WrongRule) in
            try bare(value)
            guard rule.error == nil, rule.answer == nil else { throw RuleReader.WrongRule(twoAnswers) }
            rule.error = code
        }
    }

    private static func answer(_ answer: Rule.Answer) -> Meaning {
        { rule, value throws(RuleReader.WrongRule) in
            try bare(value)
            try set(&rule, answer)
        }
    }

    private static let twoAnswers = "says twice what the answer is; keep one, or write two rules"

    private static func set(_ rule: inout Rule, _ answer: Rule.Answer) throws(RuleReader.WrongRule) {
        guard rule.error == nil, rule.answer == nil else { throw RuleReader.WrongRule(twoAnswers) }
        rule.answer = answer
    }

    // MARK: Values

    private static func number(
        _ word: String, _ value: String?, _ range: ClosedRange<UInt64>
    ) throws(RuleReader.WrongRule) -> UInt64 {
        guard let value, value.utf8.allSatisfy(ASCII.isDigit), let number = UInt64(value), range.contains(number) else {
            throw wrong(word, value, "a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Of a TTL.
    /// - RFC: 2181 8: at most 2^31 - 1.
    static func seconds(_ value: String) throws(RuleReader.WrongRule) -> UInt32 {
        guard let milliseconds = TimeText.milliseconds(value), milliseconds % 1000 == 0,
            milliseconds / 1000 <= 2_147_483_647
        else { throw wrong("ttl", value, "whole seconds, as ttl=0, ttl=5s or ttl=1h") }
        return UInt32(milliseconds / 1000)
    }

    private static func delay(_ rule: inout Rule, _ value: String?) throws(RuleReader.WrongRule) {
        let form = "a time of at most 10m, as delay=300ms, and how much it varies: delay=300ms±50ms"
        let text = (value ?? "").replacing("+-", with: "±")
        let parts = text.split(separator: "±", omittingEmptySubsequences: false)
        guard parts.count <= 2, let delay = TimeText.milliseconds(parts[0]), delay > 0,
            delay <= Faults.longestDelay / 1000
        else { throw wrong("delay", value, form) }
        rule.faults.actions.insert(.delay)
        rule.faults.delay = UInt32(delay) * 1000
        guard parts.count == 2 else { return }
        guard let jitter = TimeText.milliseconds(parts[1]), jitter <= delay else { throw wrong("delay", value, form) }
        rule.jitter = UInt32(jitter) * 1000
    }

    /// `100`, `1kB/s`.
    private static func rate(_ value: String?) throws(RuleReader.WrongRule) -> UInt32 {
        let form = "bytes a second, as slow=100B/s or slow=2kB/s"
        var text = (value ?? "")[...]
        if text.hasSuffix("/s") { text = text.dropLast(2) }
        if text.hasSuffix("B") { text = text.dropLast() }
        var factor: UInt64 = 1
        if text.hasSuffix("k") || text.hasSuffix("K") {
            factor = 1000
            text = text.dropLast()
        }
        guard text.utf8.allSatisfy(ASCII.isDigit), let number = UInt64(text), number > 0, number <= 1_000_000 else {
            throw wrong("slow", value, form)
        }
        return UInt32(clamping: number * factor)
    }

    /// Of 2^32.
    private static func share(_ value: String?) throws(RuleReader.WrongRule) -> UInt64 {
        let form = "a share of all, as rate=20% or rate=0.5%"
        guard let value, value.hasSuffix("%"), value.utf8.count <= 12,
            value.utf8.dropLast().allSatisfy({ ASCII.isDigit($0) || $0 == UInt8(ascii: ".") }),
            let percent = Double(String(value.dropLast())), percent >= 0, percent <= 100
        else { throw wrong("rate", value, form) }
        return UInt64(percent / 100 * 4_294_967_296)
    }

    /// `22:00-06:00`.
    private static func between(_ value: String?) throws(RuleReader.WrongRule) -> Rule.Condition.Range {
        let times = (value ?? "").split(separator: "-", omittingEmptySubsequences: false).map { time -> Int? in
            let parts = time.split(separator: ":", omittingEmptySubsequences: false)
            guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy(ASCII.isDigit) }),
                let hour = Int(parts[0]), let minute = Int(parts[1]), minute < 60,
                hour < 24 || hour == 24 && minute == 0
            else { return nil }
            return hour * 60 + minute
        }
        guard times.count == 2, let start = times[0], let end = times[1], start != end else {
            throw wrong("between", value, "between=HH:MM-HH:MM, as between=09:00-17:30, in local time")
        }
        return Rule.Condition.Range(start: start, end: end)
    }

    private static func client(_ rule: inout Rule, _ value: String?) throws(RuleReader.WrongRule) {
        for part in (value ?? "").split(separator: ",", omittingEmptySubsequences: false) {
            if let network = AddressNetwork(String(part)) {
                rule.condition.networks.append(network)
            } else if !part.isEmpty, !part.contains("/"), !part.contains(":") {
                // As the kernel names it.
                rule.condition.processes.append(String(decoding: part.utf8.prefix(15), as: UTF8.self))
            } else {
                throw wrong("client", value, "a network or a program, as client=192.0.2.0/24 or client=firefox")
            }
        }
    }

    private static func addresses(_ rule: inout Rule, _ value: String?) throws(RuleReader.WrongRule) {
        var ipv4: [[UInt8]] = []
        var ipv6: [[UInt8]] = []
        if case .addresses(let four, let six) = rule.answer {
            (ipv4, ipv6) = (four, six)
            rule.answer = nil
        }
        for part in (value ?? "").split(separator: ",", omittingEmptySubsequences: false) {
            guard let address = SocketAddress(ip: String(part), port: 0), !part.contains("%") else {
                throw wrong("answer", value, "addresses, as answer=192.0.2.7 or answer=192.0.2.7,2001:db8::7")
            }
            let bytes = address.networkBytes
            let rdata = (0..<(address.isIPv6 ? 16 : 4)).map { bytes[$0] }
            if address.isIPv6 { ipv6.append(rdata) } else { ipv4.append(rdata) }
        }
        guard ipv4.count + ipv6.count <= HostsReader.maximumAddresses else {
            throw RuleReader.WrongRule("has more than \(HostsReader.maximumAddresses) addresses; remove some")
        }
        try set(&rule, .addresses(ipv4: ipv4, ipv6: ipv6))
    }
}
