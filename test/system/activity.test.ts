// Traffic through the gateway keeps a sandbox alive, and a create that is sent again makes nothing, on the real machine.

import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { type Edge, startEdge } from '../support/edge.ts'
import { waitFor } from '../support/wait-for.ts'

let edge: Edge
beforeAll(async () => {
  edge = await startEdge()
}, 120_000)
afterAll(() => edge?.dispose(), 120_000)

type Raw = { id: string; expiresAt: string; status: { state: string } }

const BODY = {
  image: { uri: 'host' },
  entrypoint: ['python3', '-m', 'http.server', '8000'],
  resourceLimits: { cpu: '1', memory: '256Mi' },
  timeout: 60,
  extensions: { 'access.renew.extend.seconds': '300' },
}

const post = (headers: Record<string, string> = {}) =>
  fetch(`${edge.url}/v1/sandboxes`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(BODY),
  })
const get = async (id: string) => (await (await fetch(`${edge.url}/v1/sandboxes/${id}`)).json()) as Raw
const secondsLeft = async (id: string) => (Date.parse((await get(id)).expiresAt) - Date.now()) / 1000
const ask = (id: string, headers: Record<string, string> = {}) =>
  fetch(`${edge.url}/sandboxes/${id}/proxy/44772/ping`, { headers })

test('L19: requests renew, those that say skip do not, and an open WebSocket does while it carries bytes', async () => {
  const { id } = (await (await post()).json()) as Raw
  await ask(id, { 'opensandbox-access-renew': 'skip' })
  const endpoint = (await (await fetch(`${edge.url}/v1/sandboxes/${id}/endpoints/44772`)).json()) as {
    endpoint: string
    headers: Record<string, string>
  }
  const made = await fetch(`http://${endpoint.endpoint}/pty`, {
    method: 'POST',
    headers: { ...endpoint.headers, 'content-type': 'application/json', 'opensandbox-access-renew': 'skip' },
    body: JSON.stringify({ command: 'cat' }),
  })
  const { session_id } = (await made.json()) as { session_id: string }
  expect(await secondsLeft(id)).toBeLessThan(60)
  const socket = new WebSocket(`ws://${endpoint.endpoint}/pty/${session_id}/ws`, {
    headers: endpoint.headers,
  })
  await new Promise((resolve, reject) => {
    socket.once('open', resolve)
    socket.once('error', reject)
  })
  await waitFor(async () => expect(await secondsLeft(id)).toBeGreaterThan(290))
  // It moves on by a twentieth of what traffic gives at a time.
  const first = Date.parse((await get(id)).expiresAt)
  const talking = setInterval(() => socket.send(Buffer.from([0, 0x61])), 200)
  await vi.waitFor(async () => expect(Date.parse((await get(id)).expiresAt)).toBeGreaterThan(first), 25_000)
  clearInterval(talking)
  socket.close()
  await fetch(`${edge.url}/v1/sandboxes/${id}`, { method: 'DELETE' })
}, 60_000)

test('an Idempotency-Key is known after everything was started anew', async () => {
  const key = { 'idempotency-key': '"0d5b1d0e-4b6b-4b0f-9f0a-1d1d5b6a7c11"' }
  const [first, second] = await Promise.all([post(key), post(key)])
  const text = await first.text()
  expect([first.status, await second.text()]).toEqual([202, text])
  await edge.stop()
  edge = await startEdge({ dataDir: edge.dataDir })
  const again = await post(key)
  expect([again.status, again.headers.get('idempotent-replayed'), await again.text()]).toEqual([
    202,
    'true',
    text,
  ])
  const { id } = JSON.parse(text) as Raw
  expect((await get(id)).status.state).toBe('Running')
  const { items } = (await (await fetch(`${edge.url}/v1/sandboxes`)).json()) as { items: Raw[] }
  expect(items.map((item) => item.id)).toEqual([id])
}, 120_000)
