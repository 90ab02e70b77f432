// The stream of events: it resumes where a reader was, shows each tenant its own, and outlives the sandbox.

import { expect, onTestFinished, test, vi } from 'vitest'
import { AuditLog } from '../../control/store/audit.ts'
import { prune } from '../../control/store/retention.ts'
import { type ControlApp, createControlApp, MINIMAL } from '../support/control-app.ts'
import { waitFor } from '../support/wait-for.ts'

const KEY = { 'open-sandbox-api-key': 'root-key' }

type Frame = { id?: number; event?: string; data?: Record<string, unknown> }

function open(): ControlApp {
  const control = createControlApp({ access: { apiKey: 'root-key' } })
  onTestFinished(control.close)
  return control
}

/** Reads frames of a stream until there are `count`; comments are left out. */
async function read(control: ControlApp, path: string, count: number, headers: Record<string, string> = KEY) {
  const left = new AbortController()
  const response = await control.app.request(`http://localhost${path}`, {
    headers: { host: 'localhost:8080', ...headers },
    signal: left.signal,
  })
  expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream'])
  const frames: Frame[] = []
  let text = ''
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  while (frames.length < count) {
    const part = await reader.read()
    if (part.done) break
    text += part.value
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const frame = parse(text.slice(0, end))
      text = text.slice(end + 2)
      if (frame.data) frames.push(frame)
    }
  }
  await reader.cancel()
  left.abort()
  return frames
}

function parse(text: string): Frame {
  const frame: Frame = {}
  for (const line of text.split('\n')) {
    if (line.startsWith('id: ')) frame.id = Number(line.slice(4))
    if (line.startsWith('event: ')) frame.event = line.slice(7)
    if (line.startsWith('data: ')) frame.data = JSON.parse(line.slice(6)) as Record<string, unknown>
  }
  return frame
}

test('tells the life of a sandbox as it happens, and from any point again', async () => {
  const control = open()
  const reading = read(control, '/v1/events', 5)
  const made = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  const id = String(made.body.id)
  await control.call('POST', `/sandboxes/${id}/pause`, undefined, KEY)
  const frames = await reading
  expect(frames.map(({ event, data }) => [event, data?.state])).toEqual([
    ['created', 'Pending'],
    ['state', 'Pending'],
    ['state', 'Running'],
    ['state', 'Pausing'],
    ['state', 'Paused'],
  ])
  expect(frames[2]?.data).toMatchObject({ sandboxId: id, reason: 'CONTAINER_RUNNING', id: frames[2]?.id })
  const again = await read(control, `/v1/events?after=${frames[1]?.id}`, 3)
  expect(again).toEqual(frames.slice(2))
  const resumed = await read(control, '/v1/events', 1, { ...KEY, 'last-event-id': String(frames[3]?.id) })
  expect(resumed).toEqual(frames.slice(4))
})

test('says when what a reader missed is not there any more', async () => {
  const control = open()
  await control.call('POST', '/sandboxes', MINIMAL, KEY)
  const { newest } = control.store.events.range()
  const [ahead] = await read(control, '/v1/events?after=99999', 1)
  expect(ahead?.event).toBe('reset')
  prune(control.store.database, 'events', Date.now() + 1, newest - 1)
  const [behind, next] = await read(control, '/v1/events?after=1', 2)
  expect([behind?.event, behind?.data?.oldest, next?.id]).toEqual(['reset', newest, newest])
})

test('a reader that has seen everything misses nothing when all of it was removed', async () => {
  const control = open()
  const { body } = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  const { newest } = control.store.events.range()
  prune(control.store.database, 'events', Date.now() + 1, newest)
  expect(control.store.events.range()).toEqual({ oldest: newest + 1, newest })
  const reading = read(control, `/v1/events?after=${newest}`, 1)
  await control.call('DELETE', `/sandboxes/${body.id}`, undefined, KEY)
  const [next] = await reading
  expect([next?.event, next?.id]).toEqual(['state', newest + 1])
})

