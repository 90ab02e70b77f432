// Frames of any kind do no harm: the session and execd answer afterwards, and the program is still the same.

import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Daemon, startDaemon } from '../daemon.ts'
import { createPty, PtyClient, statusOf } from './pty-client.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const types = fc.constantFrom('stdin', 'resize', 'signal', 'ping', 'eof', 'connected', '', 5, null)
const frame = fc.oneof(
  fc.record({ kind: fc.constant('binary' as const), bytes: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({
    kind: fc.constant('binary' as const),
    bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Uint8Array.from([0, ...bytes])),
  }),
  fc.record({ kind: fc.constant('text' as const), text: fc.oneof(fc.string({ unit: 'binary' }), fc.json()) }),
  fc.record({
    kind: fc.constant('text' as const),
    text: fc
      .record(
        {
          type: types,
          data: fc.oneof(fc.string({ unit: 'binary' }), fc.anything()),
          cols: fc.oneof(fc.integer(), fc.double(), fc.anything()),
          rows: fc.oneof(fc.integer({ min: 1, max: 70_000 }), fc.anything()),
          // What ends the program would say nothing about frames.
          signal: fc.oneof(fc.constantFrom('SIGWINCH', 'SIGFOO', 'sigint'), fc.anything()),
        },
        { requiredKeys: [] },
      )
      .map(
        (value) => JSON.stringify(value, (_, item) => (typeof item === 'bigint' ? `${item}` : item)) ?? '',
      ),
  }),
)

test.each(['?pty=1', '?pty=0'])('frames of any kind, with %s', async (query) => {
  // It reads all that comes and takes it for nothing, end of file and keys that send signals included.
  const id = await createPty(execd, {
    command:
      'stty raw -echo 2>/dev/null; trap "" INT QUIT TSTP; echo ready; while :; do cat >/dev/null; sleep 0.05; done',
  })
  let client = await PtyClient.connect(execd, id, query)
  await client.see(/ready/)
  const { pid } = await statusOf(execd, id)
  await fc.assert(
    fc.asyncProperty(fc.array(frame, { maxLength: 40 }), async (frames) => {
      if (client.ws.readyState !== client.ws.OPEN) client = await PtyClient.connect(execd, id, '?takeover=1')
      for (const item of frames)
        if (item.kind === 'binary') client.ws.send(item.bytes, { binary: true })
        else client.ws.send(item.text)
      const before = client.frames.length
      client.send({ type: 'ping' })
      await client.next('pong', before)
    }),
    { numRuns: 100 },
  )
  expect(await statusOf(execd, id)).toMatchObject({ running: true, pid })
})

test('queries of any kind are answered', async () => {
  const id = await createPty(execd, { command: 'sleep 1000' })
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'binary' }), fc.webPath(), async (since, path) => {
      const query = new URLSearchParams({ since, pty: since, takeover: since, view: since })
      for (const url of [`/pty/${id}/ws?${query}`, `/pty/${encodeURIComponent(path)}/ws`, `/pty${path}`]) {
        const response = await execd.call(url)
        await response.arrayBuffer()
        expect(response.status).toBeLessThan(500)
      }
    }),
    { numRuns: 50 },
  )
})
