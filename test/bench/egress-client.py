# How long things take for a client, as one line of JSON, milliseconds each:
#   python3 egress-client.py dns SERVER NAME      a name of one name server, again and again
#   python3 egress-client.py new SERVER NAME      names below that one, each for the first time
#   python3 egress-client.py http ADDRESS NAME    a new connection, a request and its answer, again and again

import json
import socket
import struct
import sys
import time

what, address, name = sys.argv[1:]
WARM = 50


def timed(count, act):
    times = []
    for n in range(count + WARM):
        began = time.perf_counter()
        act()
        if n >= WARM:
            times.append((time.perf_counter() - began) * 1000)
    return times


def ask():
    one.send(question)
    if not one.recv(4096)[3] & 15 == 0:
        sys.exit("the name does not resolve")


def get():
    with socket.create_connection((address, 80), 5) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while True:
            part = connection.recv(65536)
            if not part:
                break
            got += part
        if b" 200 " not in got[:20]:
            sys.exit(f"the answer was {got[:100]}")


def question_for(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!6H", 7, 256, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


def ask_new():
    global question, asked
    asked += 1
    question = question_for(f"n{asked}.{name}")
    ask()


if what in ("dns", "new"):
    question = question_for(name)
    asked = 0
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.settimeout(5)
    one.connect((address, 53))
    print(json.dumps(timed(2000, ask) if what == "dns" else timed(200, ask_new)))
else:
    # In four rounds ports come round, which takes some 3000 connections.
    print(json.dumps(timed(1000, get)))
