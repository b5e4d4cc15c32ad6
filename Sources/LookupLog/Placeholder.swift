public import DNSWire
public import Resolution
public enum Transport: UInt8, Sendable, BitwiseCopyable { case udp, tcp, dot, doh }
public final class LookupRing: Sendable {
    public func append(time: UInt64, client: SocketAddress, transport: Transport, query: Query, decision: Decision, response: UnsafeRawBufferPointer, answers: Int, durationMicroseconds: UInt32) {}
    public func appendDropped(time: UInt64, client: SocketAddress, transport: Transport) {}
}
public final class LookupLog: Sendable {
    public enum Format: Sendable { case text, json }
    public init(format: Format, file: String?, upstreamNames: [String]) throws {}
    public func makeRing() -> LookupRing { LookupRing() }
    public func start() {}
    public func stop() {}
    public func reopen() {}
    public var lost: UInt64 { 0 }
}
