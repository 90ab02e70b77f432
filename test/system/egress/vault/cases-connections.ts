// HTTP/2 as no library speaks it, older and other protocols, servers that are not who they say, and other ports and addresses.

import { type Row, rows, type VaultCase } from './case.ts'

const UNGIVEN = { arrives: 'plain' } as const
const NOTHING = { arrives: 'nothing' } as const
const WRONG_HOST = { arrives: 'nothing', reads: /421|400/ } as const
const UNPROVED = {
  arrives: 'nothing',
  reads: /502[\s\S]*(?:does not prove|cannot be)/,
  event: /does not prove|cannot be/,
} as const

const stream = (id: string, what: string, head: string, more: Row[3] = NOTHING): Row => [
  id,
  what,
  `http2(${head})`,
  more,
]

export const CONNECTIONS: readonly VaultCase[] = [
  ...rows('V-h2', [
    stream(
      'late',
      'a pseudo field after the others',
      '[(":method", "GET"), (":scheme", "https"), (":authority", H2), ("x", "y"), (":path", target())]',
    ),
    stream('twice', 'a path twice', '[*fields(), (":path", target(root="/admin"))]'),
    stream('authority-twice', 'an authority twice', '[*fields(), (":authority", STRANGER)]'),
    stream('unknown', 'a pseudo field that there is not', '[*fields(), (":token", "x")]'),
    stream('upper', 'a name in large letters', 'fields(more=[("X-Upper", "y")])'),
    stream('crlf', 'a value with another line in it', 'fields(more=[("x", "y\\r\\nauthorization: mine")])', {
      lacks: /mine/,
    }),
    stream('nul', 'a value with a NUL', 'fields(more=[("x", "y\\0z")])', { lacks: /\0/ }),
    stream(
      'crlf-path',
      'a path with another request in it',
      'fields(path="/v1/ok HTTP/1.1\\r\\nHost: x\\r\\n\\r\\nGET /admin/" + token())',
    ),
    stream('blank-path', 'a path with a blank', 'fields(path=target() + " x")'),
    stream('no-slash', 'a path without a slash', 'fields(path="v1/ok/" + token())'),
    stream('absolute', 'a path with a server', 'fields(path=f"https://{STRANGER}{target()}")'),
    stream('star', 'a path that is for the whole server', 'fields(path="*")', {}),
    stream('method', 'a method with a blank', 'fields(method="GET /admin")'),
    stream('host', 'a Host unlike the authority', 'fields(more=[("host", STRANGER)])', WRONG_HOST),
    stream(
      'authority',
      'another authority: it turns to who is not bound',
      'fields(authority=STRANGER)',
      WRONG_HOST,
    ),
    stream(
      'coalesced',
      'a stream for a bound server of the same certificate',
      'fields(), fields(authority=H2TWIN, path=target(root="/v1/twin"))',
      { reads: /421/, lacks: /twin/ },
    ),
    stream(
      'coalesced-free',
      'a stream for a server of the same certificate that is not bound',
      'fields(), fields(authority=H2FREE, path=target(root="/v1/free"))',
      { reads: /421/, lacks: /free/ },
    ),
    stream('authority-port', 'an authority with another port', 'fields(authority=H2 + ":8443")', WRONG_HOST),
    stream('authority-user', 'an authority with a user', 'fields(authority="x@" + H2)', NOTHING),
    stream(
      'no-authority',
      'no authority, and another Host',
      '[(":method", "GET"), (":scheme", "https"), (":path", target()), ("host", STRANGER)]',
      NOTHING,
    ),
    stream('scheme', 'another scheme', 'fields(scheme="http")', NOTHING),
    stream('connection', 'a field of the connection', 'fields(more=[("connection", "authorization")])'),
    stream('te', 'a TE other than trailers', 'fields(more=[("te", "gzip")])'),
    stream(
      'coding',
      'a transfer coding',
      'fields(method="POST", more=[("transfer-encoding", "chunked")]), body=b"0\\r\\n\\r\\n"',
    ),
    stream(
      'length',
      'a body that is longer than it says',
      'fields(method="POST", more=[("content-length", "1")]), body=b"longer"',
      {},
    ),
    stream('connect', 'CONNECT', '[(":method", "CONNECT"), (":authority", STRANGER + ":443")]'),
    stream(
      'connect-extended',
      'CONNECT for another protocol',
      '[*fields(method="CONNECT"), (":protocol", "websocket")]',
    ),
    stream(
      'own',
      'a field that a server may take for the secret',
      'fields(more=[("authorization", "mine"), ("authorization", "mine")])',
      { arrives: 'secret', lacks: /mine/ },
    ),
    stream(
      'trailers',
      'the same in trailers',
      'fields(method="POST"), body=b"b", trailers=[("authorization", "mine"), ("x-http-method-override", "DELETE"), ("x-kept", "1")]',
      { arrives: 'secret', lacks: /mine|override/ },
    ),
    ['bomb', 'a head that is small packed and large unpacked', 'http2_frames(*bomb())', NOTHING],
    ['continuation', 'a head without an end', 'http2_frames(*continuations(400))', NOTHING],
    ['resets', 'streams that are begun and broken off', 'http2_frames(*resets(2000))', { isAlone: true }],
    [
      'after',
      'control: after all of that',
      'http2(fields())',
      { arrives: 'secret', reads: /answered/, isAlone: true },
    ],
  ]),
  ...rows('V-downgrade', [
    ['tls-1.0', 'TLS 1.0 and 1.1 of the sandbox', 'say(dial(versions=OLD_TLS), request())', NOTHING],
    ['plain', 'plain HTTP where only https is bound', 'ask_plain(name=API)', UNGIVEN],
    ['plain-tls', 'TLS where only plain HTTP is bound', 'ask(name=PLAIN)', UNGIVEN],
    ['plain-443', 'plain HTTP at the port of TLS', 'ask_plain(name=API, number=443)', NOTHING],
    ['tls-80', 'TLS at the port of plain HTTP', 'say(dial(PLAIN, 80), request(host=PLAIN))', NOTHING],
    ['old', 'a server with TLS 1.1', 'ask(name="old.bound.example")', { arrives: 'nothing', reads: /502/ }],
    ['self', 'a server with a certificate of its own', 'ask(name="self.bound.example")', UNPROVED],
    ['expired', 'a server with a certificate of yesterday', 'ask(name="expired.bound.example")', UNPROVED],
    ['wrong', 'a server with a certificate for another name', 'ask(name="wrong.bound.example")', UNPROVED],
    ['alpn-other', 'a protocol that is not read', 'say(dial(alpn=["acme-tls/1"]), request())', UNGIVEN],
    ['alpn-h2', 'HTTP/2 alone, for a server that has none', 'say(dial(alpn=["h2"]), request())', {}],
    [
      'alpn-both',
      'HTTP/1 spoken where HTTP/2 was agreed on',
      'say(dial(H2, alpn=["h2"]), request(host=H2))',
      NOTHING,
    ],
    [
      'alpn-10',
      'HTTP/1.0 as the protocol',
      'say(dial(alpn=["http/1.0", "http/1.1"]), request())',
      { arrives: 'secret' },
    ],
  ]),
  ...rows('C1-server', [
    [
      'stranger',
      'the bound name in the handshake, at the address of a stranger',
      'say(dial(API, address=ADDRESSES[STRANGER]), request())',
    ],
    ['stranger-host', 'the bound name as Host, to a stranger', 'say(dial(STRANGER), request(host=API))'],
    [
      'stranger-plain',
      'the bound name as Host, to a stranger, by plain HTTP',
      'say(open_plain(PLAIN, address=ADDRESSES[STRANGER]), request(host=PLAIN))',
    ],
    ['stranger-proxy', 'the same through the proxy', 'say(dial(API, over=tunnel_to(STRANGER)), request())'],
    [
      'evil',
      'the bound name at an address of nobody',
      'say(dial(API, address="192.0.3.251"), request())',
      NOTHING,
    ],
    [
      'evil-plain',
      'the bound name at an address of nobody, by plain HTTP',
      'say(open_plain(PLAIN, address="192.0.3.251"), request(host=PLAIN))',
      NOTHING,
    ],
    [
      'same-address',
      'the bound name at its address, by another name in the handshake',
      'say(dial(FREE), request(host=API))',
    ],
    ['unbound', 'a server of the same address that is not bound', 'ask(name=FREE)', UNGIVEN],
    ['unbound-plain', 'the same by plain HTTP', 'ask_plain(name=FREE)', UNGIVEN],
    [
      'other-secret',
      'a bound server of the same address, by the connection of another',
      'say(dial(TWIN), request(host=API))',
      WRONG_HOST,
    ],
    ['no-name', 'a handshake that names nobody', 'say(dial(sni=""), request())'],
    [
      'port',
      'another port of the bound server',
      'say(dial(number=8443), request(host=API + ":8443"))',
      UNGIVEN,
    ],
    [
      'port-host',
      'another port, and the Host of the bound one',
      'say(dial(number=8443), request())',
      UNGIVEN,
    ],
    ['dot', 'the name with a dot at its end', 'say(dial(sni=API), request(host=API + "."))', {}],
    [
      'own-listener',
      'a listener of the sandbox itself, by the bound name',
      'say(open_plain(PLAIN, number=18080, address="127.0.0.1"), request(host=PLAIN))',
      NOTHING,
    ],
  ]),
]
