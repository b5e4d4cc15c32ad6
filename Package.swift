// swift-tools-version: 6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    // The fast lane crosses modules; without this the optimizer stops at their borders.
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

let package = Package(
    name: "stub53",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
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
            name: "Upstream",
            dependencies: [
                "CLinux", "Certificates", "DNSWire", "LDNS", "Lookup", "Platform",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ],
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
                "CLinux", "Certificates", "DNSWire", "LocalData", "Lookup", "LookupLog", "Pipeline", "Platform",
                "Upstream",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ],
            swiftSettings: settings),
        .target(
            name: "Daemon",
            dependencies: [
                "CLinux", "Cassettes", "Certificates", "DNSWire", "LDNS", "LocalData", "Lookup", "LookupLog",
                "Pipeline", "Platform", "Transports", "Upstream",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings),
        .target(
            name: "Flow",
            dependencies: [
                "DNSWire", "LocalData", "Platform",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            swiftSettings: settings),
        .target(
            name: "History",
            dependencies: [
                "DNSWire", "Lookup", "LookupLog", "Platform",
                .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "GRDBSQLite", package: "GRDB.swift"),
            ],
            swiftSettings: settings),
        .target(
            name: "Inspector",
            dependencies: [
                "DNSWire", "Daemon", "History", "LocalData", "Lookup", "LookupLog", "Platform", "Transports",
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            resources: [.embedInCode("Assets")], swiftSettings: settings),
        .executableTarget(
            name: "stub53",
            dependencies: [
                "CLinux", "Cassettes", "Certificates", "DNSWire", "Daemon", "Flow", "History", "Inspector", "LDNS",
                "LocalData", "Lookup", "LookupLog", "Platform", "Upstream",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            exclude: ["Resources"], swiftSettings: settings),
        .target(name: "TestSupport", dependencies: ["DNSWire"], path: "Tests/TestSupport", swiftSettings: settings),
        .target(name: "AllocationCount", path: "Tests/AllocationCount"),
        .testTarget(name: "DNSWireTests", dependencies: ["TestSupport", "LDNS", "DNSWire"], swiftSettings: settings),
        .testTarget(name: "PlatformTests", dependencies: ["Platform"], swiftSettings: settings),
        .testTarget(name: "CertificatesTests", dependencies: ["TestSupport", "Certificates"], swiftSettings: settings),
        .testTarget(name: "LDNSTests", dependencies: ["LDNS", "DNSWire"], swiftSettings: settings),
        .testTarget(
            name: "ResolutionTests",
            dependencies: [
                "CLdns", "TestSupport", "CLinux", "DNSWire", "LDNS", "LocalData", "Lookup", "Pipeline", "Platform",
                "Upstream",
            ],
            exclude: ["Corpus"],
            swiftSettings: settings),
        .testTarget(
            name: "LookupLogTests",
            dependencies: [
                "TestSupport", "DNSWire", "LDNS", "LocalData", "Lookup", "LookupLog", "Platform", "Upstream",
            ],
            swiftSettings: settings),
        .testTarget(
            name: "CassetteTests",
            dependencies: ["TestSupport", "Cassettes", "DNSWire", "Lookup", "LookupLog", "Platform", "Upstream"],
            swiftSettings: settings),
        .testTarget(
            name: "ServerTests",
            dependencies: [
                "AllocationCount", "TestSupport", "CLinux", "Cassettes", "Certificates", "DNSWire", "Daemon",
                "Inspector", "LDNS", "LocalData", "Lookup", "LookupLog", "Pipeline", "Platform", "Transports",
                "Upstream", "stub53",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHPACK", package: "swift-nio-http2"),
                .product(name: "NIOHTTP2", package: "swift-nio-http2"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ],
            exclude: ["Malformed", "Scenarios"], swiftSettings: settings),
        .testTarget(
            name: "InspectorTests",
            dependencies: [
                "DNSWire", "History", "Inspector", "Lookup", "LookupLog", "Platform",
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "HistoryTests",
            dependencies: [
                "TestSupport", "DNSWire", "History", "Inspector", "LocalData", "Lookup", "LookupLog", "Platform",
                .product(name: "GRDB", package: "GRDB.swift"),
            ],
            swiftSettings: settings),
        .testTarget(
            name: "FlowTests", dependencies: ["Flow", "LocalData", "Lookup", "Platform", "DNSWire"],
            swiftSettings: settings),
        .testTarget(
            name: "EndToEndTests", dependencies: ["TestSupport", "Certificates", "DNSWire", "Platform", "stub53"],
            exclude: ["Servers"], swiftSettings: settings),
        .testTarget(
            name: "BrowserTests", dependencies: ["TestSupport", "DNSWire", "stub53"], swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
