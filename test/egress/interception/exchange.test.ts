import { getHeapStatistics, setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import { decidedOf, type Exchange, Tally } from '../../../egress/interception/exchange.ts'
import { parseRequestHead, type RequestHead } from '../../../egress/interception/http1-head.ts'
import { type Decided, DecisionRecord } from '../../../egress/record.ts'

const server = { scheme: 'https', host: 'a.example', port: 443 } as const
const exchange: Exchange = {
  ...{ server, method: 'GET', path: '/a', status: 200, headers: [] },
  ...{ bytesSent: 1, bytesReceived: 2, durationMs: 3 },
}

test.each<[Partial<Exchange>, string, string]>([
  [{}, 'allow', 'GET /a: no binding fits (200)'],
  [
    { binding: 'a "b"', revision: 3, headers: ['X-A', 'X-B'] },
    'allow',
    'GET /a: binding "a \\"b\\"", revision 3, sets X-A, X-B (200)',
  ],
  [{ binding: 'b', refusal: 'no', status: 400 }, 'deny', 'GET /a: no (400)'],
  [{ status: 0 }, 'allow', 'GET /a: no binding fits'],
])('decidedOf() of %j is %s: %s', (fields, verdict, reason) => {
  expect(decidedOf({ ...exchange, ...fields })).toEqual({
    ...{ kind: 'request', verdict, reason, name: 'a.example', protocol: 'https', port: 443 },
    ...{ bytesSent: 1, bytesReceived: 2, durationMs: 3 },
  })
})

test.each(['/a?q=secret', '/a#secret', '/a'])('a tally of %s has no more than the path', (target) => {
  expect(new Tally(server, { method: 'GET', target }).sum().path).toBe('/a')
})

test.each<[string, (head: RequestHead) => Decided]>([
  ['requests', (head) => decidedOf(new Tally(server, head).sum())],
  ['connections', ({ host = '' }) => ({ kind: 'connection', verdict: 'deny', reason: host, name: host })],
])('a record of %s does not keep the heads that their texts stood in', (_what, decide) => {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  const field = `X: ${'x'.repeat(60_000)}`
  const bytes = Buffer.from(
    `GET /a-path-of-some-length HTTP/1.1\r\nHost: a-long-name.example\r\n${field}\r\n\r\n`,
  )
  const record = new DecisionRecord()
  collect()
  const before = getHeapStatistics().used_heap_size
  for (let count = 0; count < 500; count++) {
    const head = parseRequestHead(bytes.toString('latin1'))
    if ('problem' in head) throw new Error(head.problem)
    record.add('a', decide(head))
  }
  collect()
  expect(record.newest('a')).toBe(500)
  expect(getHeapStatistics().used_heap_size - before).toBeLessThan((500 * bytes.length) / 4)
})
