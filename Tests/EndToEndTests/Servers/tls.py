#!/usr/bin/env python3
"""A DNS-over-TLS server with a fault: tls.py CERTIFICATE KEY FAULT. Prints its port, then a line for each connection,
and one when the client has closed it.

Any name has the address 192.0.2.1.
"""

import socket
import ssl
import struct
import sys
import threading
import time

certificate, key, fault = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0), backlog=64)
print(listener.getsockname()[1], flush=True)


def answer(query):
    end = query.index(0, 12) + 5
    if fault == "other-question":
        query = query[:12] + b"\5other" + query[query.index(0, 12):]
        end = query.index(0, 12) + 5
    record = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\1"
    message = query[:2] + struct.pack(">HHHHH", 0x8180, 1, 1, 0, 0) + query[12:end] + record
    return struct.pack(">H", len(message)) + message


def read(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(plain, number):
    if fault == "hangs" or fault == "hangs-once" and number == 1:
        plain.recv(1)
        time.sleep(3600)
    with context.wrap_socket(plain, server_side=True) as connection:
        print("connection", number, flush=True)
        count = 0
        held = []
        while True:
            query = read(connection, struct.unpack(">H", read(connection, 2))[0])
            count += 1
            reply = answer(query)
            if fault == "dies-once" and number == 1 and count > 1:
                # Neither answers nor closing: a middlebox has forgotten the connection.
                time.sleep(3600)
            if fault == "reversed":
                held.append(reply)
                if len(held) < 10:
                    continue
                reply = b"".join(reversed(held))
                held = []
            if fault == "drips":
                for byte in reply:
                    connection.sendall(bytes([byte]))
                continue
            if fault == "cut" and number < 3:
                connection.sendall(reply[:20])
                return
            connection.sendall(reply)
            if fault == "closes" or fault == "closes-after-100" and count == 100:
                return
            if fault == "closes-idle":
                connection.settimeout(0.3)


def run(plain, number):
    try:
        serve(plain, number)
    except EOFError:
        print("closed", number, flush=True)
    except OSError:
        pass
    finally:
        plain.close()


number = 0
while True:
    client, _ = listener.accept()
    number += 1
    threading.Thread(target=run, args=(client, number), daemon=True).start()
