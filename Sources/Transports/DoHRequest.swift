import DNSWire

/// One DNS over HTTPS request, in any version of HTTP.
///
/// - RFC: 8484 4.1.
package struct DoHRequest {
    enum Method { case get, post, other }

    /// The only resource served.
    package static let path = "/dns-query"
    /// The longest target and the longest body, in bytes. A longer query must come in a body: no client has one.
    static let longestTarget = 16_384
    static let longestMessage = 65_535

    var method = Method.other
    var target = ""
    var contentType = ""
    private(set) var body: [UInt8] = []
    /// The body is longer than a message can be.
    private(set) var isTooLong = false

    /// Bytes that an unfinished request holds, with what HTTP keeps of it.
    var heldBytes: Int { 1024 + target.utf8.count + contentType.utf8.count + body.capacity }

    mutating func append(_ bytes: some Collection<UInt8>) {
        guard !isTooLong, body.count + bytes.count <= Self.longestMessage else {
            isTooLong = true
            body = []
            return
        }
        body += bytes
    }

    mutating func setMethod(_ name: some StringProtocol) {
        method = name == "GET" ? .get : name == "POST" ? .post : .other
    }

    /// The DNS message in the request, or the HTTP status to respond with.
    func message() -> Result<[UInt8], DoHStatus> {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.first.map({ $0 == Self.path }) == true else { return .failure(.notFound) }
        switch method {
        case .other: return .failure(.methodNotAllowed)
        case .post:
            if isTooLong { return .failure(.tooLong) }
            let type = contentType.prefix { $0 != ";" }.lowercased()
            guard type.split(separator: " ").first == "application/dns-message" else {
                return .failure(.unsupportedType)
            }
            return body.count >= Header.length ? .success(body) : .failure(.badRequest)
        case .get:
            guard target.utf8.count <= Self.longestTarget else { return .failure(.tooLong) }
            let value = parts.dropFirst().first?.split(separator: "&").first { $0.hasPrefix("dns=") }
            guard let value, let message = Base64.decodeURL(value.dropFirst(4).utf8), message.count >= Header.length
            else { return .failure(.badRequest) }
            return message.count <= Self.longestMessage ? .success(message) : .failure(.tooLong)
        }
    }
}

/// The HTTP statuses that a DoH server uses.
enum DoHStatus: Int, Error {
    case ok = 200
    case badRequest = 400
    case notFound = 404
    case methodNotAllowed = 405
    case tooLong = 413
    case unsupportedType = 415
}

/// The response to a request.
struct DoHResponse {
    var status: DoHStatus
    var message: [UInt8] = []

    init(failure: DoHStatus) { status = failure }

    init(message: UnsafeRawBufferPointer) {
        status = .ok
        self.message = Array(message)
    }

    /// Header names in lower case, as HTTP/2 requires.
    var headers: [(name: String, value: String)] {
        switch status {
        case .ok:
            [
                ("content-type", "application/dns-message"), ("content-length", "\(message.count)"),
                ("cache-control", "max-age=\(freshness)"),
            ]
        case .methodNotAllowed: [("content-length", "0"), ("allow", "GET, POST")]
        default: [("content-length", "0")]
        }
    }

    /// Seconds a cache may keep it: the lowest TTL in the answer section; negative answers: the SOA's negative TTL;
    /// errors: 0.
    ///
    /// - RFC: 8484 5.1; 2308 5.
    private var freshness: UInt32 {
        message.withUnsafeBytes { message in
            guard let base = message.baseAddress, let summary = MessageReader.walk(message) else { return 0 }
            let code = Header.Flags(rawValue: base.readUInt16(2)).responseCode
            guard code == .noError || code == .nxDomain else { return 0 }
            var least: UInt32?
            var cursor = summary.records
            for index in 0..<(summary.answers + summary.authority) {
                guard let record = MessageReader.record(message, at: cursor) else { return 0 }
                cursor = record.end
                if index < summary.answers {
                    least = min(least ?? .max, record.ttl)
                } else if summary.answers == 0, record.type == .soa {
                    least = min(record.ttl, base.readUInt32(record.end - 4))
                }
            }
            return min(least ?? 0, UInt32(Int32.max))
        }
    }
}
