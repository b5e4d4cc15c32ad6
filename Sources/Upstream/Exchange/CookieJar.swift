/// The cookies for one server: ours, and the last one it sent.
///
/// - RFC: 7873 4 (client cookie 8 bytes, server cookie 8 to 32).
struct CookieJar: Sendable {
    let client: UInt64
    private(set) var server: [UInt8] = []

    init(client: UInt64) {
        self.client = client
    }

    var clientBytes: [UInt8] { withUnsafeBytes(of: client) { Array($0) } }

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
