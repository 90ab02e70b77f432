import { expect, onTestFinished, test } from 'vitest'
import { createFeedApp } from '../../control/feed-app.ts'
import { RoutesFeed } from '../../control/routes-feed.ts'
import type { SandboxRow } from '../../control/store/rows.ts'
import { Store } from '../../control/store/sqlite.ts'
import type { RouteEvent } from '../../lib/api/routes-feed.ts'
import { MIGRATIONS } from '../support/control-app.ts'
import { sandboxRow } from '../support/sandbox-row.ts'

type Options = { maxLog?: number; pingMs?: number; rows?: Partial<SandboxRow>[] }

function open({ rows = [], ...options }: Options = {}) {
  const store = new Store({ path: ':memory:', migrationsDir: MIGRATIONS })
  for (const row of rows) store.insert(sandboxRow(row))
  const feed = new RoutesFeed({ store, policySocket: '/run/p.sock', epoch: 'e1', ...options })
  const stopped = new AbortController()
  onTestFinished(() => {
    stopped.abort()
    feed[Symbol.dispose]()
    store.close()
  })
  const read = (from: { epoch?: string; since?: number } = {}) => {
    const reader = feed.read(from, stopped.signal)
    return {
      reader,
      /** The next events, flat, until one of `type` has come. */
      until: async (type: RouteEvent['type']) => {
        const events: RouteEvent[] = []
        for (;;) {
          const { done, value } = await reader.next()
          if (done) return events
          events.push(...value)
          if (value.some((event) => event.type === type)) return events
        }
      },
    }
  }
  return { store, feed, stopped, read }
}

test('a new reader gets everything, then what changes', async () => {
  const { store, read } = open({ rows: [{ id: 'a' }, { id: 'b', state: 'Pending', address: null }] })
  const { until } = read()
  expect(await until('ready')).toEqual([
    { type: 'reset', epoch: 'e1', version: 2 },
    {
      type: 'put',
      version: 2,
      route: {
        id: 'a',
        state: 'running',
        address: '10.88.0.10',
        ports: { '18080': { socketPath: '/run/p.sock', pathPrefix: '/sandboxes/a' } },
        generation: 1,
      },
    },
    {
      type: 'put',
      version: 2,
      route: {
        id: 'b',
        state: 'pending',
        ports: { '18080': { socketPath: '/run/p.sock', pathPrefix: '/sandboxes/b' } },
        generation: 1,
      },
    },
    { type: 'ready', epoch: 'e1', version: 2 },
  ])
  store.update('a', { state: 'Paused' })
  store.delete('b', { at: 2, isKnown: false })
  expect(await until('delete')).toMatchObject([
    { type: 'put', version: 3, route: { id: 'a', state: 'paused' } },
    { type: 'delete', version: 4, id: 'b' },
  ])
})

test('a change that no route depends on is not told', async () => {
  const { store, feed } = open({ rows: [{ id: 'a' }] })
  store.update('a', { metadata: { x: 'y' }, expiresAt: 5 })
  expect(feed.version).toBe(1)
})

test('a hidden sandbox has no route', () => {
  const { store, feed } = open({ rows: [{ id: 'a' }] })
  store.update('a', { state: 'Stopping', hidden: true })
  expect(feed.get('a')).toBeUndefined()
})

test('a reader that comes back gets only what it missed', async () => {
  const { store, read } = open({ rows: [{ id: 'a' }, { id: 'b' }] })
  store.delete('a', { at: 2, isKnown: false })
  const { until } = read({ epoch: 'e1', since: 2 })
  expect(await until('ready')).toEqual([
    { type: 'delete', version: 3, id: 'a' },
    { type: 'ready', epoch: 'e1', version: 3 },
  ])
})

test.each([
  ['another epoch', { epoch: 'e0', since: 2 }],
  ['a future version', { epoch: 'e1', since: 99 }],
  ['no version', { epoch: 'e1' }],
])('a reader with %s begins anew', async (_what, from) => {
  const { read } = open({ rows: [{ id: 'a' }, { id: 'b' }] })
  expect((await read(from).until('ready'))[0]?.type).toBe('reset')
})

test('a reader that is slower than the log is cut off', async () => {
  const { store, read } = open({ maxLog: 8, rows: [{ id: 'a' }] })
  const { until, reader } = read()
  await until('ready')
  for (let generation = 2; generation < 50; generation++) store.update('a', { generation })
  expect(await reader.next()).toEqual({ done: true, value: undefined })
  expect((await read({ epoch: 'e1', since: 1 }).until('ready'))[0]?.type).toBe('reset')
})

test('changes while a reader is still reading the table come after it, none lost', async () => {
  const rows = Array.from({ length: 450 }, (_, at) => ({ id: `s${at}` }))
  const { store, read } = open({ rows })
  const { reader } = read()
  const seen = new Map<string, string>()
  let isReady = false
  let touched = 0
  while (!isReady) {
    const { value = [] } = await reader.next()
    for (const event of value) {
      if (event.type === 'put') seen.set(event.route.id, event.route.state)
      if (event.type === 'delete') seen.delete(event.id)
      isReady ||= event.type === 'ready'
    }
    if (touched < 2) {
      store.update(`s${touched}`, { state: 'Paused' })
      store.delete(`s${449 - touched}`, { at: 2, isKnown: false })
      touched++
    }
  }
  expect(seen.size).toBe(448)
  expect([seen.get('s0'), seen.get('s1'), seen.get('s2')]).toEqual(['paused', 'paused', 'running'])
})

test('a quiet feed pings, and ends with its signal', async () => {
  const { read, stopped } = open({ pingMs: 5 })
  const { until, reader } = read()
  await until('ready')
  expect(await until('ping')).toEqual([{ type: 'ping', version: 0 }])
  stopped.abort()
  expect((await reader.next()).done).toBe(true)
})

test('the feed as HTTP: lines of JSON, one route, an envelope when there is none', async () => {
  const { feed, stopped, store } = open({ rows: [{ id: 'a' }] })
  const app = createFeedApp({
    feed,
    activity: { record: () => {} },
    checkKey: async () => {},
    wake: async () => {},
    redeem: () => undefined,
    stopped: stopped.signal,
  })
  const response = await app.request('/routes')
  expect(response.headers.get('content-type')).toBe('application/x-ndjson')
  const lines: RouteEvent[] = []
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    for (const line of decoder.decode(chunk as Uint8Array).split('\n')) if (line) lines.push(JSON.parse(line))
    if (lines.at(-1)?.type === 'ready') store.delete('a', { at: 2, isKnown: false })
    if (lines.at(-1)?.type === 'delete') break
  }
  expect(lines.map(({ type }) => type)).toEqual(['reset', 'put', 'ready', 'delete'])
  store.insert(sandboxRow({ id: 'c' }))
  expect(await (await app.request('/routes/c')).json()).toMatchObject({ id: 'c', state: 'running' })
  const none = await app.request('/routes/nope')
  expect([none.status, await none.json()]).toEqual([
    404,
    { code: 'DOCKER::SANDBOX_NOT_FOUND', message: expect.any(String) },
  ])
})
