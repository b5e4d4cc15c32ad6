import DNSWire
public import Platform

/// One query over TLS or HTTPS, for a client.
public enum EncryptedQuery {
    /// Sends `query` to `server` and returns its response; throws why there is none within `timeout` microseconds. Blocks.
    ///
    /// The response has the query's ID; nothing else of it has been checked.
    public static func ask(
        _ server: UpstreamServer, _ query: [UInt8], timeout: UInt64
    ) throws(UpstreamFault) -> [UInt8] {
        guard let wake = try? WakeSignal(), var network = try? SystemNetwork(wake: wake), query.count >= Header.length
        else { throw .unreachable }
        let channel = UpstreamChannel.stream(0, over: server.transport)
        network.open(channel, to: server)
        network.send([OutgoingMessage(channel: channel, server: 0, bytes: 0..<query.count)], of: query)
        defer { network.closeAll() }
        let deadline = SystemClock.monotonic() + timeout
        var response: [UInt8]?
        while true {
            network.receive { _, message in
                if response == nil, message.count >= Header.length, message[0] == query[0], message[1] == query[1] {
                    response = Array(message)
                }
            }
            if let response { return response }
            for event in network.takeEvents() {
                switch event {
                case .opened, .retiring: break
                case .failed(_, let fault), .refused(_, _, let fault): throw fault
                }
            }
            let now = SystemClock.monotonic()
            guard now < deadline else { throw .silent }
            network.wait(milliseconds: Int32(clamping: (deadline - now) / 1_000 + 1))
        }
    }
}
