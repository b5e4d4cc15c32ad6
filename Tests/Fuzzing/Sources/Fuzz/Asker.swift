import DNSWire
import Lookup

/// Asks sources like a serving thread, with one reused lookup and buffer.
final class Asker {
    private var lookup = Lookup()
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_535, alignment: 8)

    deinit { buffer.deallocate() }

    /// Begins a lookup of `name` (uncompressed), and passes it to `body`; the response may have `limit` bytes.
    func ask<Result>(
        _ name: [UInt8], _ question: Question, limit: Int = 65_535, _ body: (inout Lookup) -> Result
    ) -> Result {
        let type = question.type.rawValue
        let message =
            [0, 1, 1, question.checkingDisabled ? 0x10 : 0, 0, 1, 0, 0, 0, 0, 0, question.dnssecOK ? 1 : 0] + name
            + [UInt8(type >> 8), UInt8(type & 0xFF), 0, 1]
            + (question.dnssecOK ? [0, 0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0] : [])
        lookup.begin(lookup.request)
        lookup.upstream = UpstreamState()
        return message.withUnsafeBytes { message in
            Self.parse(message, &lookup)
            lookup.recursionAvailable = question.mayForward
            lookup.takeQuestion()
            let limited = UnsafeMutableRawBufferPointer(rebasing: buffer[..<limit])
            lookup.builder = ResponseBuilder(buffer: limited, query: lookup.query, message: message, reserved: 0)
            return body(&lookup)
        }
    }

    /// A separate function, because both arguments are parts of one value in a class.
    private static func parse(_ message: UnsafeRawBufferPointer, _ lookup: inout Lookup) {
        _ = lookup.query.parse(message, name: &lookup.name)
    }
}

extension Lookup {
    /// Completes the response and checks it.
    mutating func finished(_ what: @autoclosure () -> String) -> ResponseRules.Sections {
        if builder.truncated { builder.truncate() }
        builder.finish(flags: .response, questions: 1)
        return ResponseRules.sections(builder.message, what())
    }
}
