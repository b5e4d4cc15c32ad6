#!/usr/bin/env python3
"""What hostile clients, kills, full disks and missing descriptors do to the daemon, with 100 MB of memory.

hostile.py PROGRAM [SECONDS [ATTACK ...]]: each attack lasts SECONDS (default 60). Only loopback is used. While one
runs, an honest client at another address asks over UDP and TCP and reads the metrics; at the end the table says how many
of its requests were lost, how long the longest took, the peak of memory, and the CPU time. Exit code 1: something was
lost, the daemon ended, or the memory was not enough. Needs root for the memory limit and the full disk.
"""

import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

MEMORY = 100 << 20
VICTIM = "127.0.0.9"
HOST = "127.0.0.1"
NOBODY = 65534
ZONE = """$ORIGIN shop.test.
$TTL 3600
@ IN SOA ns hostmaster 1 7200 3600 1209600 300
@ NS ns
ns A 198.51.100.53
www A 198.51.100.7
""" + "".join(f'long TXT "{number} {"x" * 240}"\n' for number in range(250))


def query(name, kind=1, number=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.rstrip(".").split("."))
    return struct.pack(">HHHHHH", number, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def framed(message):
    return struct.pack(">H", len(message)) + message


class Memory:
    """A limit on the memory of one process, by a control group; without one, only its resident memory is known."""

    def __init__(self):
        self.folder = None
        own = next((line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if ":memory:" in line), None)
        base, self.files = ("/sys/fs/cgroup/memory" + own, "v1") if own is not None else ("/sys/fs/cgroup", "v2")
        folder = f"{base}/stub53-hostile-{os.getpid()}"
        try:
            os.mkdir(folder)
            self.folder = folder
            self.write("memory.limit_in_bytes" if self.files == "v1" else "memory.max", MEMORY)
        except OSError as error:
            print(f"no memory limit: {error}", file=sys.stderr)
            self.remove()

    def write(self, name, value):
        with open(f"{self.folder}/{name}", "w") as file:
            file.write(str(value))

    def enter(self):
        if self.folder:
            self.write("cgroup.procs", os.getpid())

    def remove(self):
        if self.folder:
            with contextlib.suppress(OSError):
                os.rmdir(self.folder)
        self.folder = None


class Daemon:
    """stub53 with every service, in a folder of its own."""

    def __init__(self, program, folder, memory, options=(), descriptors=4096):
        self.folder = folder
        os.makedirs(f"{folder}/zones", exist_ok=True)
        with open(f"{folder}/zones/shop.zone", "w") as file:
            file.write(ZONE)
        with open(f"{folder}/hosts", "w") as file:
            file.write("192.0.2.1 over.example\n")
        self.output = f"{folder}/output"
        environment = dict(os.environ, STATE_DIRECTORY=f"{folder}/state", HOME=folder)

        def prepare():
            memory.enter()
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

        self.process = subprocess.Popen(
            [program, "serve", "--hosts", f"{folder}/hosts", "--zones", f"{folder}/zones", "--no-upstream",
             "--listen", f"{HOST}:0", "--listen", f"tls://{HOST}:0", "--listen", f"https://{HOST}:0",
             "--log", "json", "--log-file", f"{folder}/log", "--history", f"{folder}/history.db",
             "--control", f"{folder}/control.sock", "--inspector", f"{HOST}:0", *options],
            stdout=open(self.output, "w"), stderr=subprocess.STDOUT, env=environment, preexec_fn=prepare)
        self.peak = 0
        self.ports = {}
        end = time.time() + 30
        while "page" not in self.ports:
            if time.time() > end or self.process.poll() is not None:
                raise RuntimeError("the daemon does not start:\n" + open(self.output).read())
            time.sleep(0.02)
            for line in open(self.output):
                words = line.split()
                for word in words:
                    if word.startswith(HOST + ":") and len(words) > 1:
                        for service in words[words.index(word) + 1:]:
                            if service in ("udp", "tcp", "dot", "doh"):
                                self.ports[service] = int(word.split(":")[1])
                if words[:1] == ["inspector"] and "http" in line:
                    self.ports["page"] = int(line.rsplit(":", 1)[1].strip("/\n"))

    def status(self, key):
        try:
            with open(f"/proc/{self.process.pid}/status") as file:
                return next((int(line.split()[1]) for line in file if line.startswith(key + ":")), 0)
        except OSError:
            return 0

    def note_memory(self):
        self.peak = max(self.peak, self.status("VmHWM") >> 10)

    def cpu(self):
        try:
            fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            return 0

    def lives(self):
        return self.process.poll() is None

    def stop(self):
        self.note_memory()
        if self.lives():
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                return "does not end"
        return None if self.process.returncode == 0 else f"ended with {self.process.returncode}"


class Victim(threading.Thread):
    """An honest client. A request counts as lost if it has no answer within five seconds."""

    def __init__(self, daemon, services=("udp", "tcp", "page")):
        super().__init__(daemon=True)
        self.server = daemon
        self.services = services
        self.ended = threading.Event()
        self.asked = self.lost = 0
        self.longest = 0.0
        self.problem = ""

    def run(self):
        while not self.ended.wait(0.05):
            for service in self.services:
                start = time.time()
                self.asked += 1
                try:
                    getattr(self, service)(self.server.ports[service])
                except (OSError, AssertionError) as error:
                    self.lost += 1
                    self.problem = f"{service}: {error!r}"
                self.longest = max(self.longest, time.time() - start)
            self.server.note_memory()

    def udp(self, port):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((VICTIM, 0))
            # A flood may fill the socket's buffer: as any resolver's client, it asks again.
            client.settimeout(1)
            for _ in range(4):
                client.sendto(query("www.shop.test"), (HOST, port))
                with contextlib.suppress(TimeoutError):
                    assert client.recv(4096)[7] == 1, "no answer"
                    return
            raise TimeoutError("asked four times")

    def tcp(self, port):
        with connect(port, VICTIM) as client:
            client.sendall(framed(query("over.example")))
            assert client.recv(4096)[9] == 1, "no answer"

    def page(self, port):
        # As another user, who may see numbers only: the page knows its clients by their user. Per thread.
        ctypes.CDLL(None).setfsuid(NOBODY)
        try:
            client = connect(port, VICTIM)
        finally:
            ctypes.CDLL(None).setfsuid(os.getuid())
        with client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert client.recv(12).startswith(b"HTTP/1.1 200"), "no page"
            while client.recv(65536):
                pass

    def end(self):
        self.ended.set()
        self.join()


def connect(port, source=HOST, tls=None, buffer=None):
    client = socket.socket()
    client.settimeout(5)
    if buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    client.bind((source, 0))
    client.connect((HOST, port))
    if not tls:
        return client
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if tls != "dot":
        context.set_alpn_protocols([tls])
    return context.wrap_socket(client)


# HTTP/2 (RFC 9113), as far as these attacks need it.

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def field(name, value):
    def text(string):
        data = string.encode()
        if len(data) < 127:
            return bytes([len(data)]) + data
        rest, size = len(data) - 127, b"\x7f"
        while rest >= 128:
            size += bytes([rest % 128 + 128])
            rest //= 128
        return size + bytes([rest]) + data
    return b"\0" + text(name) + text(value)


def head(path="/dns-query", method="POST"):
    return (field(":method", method) + field(":scheme", "https") + field(":authority", "x") + field(":path", path)
            + field("content-type", "application/dns-message"))


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Attack:
    """Repeats steps from some sources until the time is up; what the daemon does with them does not matter."""

    services = ("udp", "tcp", "page")
    options = ()
    descriptors = 4096

    def __init__(self, daemon, end):
        self.daemon = daemon
        self.end = end
        self.held = []

    def run(self):
        threads = [threading.Thread(target=self.work, args=(f"127.0.1.{number}",), daemon=True) for number in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.release()

    def work(self, source):
        while time.time() < self.end:
            try:
                self.step(source)
            except (OSError, ValueError):
                time.sleep(0.01)

    def step(self, source):
        raise NotImplementedError

    def hold(self, client, most=300):
        self.held.append(client)
        if len(self.held) > most:
            self.held.pop(0).close()

    def release(self):
        for client in self.held:
            with contextlib.suppress(OSError):
                client.close()
        self.held = []


class Packets(Attack):
    """Random, mutated and truncated packets over UDP and TCP."""

    def step(self, source):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((source, 0))
            client.setblocking(False)
            for _ in range(300):
                with contextlib.suppress(BlockingIOError):
                    client.sendto(self.packet(), (HOST, self.daemon.ports["udp"]))
        with connect(self.daemon.ports["tcp"], source) as client:
            client.sendall(b"".join(framed(self.packet()) for _ in range(20)))
        time.sleep(0.01)

    @staticmethod
    def packet():
        message = bytearray(query(random.choice(["www.shop.test", "over.example", "a.b.c.d.example"]),
                                  random.randrange(65536), random.randrange(65536)))
        for _ in range(random.randrange(6)):
            message[random.randrange(len(message))] = random.randrange(256)
        if random.random() < 0.3:
            message = message[:random.randrange(len(message) + 1)]
        if random.random() < 0.2:
            message += os.urandom(random.randrange(600))
        return bytes(message)


class Connections(Attack):
    """As many connections as there are, to every service, some with a part of a message."""

    def step(self, source):
        for service in ("tcp", "dot", "doh", "page"):
            client = connect(self.daemon.ports[service], source)
            client.sendall(random.choice([b"", b"\0", b"\x16\x03\x01", b"GET / HT"]))
            self.hold(client, 3000)


class Bodies(Attack):
    """DNS over HTTPS: 99 requests at once on each connection, with long bodies that don't end."""

    def step(self, source):
        client = connect(self.daemon.ports["doh"], source, "h2")
        client.sendall(PREFACE + frame(4, 0, 0))
        self.hold(client)
        client.settimeout(0.5)
        for number in range(99):
            client.sendall(frame(1, 4, 2 * number + 1, head()))
        for number in range(99):
            client.sendall(frame(0, 0, 2 * number + 1, b"x" * 16000))


class Heads(Attack):
    """Heads of requests that are long, or don't end, in HTTP/1.1 and HTTP/2, to the page and for DNS."""

    def step(self, source):
        client = connect(self.daemon.ports["page"], source)
        self.hold(client)
        client.settimeout(0.5)
        client.sendall(b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (number, b"y" * 4000) for number in range(100)))
        client = connect(self.daemon.ports["doh"], source, "http/1.1")
        self.hold(client)
        client.settimeout(0.5)
        client.sendall(b"POST /dns-query HTTP/1.1\r\n" + b"x: " + b"y" * 90_000)
        client = connect(self.daemon.ports["doh"], source, "h2")
        self.hold(client)
        client.settimeout(0.5)
        client.sendall(PREFACE + frame(4, 0, 0) + frame(1, 0, 1, head("/dns-query?" + "x" * 12_000)))
        for _ in range(40):
            client.sendall(frame(9, 0, 1, field("x", "y" * 4000)))


class Unread(Attack):
    """Long answers that nobody reads, over TCP, TLS and HTTPS."""

    def step(self, source):
        questions = framed(query("long.shop.test", 16)) * 60
        client = connect(self.daemon.ports["tcp"], source, buffer=4096)
        self.hold(client)
        client.sendall(questions)
        client = connect(self.daemon.ports["dot"], source, "dot", buffer=4096)
        self.hold(client)
        client.sendall(questions)
        client = connect(self.daemon.ports["doh"], source, "http/1.1", buffer=4096)
        self.hold(client)
        with contextlib.suppress(TimeoutError):
            client.settimeout(0.5)
            client.sendall(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)
        # No window for any answer.
        client = connect(self.daemon.ports["doh"], source, "h2", buffer=4096)
        self.hold(client)
        client.sendall(PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, 0)))
        for number in range(60):
            client.sendall(frame(1, 4, 2 * number + 1, head()))
            client.sendall(frame(0, 1, 2 * number + 1, query("long.shop.test", 16)))


