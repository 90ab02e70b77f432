# What a case about secrets has at hand beside prelude.py. Each gives everything that it has read, as that is where a secret would be.

import h2.config
import h2.connection
import h2.events
import hpack
import hyperframe.frame

ADDRESSES = {name: socket.gethostbyname(name) for name in FACTS["names"]}
API, TWIN, PLAIN, FREE = (f"{name}.bound.example" for name in ("api", "twin", "plain", "free"))
H2, H2TWIN, H2FREE, STRANGER = (f"{name}.bound.example" for name in ("h2", "h2twin", "h2free", "stranger"))
PLACEHOLDER = FACTS["placeholder"]
OLD_TLS = (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
READ_S = 2.5


def dial(name=API, number=443, sni=None, address=None, alpn=None, versions=None, over=None):
    """A connection by TLS; `sni=""` names nobody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if versions:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version, context.maximum_version = versions
    if alpn:
        context.set_alpn_protocols(alpn)
    plain = over or open_plain(name, number, address)
    return context.wrap_socket(plain, server_hostname=name if sni is None else (sni or None))


def open_plain(name=PLAIN, number=80, address=None):
    one = socket.create_connection((address or ADDRESSES[name], number), 3)
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def tunnel_to(name, number=443):
    """Through the proxy."""
    one = socket.create_connection((GATEWAY, int(FACTS["proxyPort"])), 3)
    one.sendall(f"CONNECT {name}:{number} HTTP/1.1\r\nHost: {name}:{number}\r\n\r\n".encode())
    one.recv(4096)
    return one


def read_all(one):
    one.settimeout(READ_S)
    got = b""
    try:
        while len(got) < 1 << 18 and (more := one.recv(65536)):
            got += more
    except OSError as error:
        got += f" <{type(error).__name__}>".encode()
    return got.decode("latin1")


def say(one, *pieces):
    with one:
        try:
            for at, piece in enumerate(pieces):
                if at:
                    time.sleep(0.03)
                one.sendall(piece if isinstance(piece, bytes) else piece.encode("latin1"))
        except OSError as error:
            return f"<{type(error).__name__}> " + read_all(one)
        return read_all(one)


def target(what="ok", root="/v1", query=""):
    return f"{root}/{what}/{token()}{query}"


def request(what="ok", method="GET", host=API, more="", body="", path=None, end="Connection: close\r\n\r\n"):
    """One request, as text."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {path or target(what)} HTTP/1.1\r\nHost: {host}\r\n{more}{length}{end}{body}"


def ask(what="ok", name=API, **more):
    return say(dial(name), request(what, host=name, **more))


def ask_plain(what="ok", name=PLAIN, number=80, **more):
    return say(open_plain(name, number), request(what, host=name, **more))


def raw(*pieces, name=API):
    """Bytes by hand: HOST, PATH and ADMIN stand for a case's own."""
    kept = {"HOST": name, "PATH": target(), "ADMIN": target(root="/admin"), "TOKEN": token()}
    made = [re.sub("HOST|PATH|ADMIN|TOKEN", lambda found: kept[found[0]], piece) for piece in pieces]
    return say(dial(name), *made)


def smuggled(head, body):
    """A POST whose body has another request in it, for whoever takes its end to be elsewhere."""
    return raw(f"POST PATH HTTP/1.1\r\nHost: HOST\r\n{head}\r\n{body}")


INNER = "GET ADMIN HTTP/1.1\r\nHost: HOST\r\nX: "


def curl(*arguments):
    done = subprocess.run(
        ["curl", "-sSki", "-m", "6", "--path-as-is", *arguments], capture_output=True, timeout=10
    )
    return (done.stdout + done.stderr).decode("latin1")


# HTTP/2


def fields(path=None, method="GET", authority=H2, scheme="https", more=()):
    path = target() if path is None else path
    return [(":method", method), (":scheme", scheme), (":authority", authority), (":path", path), *more]


def http2(*heads, name=H2, body=None, trailers=None, push=False, over=None):
    """A stream for each head; gives all that was read, in order."""
    config = h2.config.H2Configuration(
        client_side=True,
        header_encoding="latin1",
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
        validate_inbound_headers=False,
    )
    with over or dial(name, alpn=["h2"]) as one:
        if one.selected_alpn_protocol() != "h2":
            return f"it speaks {one.selected_alpn_protocol()}"
        state = h2.connection.H2Connection(config)
        state.initiate_connection()
        if not push:
            state.update_settings({h2.settings.SettingCodes.ENABLE_PUSH: 0})
        left = set()
        for head in heads:
            stream = state.get_next_available_stream_id()
            left.add(stream)
            state.send_headers(stream, head, end_stream=body is None and trailers is None)
            if body is not None:
                state.send_data(stream, body, end_stream=trailers is None)
            if trailers is not None:
                state.send_headers(stream, trailers, end_stream=True)
        one.sendall(state.data_to_send())
        return "\n".join(heard(one, state, left))


def heard(one, state, left):
    one.settimeout(READ_S)
    lines = []
    try:
        while left and (more := one.recv(65536)):
            for event in state.receive_data(more):
                lines.append(f"{type(event).__name__} {getattr(event, 'headers', '')} {getattr(event, 'data', '')}")
                if isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    left.discard(event.stream_id)
                if isinstance(event, h2.events.ConnectionTerminated):
                    left.clear()
            one.sendall(state.data_to_send())
    except Exception as error:
        lines.append(f"<{type(error).__name__} {error}>")
    return lines


def http2_frames(*frames, name=H2):
    """Frames by hand, after the opening."""
    with dial(name, alpn=["h2"]) as one:
        opening = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hyperframe.frame.SettingsFrame(0).serialize()
        try:
            one.sendall(opening)
            for each in frames:
                one.sendall(each if isinstance(each, bytes) else each.serialize())
        except OSError as error:
            return f"<{type(error).__name__}> " + read_all(one)
        return read_all(one)


def block(head):
    return hpack.Encoder().encode(head)


def head_frame(stream, data, *flags):
    return hyperframe.frame.HeadersFrame(stream, data, flags=flags)


def continuations(count):
    """A head that never ends."""
    frames = [head_frame(1, block(fields()))]
    more = block([("x-more", "y" * 4000)])
    return [*frames, *(hyperframe.frame.ContinuationFrame(1, more) for _ in range(count))]


def bomb():
    """One long field, and then a thousand times the byte that stands for it."""
    encoder = hpack.Encoder()
    first = encoder.encode([*fields(), ("x-long", "y" * 3900)])
    return [head_frame(1, first + b"\xbe" * 4000, "END_HEADERS", "END_STREAM")]


def resets(count):
    frames = []
    for at in range(count):
        stream = 2 * at + 1
        frames.append(head_frame(stream, block(fields(path=target("ok"))), "END_HEADERS", "END_STREAM"))
        frames.append(hyperframe.frame.RstStreamFrame(stream, 8))
    return [b"".join(each.serialize() for each in frames)]


# What lies in the sandbox itself


def shell(command, timeout=45):
    done = subprocess.run(["sh", "-c", command], capture_output=True, timeout=timeout)
    return (done.stdout + done.stderr).decode("latin1")


def certificate():
    """That of the bound server, as the sandbox is shown it, and the authority, as PEM."""
    with dial(API) as one:
        shown = ssl.DER_cert_to_PEM_cert(one.getpeercert(True))
    return shown + open("/opt/opensandbox/mitmproxy-ca-cert.pem").read()
