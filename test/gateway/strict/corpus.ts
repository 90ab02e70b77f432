// Requests by which a reader of HTTP is attacked. Those that are refused carry a second request, to `/smuggled`, which must
// reach nobody; those that are understood say how, and whoever reads behind the gateway must understand them so, too.

const HOST = 'Host: a-8000.localhost'
/** What must never be seen behind the gateway. */
export const EVIL = `GET /smuggled HTTP/1.1\r\n${HOST}\r\n\r\n`

export type Refused = { name: string; bytes: string }
export type Understood = { name: string; bytes: string; seen: { line: string; body: string }[] }

const head = (line: string, ...lines: string[]) => [line, HOST, ...lines, '', ''].join('\r\n')
const post = (...lines: string[]) => head('POST / HTTP/1.1', ...lines)
const chunked = (body: string) => `${post('Transfer-Encoding: chunked')}${body}`

/** Every control character but the three that lines are made of, and DEL. */
const CONTROLS = [...Array(32).keys(), 127]
  .filter((code) => code !== 9 && code !== 10 && code !== 13)
  .map((code) => String.fromCharCode(code))
const hex = (char: string) => `0x${char.charCodeAt(0).toString(16).padStart(2, '0')}`

function each<T>(items: readonly T[], make: (item: T) => [string, string]): Refused[] {
  return items.map((item) => {
    const [name, bytes] = make(item)
    return { name, bytes }
  })
}

const twoFramings: Refused[] = [
  ...each(['chunked', 'Chunked', 'CHUNKED'], (coding) => [
    `CL.TE ${coding}`,
    `${post('Content-Length: 6', `Transfer-Encoding: ${coding}`)}0\r\n\r\n${EVIL}`,
  ]),
  ...each(['chunked', 'identity', 'gzip', ''], (coding) => [
    `TE.CL "${coding}"`,
    `${post(`Transfer-Encoding: ${coding}`, 'Content-Length: 4')}5c\r\n${EVIL}\r\n0\r\n\r\n`,
  ]),
  ...each(['content-length', 'CONTENT-LENGTH', 'Content-length'], (name) => [
    `CL.TE in another case: ${name}`,
    `${post(`${name}: 5`, 'transfer-ENCODING: chunked')}0\r\n\r\n${EVIL}`,
  ]),
]

const codings: Refused[] = each(
  [
    'identity',
    'gzip',
    'gzip, chunked',
    'chunked, gzip',
    'chunked, chunked',
    'chunked,',
    ',chunked',
    ', chunked',
    'chunked;q=1',
    'chunked;',
    'chunked x',
    'x chunked',
    'xchunked',
    'chunke',
    'chunkedd',
    '"chunked"',
    "'chunked'",
    'chunked\x0b',
    '\x0bchunked',
    '\x0cchunked',
    'chunked\0',
    '\0chunked',
    'chunked\x7f',
    'chunked\xa0',
    '\xa0chunked',
    'chunked\x85',
    '[chunked]',
    'chunked/1',
    'chunk\ted',
    'compress',
    '',
  ],
  (coding) => [`TE: ${JSON.stringify(coding)}`, `${post(`Transfer-Encoding: ${coding}`)}0\r\n\r\n${EVIL}`],
)

const codingNames: Refused[] = each(
  [
    'Transfer-Encoding :',
    'Transfer-Encoding\t:',
    ' Transfer-Encoding:',
    '\tTransfer-Encoding:',
    'Transfer-Encoding',
    'Transfer-Encoding\0:',
    'Transfer\0-Encoding:',
    'Transfer-Encoding\x0b:',
    'Transfer-Encodin\xe7:',
    'Transfer-Encoding\x7f:',
    'Transfer_Encoding:',
    'transfer_encoding:',
    'TRANSFER_ENCODING:',
    '(Transfer-Encoding):',
    'Transfer-Encoding;:',
    'Transfer-Encoding=x:',
    '"Transfer-Encoding":',
    'Transfer Encoding:',
    'X\r Transfer-Encoding:',
    'X: y\rTransfer-Encoding:',
    'X: y\nTransfer-Encoding:',
    'X: y\n\rTransfer-Encoding:',
    'X: y\r\r\nTransfer-Encoding:',
    ':',
  ],
  (name) => [`a coding under the name ${JSON.stringify(name)}`, `${post(`${name} chunked`)}0\r\n\r\n${EVIL}`],
)

