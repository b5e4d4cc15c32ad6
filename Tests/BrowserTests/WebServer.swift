import Foundation
import TestSupport

/// nginx on its own loopback address: port 80 redirects to https; port 443 has TLS and HTTP/2, but no HTTP/3.
///
/// It records requests, and also connections and datagrams without requests.
final class WebServer: Sendable {
    static let isInstalled = FileManager.default.isExecutableFile(atPath: "/usr/sbin/nginx")

    let address = ownLoopbackAddress()
    private let folder: TemporaryFolder
    private let program: ProgramProcess
    /// Receives attempts at HTTP/3, which get no answer.
    private let datagramPort: Int32

    /// `name`: the text of its page. `certificate` with its key: PEM files.
    init(_ name: String, certificate: (certificate: String, key: String)) async throws {
        let folder = try TemporaryFolder()
        self.folder = folder
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map { "\($0)_temp_path \(folder.path)/temporary;" }.joined(separator: " ")
        let file = try folder.write(
            """
            daemon off;
            master_process off;
            pid \(folder.path)/pid;
            error_log stderr;
            events {}
            http {
                \(temporary)
                log_format seen '$scheme $request_method $request_uri $server_protocol $status';
                access_log \(folder.path)/seen seen;
                default_type text/html;
                server {
                    listen \(address):80;
                    location / { return 301 https://$host$request_uri; }
                    location /connections { access_log off; default_type text/plain; return 200 $connection; }
                }
                server {
                    listen \(address):443 ssl http2;
                    ssl_certificate \(certificate.certificate);
                    ssl_certificate_key \(certificate.key);
                    location / {
                        return 200 '<!doctype html><link rel="icon" href="data:,"><p>\(name), $scheme, $server_protocol</p>';
                    }
                }
            }

            """, to: "nginx.conf")
        datagramPort = socket(AF_INET, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard bindLoopback(datagramPort, 443, at: address) != nil else {
            throw LineReader.Missing(description: "UDP port 443 of \(address): \(String(cString: strerror(errno)))")
        }
        program = try ProgramProcess("/usr/sbin/nginx", ["-e", "stderr", "-c", file], folder: folder.path)
        // Written once it listens.
        let pid = folder.file("pid")
        do {
            try await eventually("nginx") { FileManager.default.fileExists(atPath: pid) }
        } catch {
            throw LineReader.Missing(description: "\(error)\n\(program.errors.all.joined(separator: "\n"))")
        }
    }

    deinit { close(datagramPort) }

    /// The requests so far, such as `https GET / HTTP/2.0 200`.
    func requests() throws -> [String] {
        try String(contentsOfFile: folder.file("seen"), encoding: .utf8).split(separator: "\n").map(String.init)
    }

    /// The number of TCP connections. Call it once only: it makes a connection itself.
    func connections() async throws -> Int {
        let number = try await Command.run(
            ["--silent", "--show-error", "--noproxy", "*", "http://\(address)/connections"],
            executable: URL(filePath: "/usr/bin/curl"))
        guard let number = Int(number.output) else { throw LineReader.Missing(description: "\(number)") }
        return number - 1
    }

    /// The number of datagrams to port 443 since the last call: attempts at HTTP/3.
    func datagrams() -> Int {
        var count = 0
        var byte: UInt8 = 0
        while recv(datagramPort, &byte, 1, Int32(MSG_DONTWAIT)) >= 0 { count += 1 }
        return count
    }
}
