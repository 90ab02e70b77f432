// The stream of what was decided about a sandbox, as control hands it on.

import { Readable } from 'node:stream'
import { expect, onTestFinished, test } from 'vitest'
import type { EgressRequest } from '../../control/egress-client.ts'
import { type ControlAppOptions, createControlApp, MINIMAL } from '../support/control-app.ts'

const KEY = { 'open-sandbox-api-key': 'root-key' }
const EVENT = 'id: x-1\nevent: decision\ndata: {}\n\n'

async function setup(open: ControlAppOptions['openEgressStream']) {
  const control = createControlApp({
    access: { apiKey: 'root-key' },
    ...(open && { openEgressStream: open }),
  })
  onTestFinished(control.close)
  const made = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  const path = `/v1/sandboxes/${made.body.id}/networkpolicy/events/stream`
  return { control, path }
}

test('comes as egress says it, with where it is to go on, and ends for egress when its reader leaves', async () => {
  const asked: EgressRequest[] = []
  const { control, path } = await setup(async (request) => {
    asked.push(request)
    return {
      status: 200,
      contentType: 'text/event-stream',
      body: toBody(forEver(request.signal)),
    }
  })
  const answer = await control.app.request(`http://localhost:8080${path}?after=7`, {
    headers: { ...KEY, 'last-event-id': 'x-9' },
  })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const reader = answer.body?.getReader()
  expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(EVENT)
  const [{ question, lastEventId, token, signal } = {} as EgressRequest] = asked
  expect([question, lastEventId]).toEqual(['/events/stream?after=7', 'x-9'])
  expect(token).toBeTruthy()
  await reader?.cancel()
  await expect.poll(() => signal.aborted).toBe(true)
})

test.each([
  [429, 'at most 16 readers', 429, 'GENERAL::BAD_REQUEST'],
  [404, '404 page not found', 409, 'EGRESS::POLICY_UNAVAILABLE'],
])('what egress says against it comes as an envelope: %i', async (status, text, expected, code) => {
  const { control, path } = await setup(async () => ({
    status,
    contentType: 'text/plain',
    body: toBody([Buffer.from(text)]),
  }))
  const answer = await control.call('GET', path, undefined, KEY)
  expect([answer.status, answer.body.code]).toEqual([expected, code])
})

test('is for who may see the sandbox, and says when egress is away', async () => {
  const { control, path } = await setup(async () => {
    throw new Error('connect ECONNREFUSED')
  })
  expect((await control.call('GET', path)).status).toBe(401)
  expect(
    (await control.call('GET', '/sandboxes/none/networkpolicy/events/stream', undefined, KEY)).status,
  ).toBe(404)
  expect((await control.call('GET', path, undefined, KEY)).body.code).toBe('BACKEND_CONNECTION_FAILED')
})

const toBody = (chunks: Iterable<Buffer> | AsyncIterable<Buffer>) =>
  Readable.toWeb(Readable.from(chunks)) as ReadableStream<Uint8Array>

async function* forEver(signal: AbortSignal) {
  yield Buffer.from(EVENT)
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}