const twice: Refused[] = [
  ...each(
    [
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
      ['Transfer-Encoding: identity', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: x', 'transfer-encoding: chunked'],
      ['Transfer-Encoding: chunked', 'transfer-encoding: x'],
      ['Transfer-Encoding:', 'Transfer-Encoding: chunked'],
      ['Transfer-Encoding: chunked', 'Transfer_Encoding: x'],
    ],
    (lines) => [`TE.TE ${lines.join(' | ')}`, `${post(...lines)}0\r\n\r\n${EVIL}`],
  ),
  ...each(
    [
      ['Content-Length: 0', `Content-Length: ${EVIL.length}`],
      [`Content-Length: ${EVIL.length}`, 'Content-Length: 0'],
      ['Content-Length: 0', 'Content-Length: 0'],
      ['Content-Length: 0', `content-length: ${EVIL.length}`],
      ['Content-Length: 0', `Content_Length: ${EVIL.length}`],
      [`Content_Length: ${EVIL.length}`],
      ['Content-Length:', 'Content-Length: 0'],
    ],
    (lines) => [`CL.CL ${lines.join(' | ')}`, `${post(...lines)}${EVIL}`],
  ),
]

const lengths: Refused[] = each(
  [
    '',
    '+0',
    '-0',
    '-1',
    '+44',
    '0x2c',
    '0X0',
    '0b0',
    '0o0',
    '0.0',
    '0e0',
    '1e1',
    '0, 44',
    '0,0',
    '44, 44',
    '0;',
    '0 0',
    '0\t0',
    '"0"',
    '0_0',
    '\xb2',
    '0\0',
    '\x0b0',
    '0\x0c',
    'zero',
    'NaN',
    'Infinity',
    '99999999999999999',
    '18446744073709551616',
    '9007199254740993',
    '4294967296'.repeat(4),
  ],
  (length) => [`CL: ${JSON.stringify(length)}`, `${post(`Content-Length: ${length}`)}${EVIL}`],
)

const chunks: Refused[] = each(
  [
    ['a sign', `+0\r\n\r\n`],
    ['a minus', `-0\r\n\r\n`],
    ['a space before', ` 0\r\n\r\n`],
    ['a space behind', `0 \r\n\r\n`],
    ['a tab behind', `0\t\r\n\r\n`],
    ['0x', `0x0\r\n\r\n`],
    ['no digit', `\r\n\r\n`],
    ['a letter', `g\r\n\r\n`],
    ['a separator', `0_0\r\n\r\n`],
    ['LF alone', `0\n\r\n`],
    ['CR alone', `0\r\r\n`],
    ['CR CR LF', `0\r\r\n\r\n`],
    ['NUL', `0\0\r\n\r\n`],
    ['a quote', `"0"\r\n\r\n`],
    ['14 digits', `00000000000001\r\na\r\n0\r\n\r\n`],
    ['2^64', `10000000000000000\r\n`],
    ['2^64 + 5', `10000000000000005\r\nhello\r\n0\r\n\r\n`],
    ['2^32 more than it is, in 17 digits', `00000000100000005\r\nhello\r\n0\r\n\r\n`],
    ['many zeros', `${'0'.repeat(5000)}\r\n\r\n`],
    ['an extension that holds LF', `0;\n\r\n`],
    ['an extension that holds LF and goes on', `2;\nxx\r\n0\r\n\r\n`],
    ['an extension that holds CR', `0;a\rb\r\n\r\n`],
    ['an extension that ends with CR CR LF', `0;a\r\r\n\r\n`],
    ['an extension that holds NUL', `0;a\0\r\n\r\n`],
    ['an extension of a byte above 127', `0;\xff\r\n\r\n`],
    ['an extension without end', `0;${'a'.repeat(300)}\r\n\r\n`],
    ['a quoted extension that holds a line end', `1;a="\r\n\r\n"\r\n\r\n`],
    ['extensions everywhere', `${`1;${'x'.repeat(200)}\r\na\r\n`.repeat(100)}0\r\n\r\n`],
    ['data that is longer', `1\r\nab\r\n0\r\n\r\n`],
    ['data that is shorter', `5\r\nab\r\n0\r\n\r\n`],
    ['data that ends with LF', `1\r\na\n0\r\n\r\n`],
    ['data that ends with CR', `1\r\na\r0\r\n\r\n`],
    ['data without an end', `1\r\na0\r\n\r\n`],
    ['two line ends behind data', `1\r\na\r\n\r\n0\r\n\r\n`],
    ['a trailer that is a request line', `0\r\nGET /smuggled HTTP/1.1\r\n\r\n`],
    ['a trailer with a space before the colon', `0\r\nX : y\r\n\r\n`],
    ['a trailer that goes on', `0\r\nX: y\r\n z\r\n\r\n`],
    ['a trailer that begins with a space', `0\r\n X: y\r\n\r\n`],
    ['a trailer ended by LF', `0\r\nX: y\n\r\n`],
    ['trailers ended by LF', `0\r\nX: y\r\n\n`],
    ['no trailers ended by LF', `0\r\n\n`],
    ['a trailer with NUL', `0\r\nX: \0\r\n\r\n`],
    ['a trailer with CR', `0\r\nX: a\rb\r\n\r\n`],
    ['too many trailers', `0\r\n${'X: y\r\n'.repeat(200)}\r\n`],
    ['a trailer without end', `0\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`],
  ] as const,
  ([name, body]) => [`a chunk with ${name}`, `${chunked(body)}${EVIL}`],
)

const requestLines: Refused[] = each(
  [
    'GET',
    'GET /',
    'GET / ',
    'GET  / HTTP/1.1',
    'GET /  HTTP/1.1',
    'GET\t/ HTTP/1.1',
    'GET /\tHTTP/1.1',
    ' GET / HTTP/1.1',
    '\tGET / HTTP/1.1',
    'GET / HTTP/1.1 ',
    'GET / HTTP/1.1\t',
    'GET / http/1.1',
    'GET / HTTP/1.2',
    'GET / HTTP/1.10',
    'GET / HTTP/1.01',
    'GET / HTTP/01.1',
    'GET / HTTP/0.9',
    'GET / HTTP/2.0',
    'GET / HTTP/3.0',
    'GET / HTTP/9.9',
    'GET / HTTP/1',
    'GET / HTTP/1.',
    'GET / HTTP/.1',
    'GET / HTTP/1,1',
    'GET / HTTP 1.1',
    'GET / HTTP/ 1.1',
    'GET / HTTPS/1.1',
    'GET / XHTTP/1.1',
    'GET / RTSP/1.0',
    'GET / ICE/1.0',
    'GET /x HTTP/1.1 HTTP/1.1',
    'GET /a b HTTP/1.1',
    'GET  HTTP/1.1',
    'GET a HTTP/1.1',
    'GET ?a HTTP/1.1',
    'GET #a HTTP/1.1',
    'GET /a#b HTTP/1.1',
    'GET * HTTP/1.1',
    'POST * HTTP/1.1',
    'OPTIONS ** HTTP/1.1',
    'GET \\ HTTP/1.1',
    'GET ..\\x HTTP/1.1',
    'GET a-8000.localhost/ HTTP/1.1',
    'GET a-8000.localhost:80 HTTP/1.1',
    'CONNECT a-8000.localhost:80 HTTP/1.1',
    'CONNECT x:1 HTTP/1.1',
    'GET ftp://a-8000.localhost/ HTTP/1.1',
    'GET http:/a HTTP/1.1',
    'GET http:///a HTTP/1.1',
    'GET http://u@a-8000.localhost/ HTTP/1.1',
    'GET http://a-8000.localhost\\@evil/ HTTP/1.1',
    'GET http://evil.example/ HTTP/1.1',
    'GET http://evil.example:80/ HTTP/1.1',
    'GET http://a-8000.localhost.evil/ HTTP/1.1',
    'GET http://b-8000.localhost/ HTTP/1.1',
    'GET https://b-8000.localhost/ HTTP/1.1',
    'G(T / HTTP/1.1',
    'GÉT / HTTP/1.1',
    '{} / HTTP/1.1',
    'GET: / HTTP/1.1',
    '"GET" / HTTP/1.1',
    '\x16\x03\x01\x02',
    '\x80\x2e\x01\x03\x01',
    'PRI * HTTP/2.0x',
    'PRI / HTTP/2.0',
    ...CONTROLS.map((char) => `GET /${char} HTTP/1.1`),
    ...CONTROLS.map((char) => `G${char}ET / HTTP/1.1`),
    ...CONTROLS.map((char) => `GET /${char}HTTP/1.1`),
    `GET /${'a'.repeat(20_000)} HTTP/1.1`,
  ],
  (line) => [
    `the line ${JSON.stringify(line.length > 60 ? `${line.slice(0, 20)}…` : line)}`,
    `${head(line)}${EVIL}`,
  ],
)

const lineEnds: Refused[] = [
  ['LF behind the request line', `GET / HTTP/1.1\n${HOST}\r\n\r\n`],
  ['LF behind a field', `GET / HTTP/1.1\r\n${HOST}\n\r\n`],
  ['LF everywhere', `GET / HTTP/1.1\n${HOST}\n\n`],
  ['LF as the empty line', `GET / HTTP/1.1\r\n${HOST}\r\n\n`],
  ['CR behind the request line', `GET / HTTP/1.1\r${HOST}\r\n\r\n`],
  ['CR behind a field', `GET / HTTP/1.1\r\n${HOST}\rX: y\r\n\r\n`],
  ['CR CR LF behind the request line', `GET / HTTP/1.1\r\r\n${HOST}\r\n\r\n`],
  ['CR CR LF as the empty line', `GET / HTTP/1.1\r\n${HOST}\r\n\r\r\n\r\n`],
  ['LF CR', `GET / HTTP/1.1\n\r${HOST}\n\r\n\r`],
  ['CR before the method', `\rGET / HTTP/1.1\r\n${HOST}\r\n\r\n`],
  ['LF before the method', `\nGET / HTTP/1.1\r\n${HOST}\r\n\r\n`],
  ['three empty lines before the method', `\r\n\r\n\r\nGET / HTTP/1.1\r\n${HOST}\r\n\r\n`],
  ['a space as the first line', ` \r\nGET / HTTP/1.1\r\n${HOST}\r\n\r\n`],
  ['an empty line behind the request line', `GET / HTTP/1.1\r\n\r\n${HOST}\r\n\r\n`],
  ['vertical tabs for line ends', `GET / HTTP/1.1\x0b${HOST}\x0b\x0b\r\n\r\n`],
].map(([name = '', bytes = '']) => ({ name: `line ends: ${name}`, bytes: `${bytes}${EVIL}` }))

const folds: Refused[] = each(
  ['X: y\r\n z', 'X: y\r\n\tz', 'X:\r\n y', 'X: y\r\n \r\n', 'X: y\r\n  Transfer-Encoding: chunked', ' X: y'],
  (lines) => [`a field folded as ${JSON.stringify(lines)}`, `${head('GET / HTTP/1.1', lines)}${EVIL}`],
)

const values: Refused[] = [
  ...each(CONTROLS, (char) => [
    `${hex(char)} in a value`,
    `${head('GET / HTTP/1.1', `X: a${char}b`)}${EVIL}`,
  ]),
  ...each([...CONTROLS, ...' "(),/;<=>?@[\\]{}\t\x80\xff'], (char) => [
    `${hex(char)} in a name`,
    `${head('GET / HTTP/1.1', `X${char}Y: a`)}${EVIL}`,
  ]),
  ...each(['X', ': y', ' : y', 'X y', '=', ''.padEnd(70_000, 'a')], (line) => [
    `the field line ${JSON.stringify(line.slice(0, 10))} of ${line.length} bytes`,
    `${head('GET / HTTP/1.1', line)}${EVIL}`,
  ]),
  {
    name: 'more fields than are read',
    bytes: `${head('GET / HTTP/1.1', ...Array.from({ length: 200 }, (_, at) => `X-${at}: y`))}${EVIL}`,
  },
  {
    name: 'more bytes than are read',
    bytes: `${head('GET / HTTP/1.1', ...Array.from({ length: 20 }, () => `X: ${'y'.repeat(4000)}`))}${EVIL}`,
  },
]

const hosts: Refused[] = [
  ...each(
    [
      '',
      ' ',
      'a-8000.localhost, b-8000.localhost',
      'a-8000.localhost b-8000.localhost',
      'a-8000.localhost/',
      'a-8000.localhost/x',
      'a-8000.localhost?x',
      'a-8000.localhost#x',
      'u@a-8000.localhost',
      'u:p@a-8000.localhost',
      'http://a-8000.localhost',
      'a-8000.localhost:80:80',
      'a-8000.localhost:x',
      'a-8000.localhost:-1',
      'a-8000.localhost:+1',
      'a-8000.localhost: 1',
      'a-8000.localhost:123456',
      'a-8000%2elocalhost',
      'a-8000.localhost%00.evil',
      'a-8000.localhost\0',
      'a-8000.localhost\x0b',
      'a-8000.localhost\\evil',
      'ä-8000.localhost',
      'a-8000.localhost\u00a0',
      '[a-8000.localhost]',
      '[::1',
      '::1',
      '[::1]x',
      '[::1%25eth0]',
      '"a-8000.localhost"',
      'a-8000.localhost;',
      'a-8000.localhost,',
      'a-8000.localhost\tx',
      `${'a'.repeat(300)}-8000.localhost`,
    ],
    (host) => [`the Host ${JSON.stringify(host)}`, `GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n${EVIL}`],
  ),
  ...each(
    [
      ['Host: b-8000.localhost'],
      ['Host: a-8000.localhost'],
      ['host: b-8000.localhost'],
      ['HOST: '],
      ['Host : b-8000.localhost'],
      [' Host: b-8000.localhost'],
      ['Host\0: b-8000.localhost'],
    ],
    (lines) => [`another ${JSON.stringify(lines[0])}`, `${head('GET / HTTP/1.1', ...lines)}${EVIL}`],
  ),
  { name: 'no Host', bytes: `GET / HTTP/1.1\r\n\r\n${EVIL}` },
  { name: 'no Host in HTTP/1.0', bytes: `GET / HTTP/1.0\r\n\r\n${EVIL}` },
  {
    name: 'no Host beside an absolute target',
    bytes: `GET http://a-8000.localhost/ HTTP/1.1\r\n\r\n${EVIL}`,
  },
]

const underscored: Refused[] = each(
  [
    'X_Forwarded_For: 10.0.0.1',
    'X-Forwarded_For: 10.0.0.1',
    'X_Forwarded-Proto: https',
    'X_Real_IP: 10.0.0.1',
    'OpenSandbox_Ingress_To: b-8000',
    'OpenSandbox-Ingress_To: b-8000',
    'OpenSandbox_Secure_Access: x',
    'OPEN_SANDBOX_API_KEY: x',
    'X_EXECD_ACCESS_TOKEN: x',
    'Proxy_Authorization: x',
    'Keep_Alive: x',
    'HTTP2_Settings: x',
  ],
  (line) => [`underscores in ${line}`, `${head('GET / HTTP/1.1', line)}${EVIL}`],
)

const others: Refused[] = [
  {
    name: 'a coding in HTTP/1.0',
    bytes: `${head('POST / HTTP/1.0', 'Transfer-Encoding: chunked')}0\r\n\r\n${EVIL}`,
  },
  ...each(['200-ok', '', '100-continue, x', '100-continue x'], (value) => [
    `Expect: "${value}"`,
    `${post(`Expect: ${value}`, `Content-Length: ${EVIL.length}`)}${EVIL}`,
  ]),
  ...each(['b-8000', 'x', '8000', 'a-0', 'a-65536', 'a-8000,b-8000'], (token) => [
    `the routing header twice, then ${token}`,
    `${head('POST / HTTP/1.1', 'OpenSandbox-Ingress-To: a-8000', `OpenSandbox-Ingress-To: ${token}`, 'Content-Length: 1')}x${EVIL}`,
  ]),
]

/** Each is answered by one refusal, after which the connection ends. */
export const REFUSED_REQUESTS: readonly Refused[] = [
  ...twoFramings,
  ...codings,
  ...codingNames,
  ...twice,
  ...lengths,
  ...chunks,
  ...requestLines,
  ...lineEnds,
  ...folds,
  ...values,
  ...hosts,
  ...underscored,
  ...others,
]

const LAST = head('GET /last HTTP/1.1', 'Connection: close')
const last = { line: 'GET /last', body: '' }
const body = EVIL
const asChunk = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`

/** Each is read as what it says, by the gateway and by who stands behind it. */
export const UNDERSTOOD_REQUESTS: readonly Understood[] = [
  {
    name: 'a request as a body with a length',
    bytes: `${post(`Content-Length: ${body.length}`)}${body}`,
    seen: [{ line: 'POST /', body }],
  },
  { name: 'a request as a chunk', bytes: chunked(asChunk), seen: [{ line: 'POST /', body }] },
  {
    name: 'a request as a body of GET',
    bytes: `${head('GET /get HTTP/1.1', `Content-Length: ${body.length}`)}${body}`,
    seen: [{ line: 'GET /get', body }],
  },
  {
    name: 'a request as a chunk of DELETE',
    bytes: `${head('DELETE /x HTTP/1.1', 'Transfer-Encoding: chunked')}${asChunk}`,
    seen: [{ line: 'DELETE /x', body }],
  },
  {
    name: 'a length that Connection names',
    bytes: `${post('Connection: content-length', `Content-Length: ${body.length}`)}${body}`,
    seen: [{ line: 'POST /', body }],
  },
  {
    name: 'a coding that Connection names',
    bytes: `${post('Connection: transfer-encoding, keep-alive', 'Transfer-Encoding: chunked')}${asChunk}`,
    seen: [{ line: 'POST /', body }],
  },
  {
    name: 'Host, which Connection names',
    bytes: head('GET /host HTTP/1.1', 'Connection: host'),
    seen: [{ line: 'GET /host', body: '' }],
  },
  {
    name: 'an upgrade with a body',
    bytes: `${post('Connection: upgrade', 'Upgrade: h2c', `Content-Length: ${body.length}`)}${body}`,
    seen: [{ line: 'POST /', body }],
  },
  {
    name: 'an upgrade to HTTP/2',
    bytes: head(
      'GET /up HTTP/1.1',
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AA',
    ),
    seen: [{ line: 'GET /up', body: '' }],
  },
  {
    name: 'a coding in another case',
    bytes: `${post('transfer-encoding:\tCHUNKED \t')}${asChunk}`,
    seen: [{ line: 'POST /', body }],
  },
  {
    name: 'chunk sizes with zeros, in both cases, with extensions',
    bytes: chunked('000000000005;a="b;c"\r\nhello\r\n0A;x\r\n0123456789\r\n000\r\n\r\n'),
    seen: [{ line: 'POST /', body: 'hello0123456789' }],
  },
  {
    name: 'trailers',
    bytes: chunked('1\r\na\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nHost: evil\r\nContent_Length: 9\r\n\r\n'),
    seen: [{ line: 'POST /', body: 'a' }],
  },
  {
    name: 'a length with leading zeros',
    bytes: `${post('Content-Length: 0005')}hello`,
    seen: [{ line: 'POST /', body: 'hello' }],
  },
  {
    name: 'two empty lines before the method',
    bytes: `\r\n\r\n${head('GET /lines HTTP/1.1')}`,
    seen: [{ line: 'GET /lines', body: '' }],
  },
  {
    name: 'an absolute target of the same host',
    bytes: head('GET http://A-8000.localhost/abs?x HTTP/1.1'),
    seen: [{ line: 'GET /abs?x', body: '' }],
  },
  {
    name: 'paths that others would tidy up',
    bytes: [
      '/a/../b',
      '/a/./b',
      '//a//b',
      '/%2e%2e/a',
      '/a%2fb',
      '/a%5cb',
      '/a..;/b',
      '/a;x=y/b',
      '/a?b=/../c',
      '/%00',
      '/%0d%0aX:%20y',
      '/http://evil.example/',
      '//evil.example/',
      '/@evil',
    ]
      .map((path) => head(`GET ${path} HTTP/1.1`))
      .join(''),
    seen: [
      '/a/../b',
      '/a/./b',
      '//a//b',
      '/%2e%2e/a',
      '/a%2fb',
      '/a%5cb',
      '/a..;/b',
      '/a;x=y/b',
      '/a?b=/../c',
      '/%00',
      '/%0d%0aX:%20y',
      '/http://evil.example/',
      '//evil.example/',
      '/@evil',
    ].map((path) => ({ line: `GET ${path}`, body: '' })),
  },
  {
    name: 'a mix sent at once',
    bytes: `${head('GET /1 HTTP/1.1')}${post('Content-Length: 3')}abc${chunked('3\r\ndef\r\n0\r\n\r\n')}${head('HEAD /2 HTTP/1.1')}${head('OPTIONS * HTTP/1.1')}${post('Content-Length: 0')}`,
    seen: [
      { line: 'GET /1', body: '' },
      { line: 'POST /', body: 'abc' },
      { line: 'POST /', body: 'def' },
      { line: 'HEAD /2', body: '' },
      { line: 'OPTIONS *', body: '' },
      { line: 'POST /', body: '' },
    ],
  },
].map(({ name, bytes, seen }) => ({ name, bytes: `${bytes}${LAST}`, seen: [...seen, last] }))
