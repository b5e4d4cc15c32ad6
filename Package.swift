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
    targets: [
        .systemLibrary(name: "CLdns", pkgConfig: "ldns", providers: [.apt(["libldns-dev"])]),
        .target(name: "CLinux"),
        .target(name: "DNSWire", swiftSettings: settings),
        .target(name: "LDNS", dependencies: ["CLdns", "DNSWire"], swiftSettings: settings),
        .target(name: "Resolution", dependencies: ["CLinux", "DNSWire", "LDNS"], swiftSettings: settings),
        .target(name: "LookupLog", dependencies: ["CLinux", "DNSWire", "LDNS", "Resolution"], swiftSettings: settings),
        .testTarget(name: "DNSWireTests", dependencies: ["DNSWire"], swiftSettings: settings),
        .testTarget(name: "LDNSTests", dependencies: ["LDNS", "DNSWire"], swiftSettings: settings),
        .testTarget(
            name: "ResolutionTests", dependencies: ["Resolution", "LDNS", "DNSWire"], exclude: ["Corpus"],
            swiftSettings: settings),
        .testTarget(
            name: "LookupLogTests", dependencies: ["LookupLog", "Resolution", "DNSWire"], swiftSettings: settings),
    ],
    swiftLanguageModes: [.v6]
)
