import { expect, test } from 'vitest'
import { withPins } from '../../../egress/dns/pinned.ts'

const asking = { whose: 'sb', signal: new AbortController().signal }

test('a pinned name is answered here, and for every other one the name servers are asked', async () => {
  const asked: string[] = []
  const upstream = withPins(
    {
      async ask({ name }) {
        asked.push(name)
        return { rcode: 3, answers: [] }
      },
    },
    new Map([['a.test', '192.0.2.5']]),
  )
  expect(await upstream.ask({ name: 'a.test', type: 'A' }, asking)).toMatchObject({
    rcode: 0,
    answers: [{ type: 'A', name: 'a.test', data: '192.0.2.5' }],
  })
  expect(await upstream.ask({ name: 'a.test', type: 'TXT' }, asking)).toEqual({ rcode: 0, answers: [] })
  expect((await upstream.ask({ name: 'b.test', type: 'A' }, asking)).rcode).toBe(3)
  expect(asked).toEqual(['b.test'])
})
