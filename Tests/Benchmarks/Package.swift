// swift-tools-version: 6.2
import PackageDescription

// A separate package, so that the main one neither builds nor resolves it. The measured modules are links to the main
// package's sources: they build here in a minute, without the server's other dependencies.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release)),
]

let package = Package(
    name: "Benchmarks",
    targets: [
        .systemLibrary(name: "CLdns", pkgConfig: "ldns", providers: [.apt(["libldns-dev"])]),
        .target(name: "CLinux"),
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
            name: "Pipeline", dependencies: ["CLinux", "DNSWire", "LocalData", "Lookup", "Platform", "Upstream"],
            swiftSettings: settings),
        .target(
            name: "LookupLog",
            dependencies: ["CLinux", "DNSWire", "LDNS", "LocalData", "Lookup", "Platform", "Upstream"],
            swiftSettings: settings),
        .target(name: "CFixedSeed"),
        .executableTarget(name: "Echo"),
        .target(name: "CHarness"),
        .executableTarget(name: "Bench", dependencies: ["CHarness"], swiftSettings: settings),
        .executableTarget(
            name: "Instructions",
            dependencies: [
                "CFixedSeed", "DNSWire", "LocalData", "Lookup", "LookupLog", "Pipeline", "Platform", "Upstream",
            ],
            swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
