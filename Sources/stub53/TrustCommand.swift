import ArgumentParser
import Certificates
import Daemon
import Glibc
import Platform

/// `stub53 trust`: shows and installs the local CA.
struct TrustCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trust",
        abstract: "Show or install the local CA that tls:// and https:// listeners use.",
        discussion: """
            The CA is made once, with a key that only its owner can read. It can vouch for localhost and the addresses \
            that the machine has at that time, and for no other machine and no web site.

            Examples:
              stub53 trust
              stub53 trust --install
              stub53 trust --install --nss ~/.pki/nssdb        (Chromium)
              stub53 trust --install --nss FIREFOX-PROFILE
              stub53 trust --remove
            """)

    @Flag(help: "Have it trusted: by this machine, or with --nss by the programs that use that database.")
    var install = false

    @Flag(help: "Take it out again.")
    var remove = false

    @Option(help: ArgumentHelp("An NSS database, as Chromium and Firefox have them.", valueName: "dir"))
    var nss: String?

    func validate() throws {
        if install && remove { throw ValidationError("--install and --remove exclude each other.") }
        if nss != nil, !install, !remove { throw ValidationError("--nss says where; add --install or --remove.") }
    }

    mutating func run() throws {
        let authority = LocalAuthority()
        if remove { return try takeOut() }
        let certificate: Certificate
        do { certificate = try authority.loadOrMake() } catch {
            throw ServiceFailure(.problem, "\(error)")
        }
        if install { return try putIn(certificate.pem) }
        let isTrusted = TrustStore.system?.holds(certificate.pem) == true
        print("local CA   \(authority.certificatePath)")
        print("sha256     \(certificate.fingerprint)")
        print("vouches    for localhost, \(certificate.scope)")
        print("until      \(CalendarTime(seconds: certificate.end).date)")
        print("machine    \(isTrusted ? "trusts it" : "does not trust it: stub53 trust --install")")
    }

    private func putIn(_ pem: [UInt8]) throws {
        if let nss {
            try NSSDatabase(nss).install(pem)
            print("installed  in \(nss)")
        } else {
            let store = try TrustStore.found()
            try store.install(pem)
            print("installed  as \(store.file)")
        }
    }

    private func takeOut() throws {
        if let nss {
            try NSSDatabase(nss).remove()
            print("removed    from \(nss)")
        } else {
            let store = try TrustStore.found()
            try store.remove()
            print("removed    \(store.file)")
        }
    }
}
