import LookupLog

/// Writes lookups in all forms; each must be one line of clean text.
struct LineTrial: ~Copyable {
    private var json = LookupFormatter(.json)
    private var plain = LookupFormatter(.text)
    private var table = LookupFormatter(.csv)

    mutating func append(_ record: LookupRecord) {
        json.append(record, id: 1)
        plain.append(record, id: 1)
        table.append(record, id: 1)
        let lines = [json.take(), plain.take(), table.take()]
        for line in lines {
            let body = line.dropLast(line.last == 0x0A ? 1 : 0)
            guard let text = String(validating: body, as: UTF8.self) else { broken("no UTF-8: \(hex(line))") }
            expect(!line.isEmpty && line.last == 0x0A, "a line without an end: \(text)")
            expect(
                !body.dropLast(body.last == 0x0D ? 1 : 0).contains { $0 < 0x20 || $0 == 0x7F },
                "a control byte in \(text)")
        }
        expect(JSONText.isObject(lines[0].dropLast()), "no JSON: \(String(decoding: lines[0], as: UTF8.self))")
    }
}
