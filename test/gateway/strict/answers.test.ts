// Every answer of the corpus, given by a server in a sandbox: the client that asked gets none of the hidden one, and the next
// client gets the answer to its own request, over another connection.

import { describe, expect, test } from 'vitest'
import { dial, exchange, head, startGateway, startRaw } from '../support.ts'
import { ANSWERS_AND_MORE, type Answer, BROKEN_ANSWERS, REFUSED_ANSWERS } from './answers.ts'

const HONEST = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest'

/** What the client that meets the answer gets, and the one after it. */
async function meet(bytes: string, method = 'GET'): Promise<{ first: string; second: string; used: number }> {
  const gateway = await startGateway()
  const upstream = await startRaw((peer, at) => {
    peer.socket.on('data', () => peer.send(at === 0 ? bytes : HONEST))
  })
  gateway.routes.put('a', upstream.port)
  const first = await exchange(gateway.port, head(`${method} /`, 'Connection: close'))
  const second = await exchange(gateway.port, head('GET /', 'Connection: close'))
  return { first, second, used: upstream.peers.length }
}

async function wrongOf(
  answers: readonly Answer[],
  isRight: (met: { first: string; second: string; used: number }) => boolean,
): Promise<unknown[]> {
  const wrong: unknown[] = []
  for (const { name, bytes } of answers) {
    const met = await meet(bytes)
    const isKept = met.first.includes('evil-body') || !met.second.endsWith('\r\n\r\nhonest') || met.used !== 2
    if (isKept || !isRight(met)) wrong.push({ name, ...met })
  }
  return wrong
}

describe('an answer', () => {
  test('that could be read in two ways is refused', async () => {
    const wrong = await wrongOf(REFUSED_ANSWERS, ({ first }) => {
      const finals = first.replaceAll(/HTTP\/1\.1 103 [^\r]*\r\n(?:[^\r]+\r\n)*\r\n/g, '')
      return finals.startsWith('HTTP/1.1 502 ') && finals.includes('BACKEND_RESPONSE_FAILED')
    })
    expect(wrong).toEqual([])
  })

  test('that turns out to be wrong is broken off', async () => {
    // The last chunk, which would make it whole, never comes.
    expect(await wrongOf(BROKEN_ANSWERS, ({ first }) => !/\r\n0\r\n\r\n$/.test(first))).toEqual([])
  })

  test('with more behind it ends where it says', async () => {
    expect(
      await wrongOf(ANSWERS_AND_MORE, ({ first }) =>
        /^HTTP\/1\.1 (200|204|304) [\s\S]*\r\n\r\n(ok|2\r\nok\r\n0\r\n\r\n|)$/.test(first),
      ),
    ).toEqual([])
  })

  test('to HEAD with a body has none', async () => {
    const { first, second, used } = await meet(HONEST.replace('honest', 'evil!!'), 'HEAD')
    expect(first).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\n$/)
    expect([second.endsWith('honest'), used]).toEqual([true, 2])
  })

  test('that comes before anybody asked is nobody’s', async () => {
    const gateway = await startGateway()
    const upstream = await startRaw((peer, at) => {
      peer.socket.on('data', () =>
        peer.send(at === 0 ? `${HONEST}${HONEST.replace('honest', 'poison')}` : HONEST),
      )
    })
    gateway.routes.put('a', upstream.port)
    const client = dial(gateway.port)
    for (let round = 0; round < 3; round++) {
      client.send(head('GET /'))
      expect(await client.read(/honest|poison/)).not.toContain('poison')
      client.take()
    }
  })
})
