#!/bin/sh
# Software:    dnsdist, Debian 12: dnsdist 1.7.3-2.
# Input:       300 valid queries on one connection, written 1, 10 or 300 at a time: over TCP, and over TLS, where those
#              written together share TLS records. Behind it is a server that answers all of them.
# Expected:    300 answers in each case. A client may send queries without waiting for answers (RFC 7766 6.2.1.1, RFC 7858
#              3.3), and where a TLS record ends means nothing to what is in it (RFC 8446 5.1).
# Behaviour:   over TCP all are answered; over TLS all are if each has a record of its own. Of 10 in a record some are lost
#              now and then, of 300 all but a few: they never reach the server behind, and after a while dnsdist closes the
#              connection.
# Consequence: a client that writes what is waiting in one go, as is good for throughput, loses queries to its time-out.
#              stub53 gives each query a TLS record of its own.
# Fails when the behaviour is another. Needs apt-get, dpkg, a mirror of Debian 12, openssl and python3; loopback only;
# cleans up.
set -eu
version=1.7.3-2

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
cd "$folder"

packages="dnsdist=$version"
for library in libcap2 libcdb1 libedit2 libfstrm0 libh2o-evloop0.13 liblmdb0 libluajit-5.1-2 libluajit-5.1-common \
    libnghttp2-14 libpci3 libperl5.36 libre2-9 libsensors5 libsnmp40 libsodium23 libwrap0 libwslay1; do
    dpkg -s "$library" >/dev/null 2>&1 || packages="$packages $library"
done
# shellcheck disable=SC2086 # a list
apt-get download -q -q $packages 2>/dev/null
for package in *.deb; do dpkg -x "$package" root; done
LD_LIBRARY_PATH=$(find "$folder/root" -name '*.so*' -printf '%h\n' | sort -u | paste -s -d :)
export LD_LIBRARY_PATH

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 2 \
    -subj /CN=dns.example -addext subjectAltName=DNS:dns.example 2>/dev/null

root/usr/bin/dnsdist --version | sed 's/ (.*//; s/^/version: /; q'
result=0
python3 - "$folder" <<'END' || result=1
import socket, ssl, struct, subprocess, sys, threading, time

folder = sys.argv[1]
TOTAL = 300
ADDRESS = bytes.fromhex("c00c000100010000003c0004c0000201")


def messages(stream):
    """Takes whole messages off the front of a stream's bytes."""
    while len(stream) >= 2 and len(stream) >= 2 + struct.unpack("!H", stream[:2])[0]:
        size = struct.unpack("!H", stream[:2])[0]
        yield bytes(stream[2 : 2 + size])
        del stream[: 2 + size]


def serve(peer):
    stream = bytearray()
    while more := peer.recv(65536):
        stream += more
        for query in messages(stream):
            answer = query[:2] + b"\x81\x80" + query[4:6] + b"\0\1\0\0\0\0" + query[12:] + ADDRESS
            peer.sendall(struct.pack("!H", len(answer)) + answer)


def accept(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def free():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


behind = socket.socket()
behind.bind(("127.0.0.1", 0))
behind.listen(100)
threading.Thread(target=accept, args=(behind,), daemon=True).start()
ports = {"TCP": free(), "TLS": free()}
with open(folder + "/dnsdist.conf", "w") as file:
    file.write(
        f"""setLocal("127.0.0.1:{ports['TCP']}")
addTLSLocal("127.0.0.1:{ports['TLS']}", "{folder}/cert.pem", "{folder}/key.pem")
newServer({{address="127.0.0.1:{behind.getsockname()[1]}"}}):setUp()
setSecurityPollSuffix("")
"""
    )
server = subprocess.Popen(
    [folder + "/root/usr/bin/dnsdist", "--supervised", "--disable-syslog", "-C", folder + "/dnsdist.conf"],
    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def connect(over):
    for _ in range(100):
        try:
            connection = socket.create_connection(("127.0.0.1", ports[over]), timeout=8)
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    if over == "TCP":
        return connection
    context = ssl.create_default_context(cafile=folder + "/cert.pem")
    return context.wrap_socket(connection, server_hostname="dns.example")


def ask(over, together):
    queries = []
    for number in range(1, TOTAL + 1):
        query = struct.pack("!6H", number, 0x100, 1, 0, 0, 0) + b"\4n%03d\7example\0\0\1\0\1" % number
        queries.append(struct.pack("!H", len(query)) + query)
    with connect(over) as connection:
        for first in range(0, TOTAL, together):
            connection.sendall(b"".join(queries[first : first + together]))
        stream, answers, end = bytearray(), set(), ""
        while len(answers) < TOTAL and not end:
            more = connection.recv(65536)
            stream += more
            answers |= {answer[:2] for answer in messages(stream)}
            end = "" if more else ", then dnsdist ends the connection"
    print(f"{over}, {together} at a time: {'all' if len(answers) == TOTAL else 'not all'} answered{end}")
    return len(answers) == TOTAL


try:
    whole = all([ask("TCP", 1), ask("TCP", 10), ask("TCP", 300), ask("TLS", 1)])
    lost = not ask("TLS", 300)
    # Not each time with so few.
    ask("TLS", 10)
finally:
    server.kill()
    server.wait()
sys.exit(0 if whole and lost else 1)
END

if [ $result -eq 0 ]; then echo "as described"; else echo "the behaviour has changed"; fi
exit $result
