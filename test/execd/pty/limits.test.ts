import { expect, onTestFinished, test, vi } from 'vitest'
import type { PtyList } from '../../../lib/api/execd-pty.ts'
import { createPty, PtyClient, statusOf } from './pty-client.ts'
import { startPtyServer } from './pty-server.ts'

test('Y8: sessions are limited, and those that are in use are never ended to make room', async () => {
  const server = await startPtyServer({ maxSessions: 3 })
  const [idle, running] = [await createPty(server), await createPty(server)]
  await (await PtyClient.connect(server, running)).ws.terminate()
  const watched = await createPty(server)
  await PtyClient.connect(server, watched, '?view=1')
  const next = await createPty(server)
  expect((await server.call(`/pty/${idle}`)).status).toBe(404)
  await PtyClient.connect(server, next)
  const refused = await server.call('/pty', { method: 'POST' })
  expect([refused.status, await refused.json()]).toEqual([
    429,
    { code: 'TOO_MANY', message: 'There are 3 PTY sessions that are all in use: delete one first' },
  ])
  const { sessions } = (await (await server.call('/pty')).json()) as PtyList
  expect(sessions.map(({ session_id }) => session_id)).toEqual([running, watched, next])
  await server.call(`/pty/${watched}`, { method: 'DELETE' })
  expect((await server.call('/pty', { method: 'POST' })).status).toBe(201)
  expect((await statusOf(server, running)).running).toBe(true)
})

test('Y8: a session that nobody uses is forgotten after a while, and one that runs is not', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'Date'] })
  onTestFinished(() => {
    vi.useRealTimers()
  })
  const server = await startPtyServer({
    idleMs: 600_000,
    // The client hears no ping while the clock is put forward.
    times: { pingMs: 30_000, silenceMs: Number.POSITIVE_INFINITY },
  })
  const idle = await createPty(server)
  const running = await createPty(server)
  const client = await PtyClient.connect(server, running)
  const statusCodes = async () =>
    Promise.all([idle, running].map(async (id) => (await server.call(`/pty/${id}`)).status))
  vi.advanceTimersByTime(590_000)
  expect(await statusCodes()).toEqual([200, 200])
  vi.advanceTimersByTime(120_000)
  expect(await statusCodes()).toEqual([404, 200])
  client.type('exit\n')
  await client.closed
  // The client may know that it has gone before the server does.
  await expect
    .poll(() => {
      vi.advanceTimersByTime(700_000)
      return statusCodes()
    })
    .toEqual([404, 404])
})
