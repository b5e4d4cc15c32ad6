import DNSWire
import Platform

@testable import LocalData

/// Any rules file: what is read once is read again from its own text, with the same meaning.
enum RulesTarget {
    static let target = FuzzTarget(
        name: "rules", longest: 2000,
        seeds: {
            try Corpus.scenarios("rules").map { Array($0.utf8) } + [
                Array(
                    "*.a.lab A,AAAA delay=300ms±50ms rate=20% seed=7 # c\r\n* * drop first=2 client=10.0.0.0/8,dig\n"
                        .utf8),
                Array(
                    ".b.lab HTTPS strip=ech,hints slow=1kB/s between=22:00-06:00\nc.lab * alias=B\u{FC}cher.lab ttl=5s\n"
                        .utf8),
            ]
        },
        words: {
            [
                "answer=", "192.0.2.1,", "2001:db8::1", "alias=", "nxdomain", "delay=", "±", "rate=", "%", "every=",
                "between=", "client=", "transport=dot", "view=", "keep=", "only=4", "wrong-id", "\u{FEFF}",
            ].map { Array($0.utf8) }
        },
        prepare: {
            let file = MemoryFile(number: 1000)
            return { input in
                file.write(input)
                let (table, _) = RuleReader.load(paths: [file.path], settings: HostsSettings())
                var name = LookupName()
                for rule in table.rules {
                    guard let again = try? RuleReader.rule(rule.text, rule.place, HostsSettings()) else {
                        broken("a rule is not read again: \(rule.text)")
                    }
                    expect(
                        again.name == rule.name && again.reach == rule.reach && again.condition == rule.condition
                            && again.faults == rule.faults && again.answer == rule.answer && again.error == rule.error,
                        "a rule is read as another one: \(rule.text)")
                    name.assign(rule.name)
                    if rule.reach != .below {
                        expect(table.has(name, isAsked: true), "a rule is not found: \(rule.text)")
                    }
                }
            }
        })
}
