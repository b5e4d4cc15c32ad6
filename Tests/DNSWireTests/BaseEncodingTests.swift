import DNSWire
import Testing

@Suite("Base 16, 32 and 64")
struct BaseEncodingTests {
    private func decode32(_ text: String) -> [UInt8]? {
        var decoder = Base32Hex.Decoder()
        var bytes: [UInt8] = []
        for digit in text.utf8 {
            guard let produced = decoder.add(digit) else { return nil }
            if let produced { bytes.append(produced) }
        }
        return decoder.isComplete ? bytes : nil
    }

    private func decode64(_ text: String) -> [UInt8]? {
        var decoder = Base64.Decoder()
        var bytes: [UInt8] = []
        for character in text.utf8 {
            guard let produced = decoder.add(character) else { return nil }
            if let produced { bytes.append(produced) }
        }
        return decoder.isComplete ? bytes : nil
    }

    /// RFC 4648 10; base32hex without its padding, which NSEC3 does not have.
    static let vectors = [
        ("", "", "", ""), ("f", "66", "CO", "Zg=="), ("fo", "666F", "CPNG", "Zm8="), ("foo", "666F6F", "CPNMU", "Zm9v"),
        ("foob", "666F6F62", "CPNMUOG", "Zm9vYg=="), ("fooba", "666F6F6261", "CPNMUOJ1", "Zm9vYmE="),
        ("foobar", "666F6F626172", "CPNMUOJ1E8", "Zm9vYmFy"),
    ]

    @Test("read and write the vectors of RFC 4648 10", arguments: vectors)
    func known(plain: String, base16: String, base32: String, base64: String) {
        let bytes = Array(plain.utf8)
        #expect(Base16.text(bytes, uppercase: true) == base16)
        #expect(Base16.text(bytes) == base16.lowercased())
        #expect(base16.utf8.allSatisfy { Base16.value($0) != nil })
        #expect(decode32(base32) == bytes && decode32(base32.lowercased()) == bytes)
        #expect(decode64(base64) == bytes)
        #expect(Base64.decodeURL(base64.utf8) == bytes)
        #expect(Base64.decodeURL(base64.filter { $0 != "=" }.utf8) == bytes)
    }

    @Test(
        "base 64 in a zone is padded, without unused bits that are set",
        arguments: [
            "Z", "Zg", "Zg=", "Zg===", "Zg==Zg==", "=", "Zm9v=", "Zm9v====", "Zh==", "Zm9=", "Zm9", "Zg= =", "Zm9v-_",
            "Zm\u{E9}=",
        ])
    func badlyPadded(_ text: String) { #expect(decode64(text) == nil) }

    @Test(
        "base 32 ends with a byte, without unused bits that are set",
        arguments: ["C", "CPN", "CPNMUO", "CP", "W0", "C="])
    func incomplete(_ text: String) { #expect(decode32(text) == nil) }

    @Test("base64url has its own two characters, and no character alone")
    func url() {
        #expect(Base64.decodeURL("-_-_".utf8) == [0xFB, 0xFF, 0xBF])
        for text in ["+/+/", "A", "AAAAA", "AA=A", "A A"] { #expect(Base64.decodeURL(text.utf8) == nil) }
    }

    @Test("only the digits are digits")
    func digits() {
        let all = (0...255).map { UInt8($0) }
        #expect(all.count { Base16.value($0) != nil } == 22)
        #expect(all.count { Base32Hex.value($0) != nil } == 54)
        #expect(all.count { Base64.value($0) != nil } == 64)
        #expect(all.count { Base64.value($0, .url) != nil } == 64)
    }

    @Test("Base64 is written with padding, and read back strictly")
    func base64Text() {
        for (text, encoded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("\u{FF}?>", "w78/Pg==")] {
            #expect(String(decoding: Base64.text(Array(text.utf8)), as: UTF8.self) == encoded)
            #expect(Base64.bytes(of: Array(encoded.utf8)) == Array(text.utf8))
        }
        for wrong in ["Zg", "Zg=", "Zh==", "Z===", "Zm9v=", "Zm 9v"] {
            #expect(Base64.bytes(of: Array(wrong.utf8)) == nil, "\(wrong)")
        }
    }
}
