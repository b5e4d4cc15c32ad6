import Hummingbird
import HummingbirdCore

extension APIParameters {
    init(_ request: Request) { self.init(request.uri.query ?? "") }

    /// Of a request that knows these keys: what could not be read is refused, and keys that mean nothing, since who
    /// misspells one would get more than was meant.
    init(_ request: Request, of keys: String...) throws(APIFailure) {
        self.init(request)
        try check(Set(keys))
    }
}
