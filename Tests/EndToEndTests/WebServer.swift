import Foundation
import TestSupport

/// nginx as a real web server, with the given `server` blocks, on its own loopback address.
struct WebServer {
    /// An address that no other test uses; all of its ports are free.
    let address: String
    private let folder: TemporaryFolder
    private let program: ProgramProcess

    /// Unprivileged ports.
    static let plain = 8080
    static let secure = 8443

    /// - Parameters:
    ///   - address: where it listens; replaces `ADDRESS` in the blocks.
    ///   - folder: holds the certificates that the blocks name; replaces `FOLDER`.
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
        // It logs this after it has begun to listen.
        _ = try await program.errors.first(containing: "using the \"epoll\" event method")
    }

    /// A block that redirects plain requests to `location`.
    static func redirect(to location: String, port: Int = plain) -> String {
        "server { listen ADDRESS:\(port); return 301 \(location); }\n"
    }

    /// A block that answers over TLS with the certificate `name`, and over HTTP/2 if negotiated.
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

    /// Makes `ca.pem`, an authority for this test.
    init(in folder: TemporaryFolder) async throws {
        self.folder = folder
        try await openssl([
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "ca.key",
            "-out", "ca.pem", "-days", "30", "-subj", "/CN=Test CA", "-addext", "basicConstraints=critical,CA:TRUE",
        ])
    }

    /// Makes `NAME.pem` and `NAME.key`, signed by the authority.
    ///
    /// - Parameter dates: from and to, `YYYYMMDDHHMMSSZ`; nil: valid for 30 days from now.
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

    /// Makes a self-signed `NAME.pem` and `NAME.key`.
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
