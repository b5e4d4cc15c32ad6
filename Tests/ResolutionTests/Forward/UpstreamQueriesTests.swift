import CLdns
import DNSWire
import LDNS
import Lookup
import Testing

@testable import Upstream

@Suite("Queries to upstream")
struct UpstreamQueriesTests {
    /// What libldns reads in a query.
    private struct Read: Equatable {
        var id: UInt16
        var name: String
        var type: UInt32
        var questions: Int
        var flags: [Bool]
        var payloadSize: UInt16?
        var dnssecOK: Bool
        var options: [UInt8]
    }

    private func read(_ bytes: [UInt8]) throws -> Read {
        var packet: UnsafeMutablePointer<ldns_pkt>?
        try #require(ldns_wire2pkt(&packet, bytes, bytes.count) == LDNS_STATUS_OK)
        defer { ldns_pkt_free(packet) }
        let questions = ldns_pkt_question(packet)
        let question = ldns_rr_list_rr(questions, 0)
        let text = try #require(ldns_rdf2str(ldns_rr_owner(question)))
        defer { free(text) }
        let hasEDNS = ldns_pkt_edns(packet) != 0
        var options: [UInt8] = []
        if let data = ldns_pkt_edns_data(packet) {
            options = Array(UnsafeBufferPointer(start: ldns_rdf_data(data), count: ldns_rdf_size(data)))
        }
        return Read(
            id: ldns_pkt_id(packet), name: String(cString: text), type: ldns_rr_get_type(question).rawValue,
            questions: ldns_rr_list_rr_count(questions),
            flags: [
                ldns_pkt_qr(packet), ldns_pkt_rd(packet), ldns_pkt_ad(packet), ldns_pkt_cd(packet),
                ldns_pkt_tc(packet),
            ].map { $0 != 0 },
            payloadSize: hasEDNS ? ldns_pkt_edns_udp_size(packet) : nil,
            dnssecOK: ldns_pkt_edns_do(packet) != 0, options: options)
    }

    @Test(
        "libldns reads in each kind of query what was meant", arguments: EDNSLevel.allCases, [false, true])
    func kinds(_ level: EDNSLevel, _ isEncrypted: Bool) throws {
        var queries = UpstreamQueries()
        var jar = CookieJar(client: 0x0807_0605_0403_0201)
        let serverCookie: [UInt8] = [9, 10, 11, 12, 13, 14, 15, 16]
        for (dnssecOK, checkingDisabled, knowsServer) in [
            (false, false, false), (true, false, false), (false, true, true), (true, true, true), (true, false, true),
        ] {
            if knowsServer {
                let option: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8] + serverCookie
                #expect(option.withUnsafeBytes { jar.take($0) })
            }
            let key = FetchKey(
                Name("www.shop.example")!,
                Question(type: .https, dnssecOK: dnssecOK, checkingDisabled: checkingDisabled))
            var buffer = [UInt8](repeating: 0xAA, count: UpstreamQueries.maximumLength)
            let length = buffer.withUnsafeMutableBytes {
                queries.write(
                    key, id: 0xBEEF, caseMask: 1 << 1, level: level, jar: isEncrypted ? nil : jar,
                    isPadded: isEncrypted, to: $0.baseAddress!)
            }
            let query = Array(buffer[..<length])
            let found = try read(query)
            var wanted = Read(
                id: 0xBEEF, name: "Www.shop.example.", type: 65, questions: 1,
                flags: [false, true, true, checkingDisabled, false],
                payloadSize: level == .none ? nil : 1232, dnssecOK: dnssecOK && level > .withoutSignatures, options: [])
            if level == .full, isEncrypted {
                #expect(length == 128)
                let padding = length - (12 + 18 + 4 + 11 + 4)
                wanted.options = [0, 12, 0, UInt8(padding)] + Array(repeating: 0, count: padding)
            } else if level == .full {
                let cookie = [1, 2, 3, 4, 5, 6, 7, 8] + (knowsServer ? serverCookie : [])
                wanted.options = [0, 10, 0, UInt8(cookie.count)] + cookie
            }
            #expect(found == wanted)
        }
    }

    @Test("padding makes names of all lengths equally long, in steps of 128 bytes")
    func padding() throws {
        var queries = UpstreamQueries()
        for count in 1...60 {
            let name = Name(Array(repeating: String(repeating: "a", count: count), count: 4).joined(separator: "."))!
            var buffer = [UInt8](repeating: 0xAA, count: UpstreamQueries.maximumLength)
            let length = buffer.withUnsafeMutableBytes {
                queries.write(
                    FetchKey(name, Question(type: .a)), id: 1, caseMask: 0, level: .full, jar: nil, isPadded: true,
                    to: $0.baseAddress!)
            }
            #expect(length % 128 == 0)
            let found = try read(Array(buffer[..<length]))
            #expect(found.options.count == length - (12 + name.wire.count + 4 + 11))
            #expect(found.options.dropFirst(4).allSatisfy { $0 == 0 })
        }
    }
}
