import ArgumentParser
import Glibc
import Platform

/// `stub53 page`: a running daemon's page, in a browser.
struct PageCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "page",
        abstract: "Print a link to a running daemon's page, and open it in the desktop's browser.",
        discussion: """
            The link lets the first browser in that opens it, once and within a minute; that browser then stays in until
            the daemon ends. The daemon's user, root and members of the control socket's group need no link.

            Examples:
              sudo stub53 page
              stub53 page --print
            """)

    @OptionGroup var control: ControlOptions

    @Flag(name: .customLong("print"), help: "Only print the link.")
    var onlyPrints = false

    private struct Link: Decodable { var page: String }

    mutating func run() async throws {
        let link = try await control.client().ask(.post, "/v1/page", as: Link.self).page
        print(link)
        guard !onlyPrints, geteuid() != 0, getenv("DISPLAY") != nil || getenv("WAYLAND_DISPLAY") != nil else { return }
        guard let folder = getenv("XDG_RUNTIME_DIR").map({ String(cString: $0) }), folder.hasPrefix("/") else { return }
        // A command's words are visible to all users, so the browser gets a file, and the link in it. It may read the
        // file late, and the link is soon worth nothing, so the file stays.
        let path = folder + "/stub53-page.html"
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0o600)
        guard file >= 0 else { return }
        let text = Array("<!doctype html><meta http-equiv=\"refresh\" content=\"0; url=\(link)\">\n".utf8)
        let isWritten = write(file, text, text.count) == text.count
        close(file)
        if isWritten { Program.start(["xdg-open", path]) }
    }
}
