// Answers by which a server in a sandbox attacks whoever shares the gateway with it: each tries to have a second answer taken
// for that of another request, or an end where there is none.

const EVIL = 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nevil-body'

export type Answer = { name: string; bytes: string }

const head = (line: string, ...lines: string[]) => [line, ...lines, '', ''].join('\r\n')
const ok = (...lines: string[]) => head('HTTP/1.1 200 OK', ...lines)
const named = (kind: string, items: readonly (readonly [string, string])[]): Answer[] =>
  items.map(([name, bytes]) => ({ name: `${kind}: ${name}`, bytes: `${bytes}${EVIL}` }))

/** Refused before anything of them was passed on: the client is told 502. */
export const REFUSED_ANSWERS: readonly Answer[] = [
  ...named('framing', [
    ['CL and TE', `${ok('Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
    ['two lengths', `${ok('Content-Length: 0', 'Content-Length: 64')}`],
    ['two equal lengths', `${ok('Content-Length: 0', 'content-length: 0')}`],
    ['a list of lengths', `${ok('Content-Length: 0, 64')}`],
    ['a signed length', `${ok('Content-Length: +0')}`],
    ['a negative length', `${ok('Content-Length: -1')}`],
    ['a length in hexadecimal', `${ok('Content-Length: 0x0')}`],
    ['no number', `${ok('Content-Length: x')}`],
    ['too large a length', `${ok('Content-Length: 99999999999999999')}`],
    ['another coding', `${ok('Transfer-Encoding: gzip')}`],
    ['two codings', `${ok('Transfer-Encoding: gzip, chunked')}0\r\n\r\n`],
    ['chunked twice', `${ok('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')}0\r\n\r\n`],
    ['a coding with a vertical tab', `${ok('Transfer-Encoding: \x0bchunked')}0\r\n\r\n`],
    ['a space before the colon', `${ok('Transfer-Encoding : chunked')}0\r\n\r\n`],
    [
      'a coding in HTTP/1.0',
      `${head('HTTP/1.0 200 OK', 'Connection: keep-alive', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    ],
  ]),
  ...named('lines', [
    ['LF alone', 'HTTP/1.1 200 OK\nContent-Length: 0\n\n'],
    ['LF behind the status line', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n'],
    ['LF in a value', ok('X: a\nSet-Cookie: b', 'Content-Length: 0')],
    ['CR in a value', ok('X: a\rSet-Cookie: b', 'Content-Length: 0')],
    ['NUL in a value', ok('X: a\0b', 'Content-Length: 0')],
    ['NUL in a name', ok('X\0: a', 'Content-Length: 0')],
    ['a fold', ok('X: a\r\n b', 'Content-Length: 0')],
    ['a line without a colon', ok('X', 'Content-Length: 0')],
    ['a line that begins with a space', ok(' X: y', 'Content-Length: 0')],
    ['CR CR LF', 'HTTP/1.1 200 OK\r\r\nContent-Length: 0\r\n\r\n'],
    ['CR in the reason', 'HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n'],
    ['NUL in the reason', 'HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n'],
    ['too many fields', ok(...Array.from({ length: 200 }, (_, at) => `X-${at}: y`))],
    ['too large a head', ok(...Array.from({ length: 20 }, () => `X: ${'y'.repeat(4000)}`))],
  ]),
  ...named('status line', [
    ['no version', '200 OK\r\n\r\n'],
    ['another protocol', 'ICY 200 OK\r\n\r\n'],
    ['HTTP/2', head('HTTP/2.0 200 OK', 'Content-Length: 0')],
    ['HTTP/1.2', head('HTTP/1.2 200 OK', 'Content-Length: 0')],
    ['HTTP/0.9', 'hello\r\n\r\n'],
    ['lower case', head('http/1.1 200 OK', 'Content-Length: 0')],
    ['two digits', head('HTTP/1.1 20 OK', 'Content-Length: 0')],
    ['four digits', head('HTTP/1.1 2000 OK', 'Content-Length: 0')],
    ['a letter', head('HTTP/1.1 2x0 OK', 'Content-Length: 0')],
    ['a sign', head('HTTP/1.1 -20 OK', 'Content-Length: 0')],
    ['below 100', head('HTTP/1.1 099 OK', 'Content-Length: 0')],
    ['above 599', head('HTTP/1.1 600 OK', 'Content-Length: 0')],
    ['two spaces', head('HTTP/1.1  200 OK', 'Content-Length: 0')],
    ['a tab', head('HTTP/1.1\t200 OK', 'Content-Length: 0')],
    ['empty lines before', `\r\n${ok('Content-Length: 0')}`],
  ]),
  ...named('switching', [
    ['that nobody asked for', head('HTTP/1.1 101 Switching Protocols', 'Upgrade: websocket')],
    ['to nothing', head('HTTP/1.1 101 Switching Protocols')],
    ['to HTTP/2', head('HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: h2c')],
  ]),
  ...named('interim', [
    ['without end', `${'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(100)}`],
    ['then nonsense', 'HTTP/1.1 103 Early Hints\r\n\r\nx'],
    ['that is folded', 'HTTP/1.1 103 Early Hints\r\nX: a\r\n b\r\n\r\n'],
  ]),
]

const chunked = (body: string) => `${ok('Transfer-Encoding: chunked')}${body}`

/** Found to be wrong when some has been passed on: the client is cut off. */
export const BROKEN_ANSWERS: readonly Answer[] = named('a chunk', [
  ['with a sign', chunked('2\r\nok\r\n+0\r\n\r\n')],
  ['that is too large', chunked('2\r\nok\r\n10000000000000000\r\n')],
  ['with LF alone', chunked('2\r\nok\r\n0\n\r\n')],
  ['with a space', chunked('2\r\nok\r\n0 \r\n\r\n')],
  ['longer than it says', chunked('2\r\nokk\r\n0\r\n\r\n')],
  ['with LF in an extension', chunked('2\r\nok\r\n0;\n\r\n')],
  ['with a trailer that is an answer', chunked('2\r\nok\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n')],
  ['with a trailer that is folded', chunked('2\r\nok\r\n0\r\nX: a\r\n b\r\n\r\n')],
])

/** Whole, with more behind: what is behind is nobody's answer. */
export const ANSWERS_AND_MORE: readonly Answer[] = [
  { name: 'a length', bytes: `${ok('Content-Length: 2')}ok${EVIL}` },
  { name: 'chunks', bytes: `${chunked('2\r\nok\r\n0\r\n\r\n')}${EVIL}` },
  { name: 'no body', bytes: `${head('HTTP/1.1 204 No Content')}${EVIL}` },
  { name: 'a status that has no body', bytes: `${head('HTTP/1.1 304 OK', 'Content-Length: 5')}${EVIL}` },
  {
    name: 'a length that Connection names',
    bytes: `${ok('Connection: content-length', 'Content-Length: 2')}ok${EVIL}`,
  },
]
