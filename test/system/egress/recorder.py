# Writes down which cases of the attack suite have sent something that arrived in this network namespace, on whatever interface: by the
# case's token anywhere in a frame, by its own address of the attacker, or by its own port. Answers each line of stdin with all of it
# as one line of JSON: {"12": {"count": 3, "first": 1.5, "last": 2.5}}, times in seconds of the wall clock.
#
#   python3 recorder.py TOKEN_PREFIX FIRST_PORT

import json
import re
import socket
import struct
import sys
import threading
import time

prefix, first_port = sys.argv[1].encode(), int(sys.argv[2])
TOKEN = re.compile(prefix + rb"([0-9]+)x")
EVIL_4 = {socket.inet_aton("192.0.2.0")[:3]: 0, socket.inet_aton("192.0.3.0")[:3]: 250}
EVIL_6 = socket.inet_pton(socket.AF_INET6, "2001:db8:bad::")[:14]
OUTGOING = 4
seen = {}


def note(case, now):
    entry = seen.setdefault(str(case), {"count": 0, "first": now, "last": now})
    entry["count"] += 1
    entry["last"] = now


def ports(protocol, rest):
    if protocol not in (6, 17, 132, 136) or len(rest) < 4:
        return
    to = struct.unpack("!H", rest[2:4])[0]
    if 0 < to - first_port < 500:
        yield to - first_port


def cases(frame):
    for match in TOKEN.finditer(frame.lower()):
        yield int(match[1])
    kind = frame[12:14]
    packet = frame[14:]
    if kind == b"\x08\x00" and len(packet) >= 20:
        if packet[16:19] in EVIL_4:
            yield EVIL_4[packet[16:19]] + packet[19]
        yield from ports(packet[9], packet[(packet[0] & 15) * 4 :])
    elif kind == b"\x86\xdd" and len(packet) >= 40:
        if packet[24:38] == EVIL_6:
            yield struct.unpack("!H", packet[38:40])[0]
        yield from ports(packet[6], packet[40:])


def listen():
    while True:
        frame, (_, _, kind, *_) = sniffer.recvfrom(65535)
        if kind == OUTGOING:
            continue
        now = time.time()
        with lock:
            for case in set(cases(frame)):
                note(case, now)


lock = threading.Lock()
sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
sniffer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 20)
threading.Thread(target=listen, daemon=True).start()
print("listening", flush=True)
for _ in sys.stdin:
    # What is on its way through this machine has arrived by then.
    time.sleep(0.05)
    with lock:
        print(json.dumps(seen), flush=True)
