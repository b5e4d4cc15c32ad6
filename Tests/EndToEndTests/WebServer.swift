import Foundation
import TestSupport

/// A web server of others' make: nginx, with the `server` blocks given, on a loopback address of its own.
struct WebServer {
    /// An address that no other test has; every port of it is free.
    let address: String
    private let folder: TemporaryFolder
    private let program: ProgramProcess

    /// Ports that need no rights.
    static let plain = 8080
    static let secure = 8443

    /// - Parameters:
    ///   - address: where it listens; `ADDRESS` in the blocks stands for it.
    ///   - folder: holds the certificates that the blocks name; `FOLDER` stands for it.
    init(_ blocks: String, address: String = ownLoopbackAddress(), folder: TemporaryFolder) async throws {
        self.address = address
        self.folder = folder
        let configuration = """
            daemon off;
            master_process off;
            pid FOLDER/nginx.pid;
            error_log stderr notice;
            events { worker_connections 64; }
            http {
              access_log off;
              client_body_temp_path FOLDER/body;
              proxy_temp_path FOLDER/proxy;
              fastcgi_temp_path FOLDER/fastcgi;
              uwsgi_temp_path FOLDER/uwsgi;
              scgi_temp_path FOLDER/scgi;
              \(blocks)
            }

            """
            .replacing("ADDRESS", with: address).replacing("FOLDER", with: folder.path)
        let file = try folder.write(configuration, to: "nginx.conf")
        program = try ProgramProcess("/usr/sbin/nginx", ["-c", file, "-e", "stderr"])
        // It listens before it says so.
        _ = try await program.errors.first(containing: "using the \"epoll\" event method")
    }

    /// A block that redirects plain requests to `location`.
    static func redirect(to location: String, port: Int = plain) -> String {
        "server { listen ADDRESS:\(port); return 301 \(location); }\n"
    }

    /// A block that answers by TLS with the certificate `name`, by HTTP/2 where that is chosen.
    static func encrypted(
        _ name: String = "acme", port: Int = secure, http2: Bool = true, more: String = "return 200 \"hello\";"
    ) -> String {
        """
        server {
          listen ADDRESS:\(port) ssl\(http2 ? " http2" : "");
          ssl_protocols TLSv1.3;
          ssl_conf_command Ciphersuites TLS_AES_256_GCM_SHA384;
          ssl_certificate FOLDER/\(name).pem;
          ssl_certificate_key FOLDER/\(name).key;
          \(more)
        }

        """
    }
}

/// Certificates made for a test, by openssl.
struct TestCertificates {
    let folder: TemporaryFolder

    /// Makes `ca.pem`, an authority of the test's own.
    init(in folder: TemporaryFolder) async throws {
        self.folder = folder
        try await openssl([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE",
        ])
    }

    /// Makes `NAME.pem` and `NAME.key`, signed by the authority.
    ///
    /// - Parameter dates: from and to, `YYYYMMDDHHMMSSZ`; nil: from now on for 30 days.
    func issue(_ name: String, for hosts: String..., dates: (from: String, to: String)? = nil) async throws {
        try await openssl([
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "\(name).key",
            "-out", "\(name).csr", "-subj", "/CN=\(hosts[0])",
        ])
        let names = hosts.map { $0.first?.isNumber == true ? "IP:\($0)" : "DNS:\($0)" }.joined(separator: ",")
        try folder.write(
            """
            [ca]
            database = index-\(name).txt
            new_certs_dir = .
            rand_serial = yes
            default_md = sha256
            policy = any
            [any]
            commonName = supplied
            [leaf]
            subjectAltName = \(names)
            extendedKeyUsage = serverAuth

            """, to: "\(name).cnf")
        try folder.write("", to: "index-\(name).txt")
        let validity = dates.map { ["-startdate", $0.from, "-enddate", $0.to] } ?? ["-days", "30"]
        try await openssl(
            [
                "ca", "-batch", "-notext", "-config", "\(name).cnf", "-name", "ca", "-extensions", "leaf", "-cert",
                "ca.pem", "-keyfile", "ca.key", "-in", "\(name).csr", "-out", "\(name).pem",
            ] + validity)
    }

    /// Makes `NAME.pem` and `NAME.key`, signed by itself.
    func selfSign(_ name: String, for host: String) async throws {
        try await openssl([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
            "\(name).key", "-out", "\(name).pem", "-days", "30", "-subj", "/CN=\(host)", "-addext",
            "subjectAltName=DNS:\(host)",
        ])
    }

    private func openssl(_ arguments: [String]) async throws {
        let result = try await Command.run(
            arguments, executable: URL(filePath: "/usr/bin/openssl"), in: folder.path)
        guard result.code == 0 else { throw LineReader.Missing(description: "openssl: \(result.errors)") }
    }
}
