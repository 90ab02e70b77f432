import { expect, test } from 'vitest'
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
