// Requests that two readers could understand differently, and those that name other servers than their connection.

import { type Row, rows, type VaultCase } from './case.ts'

const REFUSED = { arrives: 'nothing', reads: /^HTTP\/1\.1 4\d\d/ } as const
const WRONG_HOST = {
  arrives: 'nothing',
  reads: /^HTTP\/1\.1 (?:421|400)/,
  event: /another server|names no host/,
} as const
const WHOLE = { lacks: /^GET \/admin/m } as const

const smuggle = (id: string, what: string, head: string, body: string, more: Row[3] = REFUSED): Row => [
  id,
  what,
  `smuggled(${JSON.stringify(head)}, ${JSON.stringify(body)}.replace("INNER", INNER))`,
  more,
]
const head = (id: string, what: string, text: string, more: Row[3] = REFUSED): Row => [
  id,
  what,
  `raw(${JSON.stringify(text)})`,
  more,
]

export const REQUESTS: readonly VaultCase[] = [
  ...rows('V-smuggle', [
    smuggle(
      'cl-te',
      'a length and chunks',
      'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n',
      '0\r\n\r\nINNER',
    ),
    smuggle(
      'te-cl',
      'chunks and a length',
      'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n',
      '5c\r\nINNER\r\n0\r\n\r\n',
    ),
    smuggle(
      'te-te',
      'two codings',
      'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n',
      '0\r\n\r\nINNER',
    ),
    smuggle('te-list', 'two codings in one field', 'Transfer-Encoding: gzip, chunked\r\n', '0\r\n\r\nINNER'),
    smuggle('te-x', 'a coding that is nearly one', 'Transfer-Encoding: xchunked\r\n', '0\r\n\r\nINNER'),
    smuggle('te-blank', 'a blank before the colon', 'Transfer-Encoding : chunked\r\n', '0\r\n\r\nINNER'),
    smuggle('te-tab', 'a vertical tab in the coding', 'Transfer-Encoding: \x0bchunked\r\n', '0\r\n\r\nINNER'),
    smuggle('te-fold', 'a coding in the next line', 'Transfer-Encoding:\r\n chunked\r\n', '0\r\n\r\nINNER'),
    smuggle('te-lf', 'a coding after a line feed', 'X: y\nTransfer-Encoding: chunked\r\n', '0\r\n\r\nINNER'),
    smuggle(
      'te-cr',
      'a coding after a carriage return',
      'X: y\rTransfer-Encoding: chunked\r\n',
      '0\r\n\r\nINNER',
    ),
    smuggle('te-nul', 'a NUL in its name', 'Transfer\0-Encoding: chunked\r\n', '0\r\n\r\nINNER'),
    smuggle(
      'te-under',
      'its name with an underscore',
      'Transfer_Encoding: chunked\r\nContent-Length: 0\r\n',
      'INNER',
      WHOLE,
    ),
    smuggle('cl-cl', 'two lengths', 'Content-Length: 0\r\nContent-Length: 40\r\n', 'INNER'),
    smuggle('cl-list', 'two lengths in one field', 'Content-Length: 0, 40\r\n', 'INNER'),
    smuggle('cl-plus', 'a length with a sign', 'Content-Length: +40\r\n', 'INNER'),
    smuggle('cl-minus', 'a length below zero', 'Content-Length: -1\r\n', 'INNER'),
    smuggle('cl-hex', 'a length in hexadecimal', 'Content-Length: 0x28\r\n', 'INNER'),
    smuggle('cl-blank', 'a length with a blank in it', 'Content-Length: 4 0\r\n', 'INNER'),
    smuggle('cl-huge', 'a length beyond all numbers', 'Content-Length: 18446744073709551617\r\n', 'INNER'),
    smuggle('chunk-0x', 'the size of a chunk with 0x', 'Transfer-Encoding: chunked\r\n', '0x5\r\nINNER'),
    smuggle(
      'chunk-lf',
      'a chunk whose size ends with a line feed',
      'Transfer-Encoding: chunked\r\n',
      '0\n\nINNER',
    ),
    smuggle(
      'chunk-huge',
      'a chunk beyond all numbers',
      'Transfer-Encoding: chunked\r\n',
      'ffffffffffffffff1\r\nINNER',
    ),
    smuggle(
      'chunk-extension',
      'an extension with a carriage return',
      'Transfer-Encoding: chunked\r\n',
      '1;a\rb\r\nX\r\n0\r\n\r\n',
    ),
    smuggle(
      'chunk-long',
      'a chunk that is longer than it says',
      'Transfer-Encoding: chunked\r\n',
      '1\r\nINNER',
    ),
    head(
      '10-chunks',
      'chunks by HTTP/1.0',
      'POST PATH HTTP/1.0\r\nHost: HOST\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ),
    [
      'get-body',
      'a GET whose body is a request, and one after it',
      'raw("GET /v1/keep/TOKEN HTTP/1.1\\r\\nHost: HOST\\r\\nContent-Length: 31\\r\\n\\r\\nGET /admin/x HTTP/1.1\\r\\nX-Y: 123", "GET PATH HTTP/1.1\\r\\nHost: HOST\\r\\nConnection: close\\r\\n\\r\\n")',
      { arrives: 'secret', lacks: /X-Y: 123[\s\S]*GET \/v1/ },
    ],
    head(
      'extension',
      'an extension of a chunk that a lenient reader ends at',
      'POST PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nX\r\n0\r\n\r\n',
      { arrives: 'secret', lacks: /;a=b/ },
    ),
    head(
      'trailers',
      'fields of a head as trailers',
      'POST PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nAuthorization: mine\r\nHost: stranger.bound.example\r\nContent-Length: 7\r\nX-HTTP-Method-Override: DELETE\r\nX-Kept: 1\r\n\r\n',
      { arrives: 'secret', lacks: /mine|stranger|Content-Length: 7|override/i },
    ),
  ]),
  ...rows('V-head', [
    head('two-hosts', 'two Hosts', 'GET PATH HTTP/1.1\r\nHost: HOST\r\nHost: stranger.bound.example\r\n\r\n'),
    head('no-host', 'no Host', 'GET PATH HTTP/1.1\r\nX: y\r\n\r\n'),
    head(
      'other-host',
      'another Host',
      'GET PATH HTTP/1.1\r\nHost: stranger.bound.example\r\n\r\n',
      WRONG_HOST,
    ),
    head(
      'twin-host',
      'the Host of another bound server',
      'GET PATH HTTP/1.1\r\nHost: twin.bound.example\r\n\r\n',
      WRONG_HOST,
    ),
    head(
      'host-user',
      'a Host with a user',
      'GET PATH HTTP/1.1\r\nHost: HOST@stranger.bound.example\r\n\r\n',
      WRONG_HOST,
    ),
    head('host-port', 'a Host with another port', 'GET PATH HTTP/1.1\r\nHost: HOST:8443\r\n\r\n', WRONG_HOST),
    head(
      'host-list',
      'two names in one Host',
      'GET PATH HTTP/1.1\r\nHost: HOST, stranger.bound.example\r\n\r\n',
      WRONG_HOST,
    ),
    head('host-path', 'a Host with a path', 'GET PATH HTTP/1.1\r\nHost: HOST/x\r\n\r\n', WRONG_HOST),
    head(
      'absolute-other',
      'another server in the target',
      'GET https://stranger.bound.examplePATH HTTP/1.1\r\nHost: HOST\r\n\r\n',
    ),
    head(
      'absolute-user',
      'a user in the target',
      'GET https://HOST@stranger.bound.examplePATH HTTP/1.1\r\nHost: HOST\r\n\r\n',
    ),
    head(
      'absolute-plain',
      'another scheme in the target',
      'GET http://HOSTPATH HTTP/1.1\r\nHost: HOST\r\n\r\n',
    ),
    head(
      'connection',
      'a Connection that names the secret',
      'GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close, authorization\r\n\r\n',
      { arrives: 'secret' },
    ),
    head(
      'connection-host',
      'a Connection that names the Host',
      'GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close, host\r\n\r\n',
    ),
    head(
      'own',
      'fields that a server may take for the secret',
      'GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nauthorization: mine\r\nAUTHORIZATION: mine\r\n\r\n',
      { arrives: 'secret', lacks: /mine/ },
    ),
    head('name-blank', 'a blank in a name', 'GET PATH HTTP/1.1\r\nHost: HOST\r\nX Y: z\r\n\r\n'),
    head('name-nul', 'a NUL in a name', 'GET PATH HTTP/1.1\r\nHost: HOST\r\nX\0Y: z\r\n\r\n'),
    head('value-nul', 'a NUL in a value', 'GET PATH HTTP/1.1\r\nHost: HOST\r\nX: y\0z\r\n\r\n'),
    head('09', 'HTTP/0.9', 'GET PATH\r\n\r\n'),
    head('2', 'HTTP/2.0 in words', 'GET PATH HTTP/2.0\r\nHost: HOST\r\n\r\n'),
    head('tabs', 'tabs in the first line', 'GET\tPATH\tHTTP/1.1\r\nHost: HOST\r\n\r\n'),
    head('blanks', 'two blanks in the first line', 'GET  PATH HTTP/1.1\r\nHost: HOST\r\n\r\n'),
    head('small', 'a method in small letters', 'get PATH HTTP/1.1\r\nHost: HOST\r\n\r\n'),
    head('lf', 'line feeds alone', 'GET PATH HTTP/1.1\nHost: HOST\n\n\r\n\r\n'),
    head('connect', 'CONNECT', 'CONNECT stranger.bound.example:443 HTTP/1.1\r\nHost: HOST\r\n\r\n'),
    head('fragment', 'a fragment in the target', 'GET PATH#x HTTP/1.1\r\nHost: HOST\r\n\r\n'),
    head('long', 'a head without an end', `GET PATH HTTP/1.1\r\nHost: HOST\r\n${'X: y\r\n'.repeat(12_000)}`, {
      arrives: 'nothing',
      reads: /431/,
    }),
    head(
      'h2c',
      'a switch to HTTP/2',
      'GET PATH HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n',
      { arrives: 'secret', lacks: /h2c|HTTP2-Settings/i },
    ),
    [
      'pipelined',
      'a second request for another server',
      'raw("GET /v1/keep/TOKEN HTTP/1.1\\r\\nHost: HOST\\r\\n\\r\\nGET ADMIN HTTP/1.1\\r\\nHost: stranger.bound.example\\r\\n\\r\\n")',
      { ...WHOLE, reads: /421/ },
    ],
    [
      'later-host',
      'a later request for another server',
      'raw("GET /v1/keep/TOKEN HTTP/1.1\\r\\nHost: HOST\\r\\n\\r\\n", "GET ADMIN HTTP/1.1\\r\\nHost: twin.bound.example\\r\\n\\r\\n")',
      { ...WHOLE, reads: /421/ },
    ],
    [
      'later-plain',
      'a later request for another server, by plain HTTP',
      'say(open_plain(), request("keep", host=PLAIN, end="\\r\\n"), request(host=STRANGER))',
      { reads: /421/ },
    ],
    [
      'free-first',
      'a request for a bound server after one that is not, by plain HTTP',
      'say(open_plain(), request("keep", host=FREE, end="\\r\\n"), request(host=PLAIN))',
    ],
    [
      'h2c-known',
      'HTTP/2 without asking, by plain HTTP',
      'say(open_plain(), "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")',
      { arrives: 'nothing' },
    ],
  ]),
]