test('a tenant is told of its own sandboxes alone', async () => {
  const control = open()
  const key = async (name: string) => {
    const { body } = await control.call('POST', '/admin/keys', { name, tenant: name }, KEY)
    return { 'open-sandbox-api-key': String(body.key) }
  }
  const [red, blue] = [await key('red'), await key('blue')]
  const first = await control.call('POST', '/sandboxes', MINIMAL, red)
  const second = await control.call('POST', '/sandboxes', MINIMAL, blue)
  const seen = await read(control, '/v1/events?after=0', 3, blue)
  expect(new Set(seen.map(({ data }) => data?.sandboxId))).toEqual(new Set([second.body.id]))
  const history = `/sandboxes/${first.body.id}/history`
  expect((await control.call('GET', history, undefined, blue)).status).toBe(404)
  expect((await control.call('GET', history, undefined, red)).body.items).toHaveLength(3)
})

test('a reader is woken by what concerns it, and by nothing else', async () => {
  const control = open()
  const key = async (name: string) => {
    const { body } = await control.call('POST', '/admin/keys', { name, tenant: name }, KEY)
    return { 'open-sandbox-api-key': String(body.key) }
  }
  const [red, blue] = [await key('red'), await key('blue')]
  const own = await control.call('POST', '/sandboxes', MINIMAL, blue)
  const looks = vi.spyOn(control.store.events, 'after')
  onTestFinished(() => looks.mockRestore())
  const ofTenant = read(control, '/v1/events', 1, blue)
  const ofSandbox = read(control, `/v1/events?sandboxId=${own.body.id}`, 1, KEY)
  await waitFor(() => expect(looks).toHaveBeenCalledTimes(2))
  for (let at = 0; at < 5; at++) {
    const made = await control.call('POST', '/sandboxes', MINIMAL, red)
    expect((await control.call('DELETE', `/sandboxes/${made.body.id}`, undefined, red)).status).toBe(204)
  }
  expect(looks).toHaveBeenCalledTimes(2)
  await control.call('DELETE', `/sandboxes/${own.body.id}`, undefined, blue)
  for (const [frame] of await Promise.all([ofTenant, ofSandbox]))
    expect(frame?.data).toMatchObject({ sandboxId: own.body.id, state: 'Stopping' })
})

test('the history of a sandbox is there after it is gone', async () => {
  const control = open()
  const { body } = await control.call('POST', '/sandboxes', MINIMAL, KEY)
  await control.call('DELETE', `/sandboxes/${body.id}`, undefined, KEY)
  expect((await control.call('GET', `/sandboxes/${body.id}`, undefined, KEY)).status).toBe(404)
  const { body: history } = await control.call('GET', `/sandboxes/${body.id}/history`, undefined, KEY)
  expect(
    (history.items as { type: string; state: string }[]).map(({ type, state }) => `${type} ${state}`),
  ).toEqual(['created Pending', 'state Pending', 'state Running', 'state Stopping', 'deleted Stopping'])
  expect((await control.call('GET', '/sandboxes/never-was/history', undefined, KEY)).status).toBe(404)
})

test.each(['x', '-1', '1.5'])('Last-Event-ID "%s" is refused', async (id) => {
  const answer = await open().call('GET', '/events', undefined, { ...KEY, 'last-event-id': id })
  expect([answer.status, answer.body.code]).toEqual([422, 'GENERAL::INVALID_REQUEST'])
})

test("a tenant's events and audit are found by an index, however much happens to others", () => {
  const { store } = open()
  const audit = new AuditLog(store.database)
  const { raw } = store.database
  const asked: string[] = []
  const prepare = raw.prepare.bind(raw)
  const spied = vi.spyOn(raw, 'prepare').mockImplementation((text: string) => {
    asked.push(text)
    return prepare(text)
  })
  store.events.after(0, { tenant: 'red', limit: 200 })
  store.events.after(0, { tenant: 'red', sandboxId: 'a', limit: 200 })
  audit.after(0, { tenant: 'red', limit: 100 })
  audit.after(0, { tenant: 'red', actor: 'ci', limit: 100 })
  spied.mockRestore()
  const plans = asked.map((text) => {
    const values = Array.from(text.matchAll(/\?/g), () => 1)
    const steps = raw.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...values) as { detail: string }[]
    return steps.map(({ detail }) => detail.split(' (')[0])
  })
  expect(plans).toEqual([
    ['SEARCH events USING INDEX events_by_tenant'],
    ['SEARCH events USING INDEX events_by_sandbox'],
    ['SEARCH audit USING INDEX audit_by_tenant'],
    ['SEARCH audit USING INDEX audit_by_tenant'],
  ])
})
