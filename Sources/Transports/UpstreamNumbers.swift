package import Platform
import Synchronization

/// Numbers the servers that have answered, for log, cache and decisions. A server keeps its number.
package final class UpstreamNumbers: Sendable {
    private struct Known {
        var servers: [SocketAddress] = []
        var numbers: [SocketAddress: Int16] = [:]
    }

    private let known = Mutex(Known())

    package func server(_ number: Int16) -> SocketAddress? {
        known.withLock { $0.servers.indices.contains(Int(number)) ? $0.servers[Int(number)] : nil }
    }

    package var servers: [SocketAddress] { known.withLock { $0.servers } }

    /// The number of `server`, assigned if it is new; nil if all numbers are used.
    package func number(of server: SocketAddress) -> (number: Int16, isNew: Bool)? {
        known.withLock { known in
            if let number = known.numbers[server] { return (number, false) }
            guard known.servers.count < Int(Int16.max) else { return nil }
            let number = Int16(known.servers.count)
            known.servers.append(server)
            known.numbers[server] = number
            return (number, true)
        }
    }
}
