import DNSWire
import Foundation
import Lookup
import LookupLog
import Platform
import TestSupport

/// One lookup to log; the defaults are those of the documented example.
struct SampleLookup {
    struct Answer {
        var owner = Name("acme.org.")!
        var type = RecordType.a
        var recordClass = RecordClass.in
        var ttl: UInt32 = 0
        var rdata: [UInt8] = [127, 0, 0, 1]
        var inAuthority = false
    }

    var time: UInt64 = 1_795_453_200_123_456  // 2026-11-23T17:00:00.123456Z
    var client = SocketAddress(ip: "127.0.0.1", port: 54321)!
    var transport = Transport.udp
    var name = Name("acme.org.")!
    var type = RecordType.a
    var recordClass = RecordClass.in
    var flags: Header.Flags = [.recursionDesired, .authenticData]
    var dnssecOK = false
    /// Has an OPT record, as DO=1 requires.
    var hasEDNS = false
    var answers = [Answer()]
    var truncated = false
    var duration: UInt32 = 11
    var decision = SampleLookup.decision(.hosts, Place(path: "/etc/hosts", line: 12))

    static func decision(
        _ source: SourceKind, _ place: Place = .nowhere, _ change: (inout Decision) -> Void = { _ in }
    ) -> Decision {
        var decision = Decision()
        decision.source = source
        decision.place = place
        change(&decision)
        return decision
    }

    /// The query as the wire has it.
    var message: [UInt8] {
        var message: [UInt8] = [0x12, 0x34, UInt8(flags.rawValue >> 8), UInt8(flags.rawValue & 0xFF), 0, 1]
        message += [0, 0, 0, 0, 0, dnssecOK || hasEDNS ? 1 : 0] + name.wire
        message += [type.rawValue, recordClass.rawValue].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
        if dnssecOK || hasEDNS { message += [0, 0, 41, 4, 208, 0, 0, dnssecOK ? 0x80 : 0, 0, 0, 0] }
        return message
    }

    func append(to ring: LookupRing) {
        let message = message
        var storage = [UInt8](repeating: 0, count: 65_535)
        message.withUnsafeBytes { message in
            storage.withUnsafeMutableBytes { buffer in
                var query = Query()
                var lookup = LookupName()
                _ = query.parse(message, name: &lookup)
                var builder = ResponseBuilder(buffer: buffer, query: query, message: message, reserved: 0)
                for answer in answers {
                    if answer.inAuthority { builder.begin(.authority) }
                    answer.owner.wire.withUnsafeBufferPointer { owner in
                        answer.rdata.withUnsafeBytes { rdata in
                            _ = builder.append(
                                owner: .name(UnsafeRawPointer(owner.baseAddress!), length: owner.count),
                                type: answer.type, recordClass: answer.recordClass, ttl: answer.ttl, rdata: rdata)
                        }
                    }
                }
                var flags: Header.Flags = [.response, .recursionAvailable]
                if self.flags.contains(.recursionDesired) { flags.insert(.recursionDesired) }
                if truncated { flags.insert(.truncated) }
                let code = Header.Flags(rawValue: decision.responseCode.rawValue & 0xF)
                builder.finish(flags: flags.union(code), questions: 1)
                ring.append(
                    time: time, client: client, transport: transport, query: query, decision: decision,
                    response: builder.message, answers: Int(builder.answers), truncated: truncated,
                    durationMicroseconds: duration)
            }
        }
    }
}

func lines(ofFile path: String) throws -> [String] {
    try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n", omittingEmptySubsequences: false)
        .dropLast().map(String.init)
}

func parsed(_ line: String) throws -> [String: Any] {
    try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
}

/// The output of a log of `form` for `lookups`.
func logged(
    _ lookups: [SampleLookup], as form: LookupSink.Form, colors: Bool? = nil, upstreams: [String] = []
) throws -> [String] {
    let folder = try TemporaryFolder()
    let path = folder.file("log")
    let log = try LookupLog(sinks: [LookupSink(form, to: .file(path: path), colors: colors)])
    log.setUpstreams(upstreams)
    let ring = log.makeRing()
    for lookup in lookups { lookup.append(to: ring) }
    log.start()
    log.stop()
    return try lines(ofFile: path)
}
