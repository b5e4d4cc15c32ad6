import DNSWire
import Testing

@testable import Inspector

@Suite("Requests to the inspector")
struct RequestTests {
    @Test(
        "A Host that is an address or localhost is accepted",
        arguments: ["127.0.0.53:8053", "127.0.0.1", "localhost", "LOCALHOST:80", "[::1]:8053", "[::1]", "192.0.2.1:1"])
    func ours(_ host: String) { #expect(BrowserGuard.isOurs(host)) }

    @Test(
        "A name that could have been rebound is not",
        arguments: [
            "evil.example", "evil.example:8053", "127.0.0.53.evil.example", "127.0.0.53:8053.evil.example",
            "localhost.evil.example", "", ":8053", "127.0.0.1:", "127.0.0.1:x", "[::1", "[evil]", "[127.0.0.1]", "::1",
            "user@127.0.0.1", "127.0.0.1 ", "[::1]x",
        ])
    func strangers(_ host: String) { #expect(!BrowserGuard.isOurs(host)) }

    @Test("A query is decoded as forms encode it")
    func query() throws {
        let parameters = APIParameters(
            "name=www.acme.org&type=https&ask=1&q=name%3A*.a+b%2Bc&bad=%zz&empty=&utf=%C3%BC")
        #expect(try parameters.name() == Name("www.acme.org."))
        #expect(try parameters.type() == .https)
        #expect(parameters.flag("ask") && !parameters.flag("other"))
        #expect(parameters["q"] == "name:*.a b+c")
        #expect(parameters["bad"] == nil && parameters["empty"] == nil)
        #expect(parameters["utf"] == "ü")
    }

    @Test("Unreadable values are refused with a sentence")
    func refusals() {
        #expect(throws: APIFailure.self) { try APIParameters("name=").name() }
        #expect(throws: APIFailure.self) { try APIParameters("name=%ff").check(["name"]) }
        #expect(throws: APIFailure.self) { try APIParameters("name=a%+5").check(["name"]) }
        #expect(throws: APIFailure.self) { try APIParameters("Name=a").check(["name"]) }
        #expect(throws: Never.self) { try APIParameters("name=a&tree=1").check(["name", "tree"]) }
        #expect(throws: APIFailure.self) { try APIParameters("name=a..b").name() }
        #expect(throws: APIFailure.self) { try APIParameters("type=HTTPSS").type() }
        #expect(throws: APIFailure.self) { try APIParameters("limit=-1").number("limit", in: 0...9, 1) }
        #expect(throws: APIFailure.self) {
            try APIParameters("limit=99999999999999999999").number("limit", in: 0...9, 1)
        }
    }
}
