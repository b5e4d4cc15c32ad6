import DNSWire

@testable import Inspector
@testable import Transports

/// Any HTTP request: DNS messages in GET and POST, and parameters of the control API and the inspector.
enum HTTPTarget {
    static let target = FuzzTarget(
        name: "http", longest: 2000,
        seeds: {
            let query = QueryTarget.query("acme.org.", .a)
            return [
                Array("g/dns-query?dns=AAABAAABAAAAAAAAA3d3dwdleGFtcGxlA2NvbQAAAQAB".utf8),
                Array("g/dns-query?x=1&dns=AAAB&dns=".utf8), Array("papplication/dns-message; x=y\n".utf8) + query,
                Array("qname=www.acme.org&type=https&ask=1&q=name%3A*.a+b%2Bc&bad=%zz&empty=&utf=%C3%BC".utf8),
                [
                    0x72, 0, 0, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1,
                    2, 3, 4,
                ],
            ]
        },
        words: {
            ["/dns-query?dns=", "&", "=", "%C3", "%", "application/dns-message", "name=", "type=", "limit=", "_-"]
                .map { Array($0.utf8) }
        },
        prepare: {
            { input in
                var reader = InputReader(input)
                switch reader.byte() {
                case UInt8(ascii: "g"): get(text(reader.rest))
                case UInt8(ascii: "p"): post(reader.rest)
                case UInt8(ascii: "r"): response(reader.rest)
                default: parameters(text(reader.rest))
                }
            }
        })

    private static func get(_ target: String) {
        var request = DoHRequest()
        request.setMethod("GET")
        request.target = target
        guard case .success(let message) = request.message() else { return }
        expect((Header.length...DoHRequest.longestMessage).contains(message.count), "\(message.count) bytes")
        // Sent by the other method, it is the same.
        var again = DoHRequest()
        again.setMethod("GET")
        again.target = DoHRequest.path + "?dns=" + encoded(message)
        expect((try? again.message().get()) == message, "\(target) is \(hex(message))")
        again.setMethod("POST")
        again.target = DoHRequest.path
        again.contentType = "application/dns-message"
        message.withUnsafeBytes { again.append($0) }
        expect((try? again.message().get()) == message, "\(target) is \(hex(message))")
    }

    private static func post(_ bytes: UnsafeRawBufferPointer) {
        let head = bytes.prefix { $0 != 0x0A }
        let body = bytes.dropFirst(head.count + 1)
        var request = DoHRequest()
        request.setMethod("POST")
        request.target = DoHRequest.path
        request.contentType = String(decoding: head, as: UTF8.self)
        for start in stride(from: 0, to: body.count, by: 100) { request.append(body.dropFirst(start).prefix(100)) }
        if case .success(let message) = request.message() { expect(message.elementsEqual(body), "another message") }
    }

    private static func response(_ message: UnsafeRawBufferPointer) {
        let headers = DoHResponse(message: message).headers
        expect(headers.contains { $0 == ("content-length", "\(message.count)") }, "a wrong length")
        guard let age = headers.first(where: { $0.name == "cache-control" })?.value.dropFirst("max-age=".count) else {
            broken("no word of how long it may be kept")
        }
        expect(Int32(age).map { $0 >= 0 } == true, "kept for \(age)")
        guard let summary = MessageReader.walk(message) else {
            return expect(age == "0", "no message, kept for \(age)")
        }
        var cursor = summary.records
        for _ in 0..<summary.answers {
            guard let record = MessageReader.record(message, at: cursor) else { break }
            cursor = record.end
            expect(UInt32(age).map { $0 <= record.ttl } == true, "kept for \(age), and its TTL is \(record.ttl)")
        }
    }

    private static func parameters(_ text: String) {
        let parameters = APIParameters(text)
        expect(text.percentEncoded.percentDecoded() == text, "\(text) is not what it was")
        if let decoded = text.percentDecoded() {
            expect(decoded.percentEncoded.percentDecoded() == decoded, "\(decoded) is not what it was")
        }
        sentence { () throws(APIFailure) in
            if let name = try parameters.name() { expect(Name(wire: name.wire) != nil, "no name") }
        }
        sentence { () throws(APIFailure) in
            let type = try parameters.type()
            expect(!type.isMeta || type == .any, "\(type) can't be asked for")
        }
        sentence { () throws(APIFailure) in
            expect((1...100).contains(try parameters.number("limit", in: 1...100, 7)), "out of its range")
        }
        sentence { () throws(APIFailure) in try parameters.check(["name", "type", "limit"]) }
    }

    private static func sentence(_ read: () throws(APIFailure) -> Void) {
        do { try read() } catch { checkSentence(error.reason) }
    }

    private static func encoded(_ bytes: [UInt8]) -> String {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let part = bytes[start..<min(start + 3, bytes.count)]
            let bits = (0..<3).reduce(0) { $0 << 8 | (start + $1 < part.endIndex ? Int(part[start + $1]) : 0) }
            for index in 0...part.count { text.append(letters[bits >> (18 - 6 * index) & 63]) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