class Page(Attack):
    """Event streams, heavy searches, forms that don't end."""

    words = "%20".join(f"name:*{number}x*y*" for number in range(60))

    def step(self, source):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((source, 0))
            for _ in range(50):
                client.sendto(query(f"n{random.randrange(10**9)}.example"), (HOST, self.daemon.ports["udp"]))
        for line in (f"GET /events?q={self.words}", f"GET /?q={self.words}", "GET /names?q=9"):
            client = connect(self.daemon.ports["page"], source, buffer=4096)
            self.hold(client)
            client.sendall(line.encode() + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        client = connect(self.daemon.ports["page"], source)
        self.hold(client)
        client.sendall(b"POST /overrides HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://127.0.0.1\r\n"
                       b"Content-Length: 9000\r\n\r\nname=")


class Descriptors(Attack):
    """More connections than there are descriptors; the honest client's UDP is served meanwhile, and all of it after."""

    services = ("udp",)
    descriptors = 150

    def step(self, source):
        for service in ("tcp", "dot", "doh", "page"):
            self.hold(connect(self.daemon.ports[service], source), 400)
        time.sleep(0.05)

    def run(self):
        start = self.daemon.cpu()
        super().run()
        victim = Victim(self.daemon)
        end = time.time() + 15
        while True:
            try:
                for service in ("tcp", "page"):
                    getattr(victim, service)(self.daemon.ports[service])
                break
            except (OSError, AssertionError):
                if time.time() > end:
                    raise
                time.sleep(0.1)
        self.note = f"{self.daemon.cpu() - start:.1f} s CPU"


ATTACKS = [Packets, Connections, Bodies, Heads, Unread, Page, Descriptors]


def attack(kind, program, folder, seconds):
    memory = Memory()
    daemon = Daemon(program, folder, memory, kind.options, kind.descriptors)
    victim = Victim(daemon, kind.services)
    before = daemon.cpu()
    victim.start()
    work = kind(daemon, time.time() + seconds)
    problem = None
    try:
        work.run()
    except (OSError, AssertionError) as error:
        problem = f"not served afterwards: {error!r}"
    victim.end()
    cpu = daemon.cpu() - before
    if not daemon.lives():
        problem = f"the daemon ended: {daemon.process.returncode}"
    ended = daemon.stop()
    memory.remove()
    problem = problem or ended or (f"last {victim.problem}" if victim.lost else None)
    return victim.asked, victim.lost, victim.longest, daemon.peak, cpu, problem


def kills(program, folder, seconds):
    """Kills with SIGKILL: no answered lookup may miss in the log, and none that was in the history."""
    asked = lost = peak = 0
    end = time.time() + seconds
    rounds = 0
    problem = None
    while time.time() < end or rounds == 0:
        rounds += 1
        memory = Memory()
        daemon = Daemon(program, folder, memory)
        answered = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind((VICTIM, 0))
            client.settimeout(5)
            until = time.time() + random.uniform(0.3, 1.5)
            while time.time() < until:
                name = f"r{rounds}n{asked}.shop.test"
                client.sendto(query(name), (HOST, daemon.ports["udp"]))
                client.recv(4096)
                asked += 1
                answered.append((name, time.time()))
        # The log is written in short intervals: what was answered in the last one may be missing.
        time.sleep(0.3)
        daemon.note_memory()
        peak = max(peak, daemon.peak)
        daemon.process.kill()
        daemon.process.wait()
        memory.remove()
        logged = set()
        # Also in those that have become too large and were moved.
        for path in [f"{folder}/{name}" for name in os.listdir(folder) if name.split(".")[0] == "log"]:
            for line in open(path, errors="replace"):
                with contextlib.suppress(ValueError):
                    logged.add(json.loads(line).get("name", "").rstrip("."))
        lost += sum(name not in logged for name, _ in answered)
        with sqlite3.connect(f"{folder}/history.db") as history:
            if history.execute("PRAGMA integrity_check").fetchone() != ("ok",):
                problem = "the history is damaged"
    return asked, lost, 0.0, peak, 0.0, problem or (f"{lost} lookups missing in the log" if lost else None), rounds


def full_disk(program, folder, seconds):
    """A disk of two megabytes for log and history: answers go on, and both are written again when there is room."""
    disk = f"{folder}/disk"
    os.makedirs(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        memory = Memory()
        daemon = Daemon(program, folder, memory,
                        ["--log-file", f"{disk}/log", "--history", f"{disk}/history.db"])
        victim = Victim(daemon)
        victim.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(1)
            end = time.time() + seconds
            number = 0
            while time.time() < end:
                number += 1
                client.sendto(query(f"f{number}.shop.test"), (HOST, daemon.ports["udp"]))
                with contextlib.suppress(OSError):
                    client.recv(4096)
        free = os.statvfs(disk).f_bavail
        subprocess.run(["mount", "-o", "remount,size=200m", disk], check=True)
        problem = None if free == 0 else "the disk was not full"
        before = os.path.getsize(f"{disk}/log")
        end = time.time() + 10
        while os.path.getsize(f"{disk}/log") == before:
            if time.time() > end:
                problem = "nothing is logged although there is room again"
                break
            time.sleep(0.05)
        victim.end()
        cpu = daemon.cpu()
        problem = problem or daemon.stop() or (f"last {victim.problem}" if victim.lost else None)
        memory.remove()
        return victim.asked, victim.lost, victim.longest, daemon.peak, cpu, problem
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def main():
    program = sys.argv[1]
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60
    wanted = [name.lower() for name in sys.argv[3:]]
    resource.setrlimit(resource.RLIMIT_NOFILE, (16384, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runs = [(kind.__name__.lower(), lambda folder, kind=kind: attack(kind, program, folder, seconds)) for kind in ATTACKS]
    runs.append(("kills", lambda folder: kills(program, folder, seconds)[:6]))
    if os.getuid() == 0:
        runs.append(("disk", lambda folder: full_disk(program, folder, seconds)))
    print(f"{'attack':<12} {'asked':>7} {'lost':>5} {'longest':>9} {'peak':>8} {'CPU':>7}", flush=True)
    failed = False
    for name, run in runs:
        if wanted and name not in wanted:
            continue
        folder = tempfile.mkdtemp(prefix="stub53-hostile-")
        try:
            asked, lost, longest, peak, cpu, problem = run(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        failed = failed or lost > 0 or problem is not None
        print(f"{name:<12} {asked:>7} {lost:>5} {longest * 1000:>6.0f} ms {peak:>5} MB {cpu:>5.1f} s"
              + (f"  {problem}" if problem else ""), flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
