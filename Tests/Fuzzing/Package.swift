// swift-tools-version: 6.2
import PackageDescription

// A separate package, so that the main one neither builds nor resolves it. The fuzzed modules are links to the main
// package's sources, built for libFuzzer and AddressSanitizer, without the files that need SwiftNIO, which would take
// longer to build than everything else.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // Optimized, and yet with every `assert`; `@testable` reaches what is internal.
    .unsafeFlags(["-sanitize=fuzzer", "-assert-config", "Debug", "-enable-testing"]),
]

let package = Package(
    name: "Fuzzing",
    dependencies: [
        .package(url: "https://github.com/apple/swift-http-types", from: "1.4.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    ],
    targets: [
        .systemLibrary(name: "CLdns", pkgConfig: "ldns", providers: [.apt(["libldns-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "CLinux"),
        .target(name: "Certificates", dependencies: ["COpenSSL", "Platform"], swiftSettings: settings),
        .target(name: "DNSWire", swiftSettings: settings),
        .target(name: "LDNS", dependencies: ["CLdns", "DNSWire"], swiftSettings: settings),
        .target(name: "Platform", dependencies: ["CLinux"], swiftSettings: settings),
        .target(name: "Lookup", dependencies: ["DNSWire", "Platform"], swiftSettings: settings),
        .target(
            name: "LocalData", dependencies: ["CLinux", "DNSWire", "LDNS", "Lookup", "Platform"],
            swiftSettings: settings),
        .target(
            name: "Upstream", dependencies: ["CLinux", "DNSWire", "LDNS", "Lookup", "Platform"],
            exclude: ["Exchange/Encrypted"],
            swiftSettings: settings),
        .target(
            name: "Pipeline", dependencies: ["DNSWire", "LocalData", "Lookup", "Platform", "Upstream"],
            swiftSettings: settings),
        .target(
            name: "LookupLog",
            dependencies: ["CLinux", "DNSWire", "LDNS", "LocalData", "Lookup", "Platform", "Upstream"],
            swiftSettings: settings),
        .target(
            name: "Cassettes",
            dependencies: ["DNSWire", "LDNS", "LocalData", "Lookup", "LookupLog", "Platform", "Upstream"],
            swiftSettings: settings),
        .target(
            name: "Transports",
            dependencies: [
                "CLinux", "DNSWire", "LDNS", "LocalData", "Lookup", "LookupLog", "Pipeline", "Platform", "Upstream",
            ],
            exclude: [
                "AcceptPause.swift", "DoHOverHTTP1.swift", "DoHOverHTTP2.swift", "DoHResponder.swift",
                "DoTConnection.swift",
                "EncryptedListener.swift", "EncryptedLoop.swift", "ServerCertificate.swift", "TLSBuffers.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "Daemon",
            dependencies: [
                "Cassettes", "Certificates", "DNSWire", "LDNS", "LocalData", "Lookup", "LookupLog", "Platform",
                "Transports",
                "Upstream", .product(name: "Yams", package: "Yams"),
            ],
            exclude: [
                "Configuration/LoadedSources.swift", "Configuration/ConfigurationSummary.swift",
                "Configuration/LongChains.swift", "Daemon.swift", "Views",
                "DaemonCompanion.swift", "DaemonControl.swift", "DaemonControl+Statistics.swift", "Explanation",
                "Overrides", "Reload", "Reports", "RunningDaemon.swift", "Services.swift", "State",
                "SystemManager.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "Flow", dependencies: ["DNSWire", "LocalData", "Lookup", "Platform"],
            exclude: [
                "CertificateReport.swift", "CertificateWitness.swift", "DowngradeVerdict.swift", "Flow+JSON.swift",
                "Flow+Mermaid.swift", "Flow+Text.swift", "FlowEvent+Words.swift", "FlowStep.swift", "FlowWalk.swift",
                "FlowWalker.swift", "FlowWalker+Lookups.swift", "Handshake.swift", "HandshakeTap.swift",
                "ResponseReader.swift", "WebConnection.swift",
            ],
            swiftSettings: settings),
        .target(
            name: "Inspector",
            dependencies: [
                "DNSWire", "LocalData", "Platform", .product(name: "HTTPTypes", package: "swift-http-types"),
            ],
            swiftSettings: settings),
        .target(name: "CFuzzer"),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "CFuzzer", "Cassettes", "DNSWire", "Daemon", "Flow", "Inspector", "LDNS", "LocalData", "Lookup",
                "LookupLog", "Pipeline", "Platform", "Transports", "Upstream",
            ],
            swiftSettings: settings, linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
    ],
    swiftLanguageModes: [.v6]
)
