import DNSWire
import Testing

@Suite("Names (RFC 1035 3.1, 5.1)")
struct NameTests {
    @Test(
        "presentation form survives a round trip",
        arguments: [".", "acme.org.", "a\\.b.example.", "\\000\\255.x.", "*.example.", "_8443._https.acme.org."])
    func roundTrip(text: String) throws {
        #expect(Name(text)?.description == text)
    }

    @Test(
        "invalid names are rejected",
        arguments: ["", "..", ".a", "a..b", "\\256.", "\\", "\\1", String(repeating: "a", count: 64) + "."])
    func refused(text: String) {
        #expect(Name(text) == nil)
    }

    @Test("a relative name is completed with the origin")
    func relative() throws {
        let origin = try #require(Name("acme.org."))
        #expect(try Name(parsing: "www".utf8, origin: origin) == Name("WWW.acme.ORG."))
        #expect(try Name(parsing: "www.".utf8, origin: origin) == Name("www."))
    }

    @Test("255 bytes of wire form are valid, 256 are not")
    func longest() throws {
        let label = String(repeating: "a", count: 63)
        let most = "\(label).\(label).\(label).\(String(repeating: "b", count: 61))."
        #expect(Name(most)?.wire.count == 255)
        #expect(Name("b" + most) == nil)
        #expect(Name("x." + most) == nil)
    }

    @Test("ancestry is by label, not by text")
    func ancestry() throws {
        let acme = try #require(Name("acme.org."))
        #expect(try #require(Name("www.ACME.org.")).isBelow(acme))
        #expect(!(try #require(Name("xacme.org.")).isAtOrBelow(acme)))
        #expect(acme.isAtOrBelow(acme) && !acme.isBelow(acme) && acme.isAtOrBelow(.root))
    }
}
