# Attacks by everything at once until it is killed, what no policy opens and what some policies do:
#
#   python3 loop.py NUMBER FIRST_PORT TOKEN_PREFIX KINDS
#
# KINDS is a list, with commas, of evil, twin, good, open and learn.

import errno, random, socket, struct, sys, time
number, first_port, prefix, kinds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].split(",")
token, port = f"{prefix}{number}x".encode(), first_port + number
evil = f"192.0.{2 + number // 250}.{number % 250}"
held = []
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.setblocking(False)
lookups = b"".join(bytes([len(p)]) + p for p in (token, b"evil", b"test")) + b"\0" + struct.pack("!2H", 1, 1)
def udp(to, what):
    try: datagrams.sendto(what, to)
    except OSError: pass
def tcp(to):
    one = socket.socket()
    one.setblocking(False)
    one.connect_ex(to)
    held.append(one)
    if len(held) > 40: held.pop(0).close()
stream = None
def http(host):
    global stream
    try:
        if stream is None:
            stream = socket.create_connection(("203.0.113.10", 80), 0.5)
            stream.settimeout(0.5)
        stream.sendall(b"GET /" + token + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
        if not stream.recv(4096): raise OSError
    except OSError:
        if stream: stream.close()
        stream = None
while True:
    if "evil" in kinds:
        tcp((evil, port)); udp((evil, port), token)
        udp(("8.8.8.8", 53), struct.pack("!6H", random.randrange(65536), 256, 1, 0, 0, 0) + lookups)
    if "twin" in kinds: http(b"twin.example")
    if "good" in kinds: http(b"good.example")
    if "open" in kinds: tcp(("203.0.113.20", port)); udp(("203.0.113.20", port), token)
    if "learn" in kinds: udp(("8.8.8.8", 53), struct.pack("!6H", 7, 256, 1, 0, 0, 0) + b"\4good\7example\0" + struct.pack("!2H", 1, 1))
    time.sleep(0.004)
