@testable import Flow

/// Any first bytes of a TLS server.
enum ServerHelloTarget {
    static let target = FuzzTarget(
        name: "server-hello", longest: 1000,
        seeds: {
            let extensions: [UInt8] = [0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 29]
            let body =
                [3, 3] + [UInt8](repeating: 7, count: 32) + [0, 0x13, 1, 0, 0, UInt8(extensions.count)] + extensions
            let hello = [2, 0, 0, UInt8(body.count)] + body
            return [
                [22, 3, 3, 0, UInt8(hello.count)] + hello, [21, 3, 3, 0, 2, 2, 40], Array("HTTP/1.1 400".utf8),
                [22, 3, 3, 0, 10] + hello[..<10] + [22, 3, 3, 0, UInt8(hello.count - 10)] + hello[10...],
            ]
        },
        prepare: { { input in trial(Array(input)) } })

    /// However the bytes arrive, a result once known does not change.
    private static func trial(_ bytes: [UInt8]) {
        let whole = ServerHello.read(bytes)
        var known: ServerHello.Reading?
        for count in 0...bytes.count {
            let reading = ServerHello.read(Array(bytes[..<count]))
            if let known { expect(reading == known, "after \(count) bytes \(reading), and before \(known)") }
            if reading != .needsMore { known = reading }
        }
        expect(known ?? .needsMore == whole, "\(whole), and in pieces \(known ?? .needsMore)")
        if case .hello(let hello) = whole { checkSentence(hello.description) }
        if case .alert(let alert) = whole { checkSentence(ServerHello.alertText(alert)) }
    }
}
