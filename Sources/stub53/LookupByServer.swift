import DNSWire
import Flow
import LDNS
import Upstream

/// Looks names up at a DNS server; over the network, the deciding source and line are unknown.
struct LookupByServer: NameLookup {
    let server: UpstreamServer
    let timeout: Duration

    var description: String { "\(server)" }

    func ask(_ name: Name, _ type: RecordType) throws(LookupFailure) -> LookupAnswer {
        var options = DNSExchange.Options()
        options.transport = server.transport
        options.timeout = timeout
        options.mend = "start 'stub53 serve' there, or name another server with --server"
        let result: DNSExchange.Result
        do {
            result = try DNSExchange(server, options).ask(name, type, .in)
        } catch {
            throw LookupFailure("\(server): \(error)")
        }
        do {
            return try LookupAnswer(message: LDNS.Message(wire: result.message))
        } catch {
            throw LookupFailure("\(server): the response can't be read (\(error))")
        }
    }
}

extension LookupAnswer {
    init(message: borrowing LDNS.Message) {
        self.init(records: message.records(.answer).map(Record.init), responseCode: message.responseCode)
        isAuthoritative = message.isAuthoritative
        isAuthenticated = message.isAuthenticated
    }
}

extension LookupAnswer.Record {
    init(_ record: LDNS.Message.Record) {
        self.init(
            owner: record.owner, type: record.type, ttl: record.ttl, rdata: record.rdata,
            text: Presentation.text(rdata: record.rdata, type: record.type))
    }
}
