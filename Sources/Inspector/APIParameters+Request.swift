import Hummingbird
import HummingbirdCore

extension APIParameters {
    init(_ request: Request) { self.init(request.uri.query ?? "") }

    /// For requests that accept only these keys. Unreadable values and unknown keys are refused: a misspelled filter
    /// would otherwise match more than intended.
    init(_ request: Request, of keys: String...) throws(APIFailure) {
        self.init(request)
        try check(Set(keys))
    }
}
