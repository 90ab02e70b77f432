import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import { DecisionRecord } from '../../../egress/record.ts'
import { createEventStreams } from '../../../egress/routes/event-stream.ts'
import { ApiError } from '../../../lib/errors.ts'

function setup({ limits = {}, pingMs = 60_000 }: { limits?: object; pingMs?: number } = {}) {
  const record = new DecisionRecord({ limits, now: () => 36 })
  const state = { isThere: true }
  const follow = createEventStreams()
  const app = new Hono()
  app.get('/', (context) => {
    const after = context.req.query('after')
    return follow(context, 'sb', {
      record,
      pingMs,
      isThere: () => state.isThere,
      ...(after !== undefined && { after: Number(after) }),
    })
  })
  app.onError(
    (error) => new Response(error.message, { status: error instanceof ApiError ? error.status : 500 }),
  )
  const open = async (query = '', lastEventId?: string) => {
    const response = await app.request(`/${query}`, {
      headers: lastEventId === undefined ? {} : { 'Last-Event-ID': lastEventId },
    })
    const reader = response.body?.getReader()
    let text = ''
    const until = async (pattern: RegExp) => {
      while (!pattern.test(text)) {
        const { value, done } = (await reader?.read()) ?? { done: true, value: undefined }
        if (done) throw new Error(`it ended with ${text}`)
        text += Buffer.from(value).toString()
      }
      return text
    }
    const end = async () => void (await reader?.cancel())
    onTestFinished(end)
    return { response, until, end }
  }
  const add = (name: string) => record.add('sb', { kind: 'name', verdict: 'deny', reason: 'r', name })
  return { record, state, open, add }
}

test('a reader hears of what comes, and after its return of what it has missed', async () => {
  const { open, add } = setup()
  add('before.example')
  const first = await open()
  expect(first.response.headers.get('Content-Type')).toBe('text/event-stream')
  await first.until(/: open/)
  add('one.example')
  const text = await first.until(/one\.example/)
  expect(text).toContain('id: 10-2\nevent: decision\ndata: {"sequence":2,')
  expect(text).not.toContain('before.example')
  await first.end()
  add('two.example')
  add('three.example')
  const again = await open('', '10-2')
  const missed = await again.until(/three\.example/)
  expect(missed).toContain('two.example')
  expect(missed).not.toContain('one.example')
})

test('a reader may begin anywhere, and is told what is not kept any more', async () => {
  const { open, add } = setup({ limits: { perSandbox: 2 } })
  for (let count = 0; count < 9; count++) add(`n${count}.example`)
  const text = await (await open('?after=0')).until(/n8\.example/)
  expect(text).toContain('event: lost\ndata: {"lost":7}')
  expect(text).toContain('n7.example')
})

test('a reader of an earlier run of egress is told to begin anew', async () => {
  const { open, add } = setup()
  add('a.example')
  for (const id of ['zz-1', '10-99']) {
    const text = await (await open('', id)).until(/a\.example/)
    expect(text).toContain('event: reset')
  }
})

test('a stream says that it lives, and ends with its sandbox', async () => {
  const { open, state, record } = setup({ pingMs: 10 })
  const reader = await open()
  await reader.until(/: ping/)
  state.isThere = false
  record.remove('sb')
  await reader.until(/event: end/)
})

test('one sandbox has so many readers at once; those that leave make room', async () => {
  const { open } = setup()
  const readers = await Promise.all(Array.from({ length: 16 }, () => open()))
  await Promise.all(readers.map(({ until }) => until(/: open/)))
  const refused = await open()
  expect(refused.response.status).toBe(429)
  await readers[0]?.end()
  await expect.poll(async () => (await open()).response.status).toBe(200)
})

test('the id of something else is refused', async () => {
  const { open } = setup()
  expect((await open('', 'not an id')).response.status).toBe(400)
})
