import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { HttpRequests, MAX_HEAD_BYTES } from '../../../egress/connections/http-requests.ts'

const check = (name: string) => (name === 'a.example' ? undefined : `${name} is denied`)
const GET = 'GET / HTTP/1.1\r\nHost: a.example\r\n\r\n'

/** What passes of a text that comes in pieces of so many bytes, and the problem. */
function judge(text: string, size = text.length): { passed: string; problem?: string } {
  const requests = new HttpRequests(check)
  let passed = ''
  for (let at = 0; at < text.length; at += size) {
    const { pass, problem } = requests.push(Buffer.from(text.slice(at, at + size), 'latin1'))
    passed += Buffer.concat(pass).toString('latin1')
    if (problem !== undefined) return { passed, problem }
  }
  return { passed }
}

describe('requests that pass', () => {
  test.each([
    ['one', GET],
    ['two, one behind the other', GET + GET],
    ['one with a port', 'GET / HTTP/1.1\r\nhost:a.example:8080\r\n\r\n'],
    ['an absolute target of the same host', 'GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\n\r\n'],
    ['a body by its length', `POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nGET /${GET}`],
    [
      'a body in chunks, with trailers',
      `POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0\r\nA: b\r\n\r\n${GET}`,
    ],
    [
      'chunks without trailers',
      `POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n${GET}`,
    ],
    ['HTTP/1.0 with a host', 'GET / HTTP/1.0\r\nHost: a.example\r\n\r\n'],
    ['any server', 'OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n'],
  ])('%s', (_, text) => {
    for (const size of [text.length, 1, 7]) expect(judge(text, size)).toEqual({ passed: text })
  })
})

describe('requests that end the connection before a byte of them has passed', () => {
  test.each([
    ['another host', 'GET / HTTP/1.1\r\nHost: b.example\r\n\r\n', /^b\.example is denied/],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', /no Host/],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n', /several Hosts/],
    ['a host that is no name', 'GET / HTTP/1.1\r\nHost: a.example@b.example\r\n\r\n', /no name/],
    [
      'an absolute target of another host',
      'GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n',
      /target/,
    ],
    ['a target that is no path', 'GET b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n', /target/],
    ['a tunnel', 'CONNECT b.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n', /CONNECT/],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', /HTTP\/1 request/],
    ['another protocol', 'SSH-2.0-x\r\n', /HTTP\/1 request/],
    ['a bare line feed', 'GET / HTTP/1.1\nHost: a.example\n\n', /CR LF/],
    ['a folded field', 'GET / HTTP/1.1\r\nHost: a.example\r\n b.example\r\n\r\n', /second line/],
    ['a space before the colon', 'GET / HTTP/1.1\r\nHost : a.example\r\n\r\n', /space/],
    ['a NUL', 'GET / HTTP/1.1\r\nHost: a.example\r\nX: \0\r\n\r\n', /control character/],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n',
      /two lengths/,
    ],
    [
      'both lengths',
      'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      /must not come together/,
    ],
    ['a signed length', 'POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: +1\r\n\r\n', /whole number/],
    [
      'another coding',
      'POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n',
      /coding/,
    ],
    [
      'chunks in HTTP/1.0',
      'POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n',
      /coding/,
    ],
    ['HTTP/2 by an upgrade', 'GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\n\r\n', /protocol other/],
    ['an empty line first', `\r\n${GET}`, /empty line/],
  ])('%s', (_, text, problem) => {
    for (const size of [text.length, 1]) {
      expect(judge(text, size)).toEqual({ passed: '', problem: expect.stringMatching(problem) })
      // The same as a second request, of which only the first passes.
      if (!text.startsWith('\r'))
        expect(judge(GET + text, size)).toEqual({ passed: GET, problem: expect.stringMatching(problem) })
    }
  })

  test.each([
    ['no size', 'x\r\n'],
    ['a signed size', '-1\r\n'],
    ['a bare line feed', '1\nx\r\n'],
    ['more than it says', '1\r\nxx\r\n'],
    ['a size that is too large', `${'f'.repeat(13)}\r\n`],
  ])('a chunk with %s', (_, chunk) => {
    const head = 'POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n'
    expect(judge(`${head}${chunk}`).problem).toMatch(/chunk|CR LF/)
  })

  test('a head without end', () => {
    const { passed, problem } = judge(`GET / HTTP/1.1\r\n${'X: y\r\n'.repeat(MAX_HEAD_BYTES)}`, 1000)
    expect({ passed, problem }).toEqual({ passed: '', problem: expect.stringMatching(/longer than/) })
  })
})

// A run of blanks was looked at once for every blank in it, for seconds, and egress answered nobody meanwhile.
test('a field full of blanks costs no more than its length', () => {
  const fastestWith = (blanks: number) => {
    const text = `GET / HTTP/1.1\r\nHost: a.example\r\nX: a${' '.repeat(blanks)}b\r\n\r\n`
    const rounds = Array.from({ length: 5 }, () => {
      const startedAt = performance.now()
      expect(judge(text)).toEqual({ passed: text })
      return performance.now() - startedAt
    })
    return Math.min(...rounds)
  }
  // Who goes over the run once for each of its blanks takes 1024 times as long.
  expect(fastestWith(60_000)).toBeLessThan(200 * fastestWith(60_000 / 32))
})

describe('a request for a WebSocket', () => {
  const UPGRADE = 'GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n'

  test('makes what follows opaque when the server agrees', () => {
    const requests = new HttpRequests(check)
    expect(Buffer.concat(requests.push(Buffer.from(`${UPGRADE}frames`)).pass).toString()).toBe(UPGRADE)
    expect(requests.isSwitching).toBe(true)
    expect(Buffer.concat(requests.answered(101).pass).toString()).toBe('frames')
    expect(requests.push(Buffer.from('more')).pass.map(String)).toEqual(['more'])
  })

  test('is a request like others when it does not', () => {
    const requests = new HttpRequests(check)
    requests.push(Buffer.from(UPGRADE))
    expect(requests.answered(404)).toEqual({ pass: [] })
    expect(requests.push(Buffer.from(GET.replace('a.', 'b.'))).problem).toBe('b.example is denied')
  })

  test('is not taken behind another request, whose answer could be taken for its own', () => {
    expect(judge(GET + UPGRADE)).toEqual({ passed: GET, problem: expect.stringMatching(/not the first/) })
  })

  test('holds no more than a little for the answer', () => {
    const requests = new HttpRequests(check)
    requests.push(Buffer.from(UPGRADE))
    expect(requests.push(Buffer.alloc(MAX_HEAD_BYTES + 1)).problem).toMatch(/too much/)
  })
})

test('what passes is what came, from the beginning, however it is cut', () => {
  const parts = [
    'GET / HTTP/1.1\r\n',
    'Host: a.example\r\n',
    '\r\n',
    'Host: b.example\r\n',
    'Content-Length: 3\r\n',
    'abc',
    '0\r\n',
    'Transfer-Encoding: chunked\r\n',
    '\n',
  ]
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(...parts), { maxLength: 12 }),
      fc.integer({ min: 1, max: 40 }),
      (chosen, size) => {
        const text = chosen.join('')
        const whole = judge(text)
        expect(text.startsWith(whole.passed)).toBe(true)
        expect(judge(text, size)).toEqual(whole)
      },
    ),
  )
})
