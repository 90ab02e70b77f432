// What moves the end of a sandbox, and what does not: renewals, traffic, the wall clock.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { Clock } from '../../control/clock.ts'
import { startControl } from '../../control/control.ts'
import { decideActivity, idleAtOf, isWorthWriting } from '../../control/sandbox/activity.ts'
import { expireSandbox, pauseIdleSandbox } from '../../control/sandbox/change.ts'
import { runDeadlines } from '../../control/sandbox/deadlines.ts'
import { Doubts } from '../../control/sandbox/doubts.ts'
import { runReconciler } from '../../control/sandbox/reconcile.ts'
import { createSilentLogger } from '../../lib/log.ts'
import {
  type ControlApp,
  type ControlAppOptions,
  createControlApp,
  LIFE_SETTINGS,
  MIGRATIONS,
  MINIMAL,
} from '../support/control-app.ts'
import { createFakeRuntime } from '../support/fake-runtime.ts'
import { sandboxRow } from '../support/sandbox-row.ts'
import { waitFor } from '../support/wait-for.ts'

const BEGIN = Date.UTC(2026, 0, 1)
const HOUR = 3_600_000
const RENEWS = { timeout: 600, extensions: { 'access.renew.extend.seconds': '300' } }
const PAUSES = { extensions: { 'access.idle.pause.seconds': '60' } }

function open(options: ControlAppOptions = {}): ControlApp {
  const control = createControlApp(options)
  onTestFinished(control.close)
  return control
}

/** A control on whose clock time passes when the test says so. */
function openAt(options: ControlAppOptions = {}) {
  const time = { now: BEGIN }
  const control = open({ now: () => time.now, ...options })
  return { control, time }
}

async function make(control: ControlApp, more: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await control.call('POST', '/sandboxes', { ...MINIMAL, ...more })
  expect(status).toBe(202)
  return String(body.id)
}

const renew = (control: ControlApp, id: string, expiresAt: number) =>
  control.call('POST', `/sandboxes/${id}/renew-expiration`, { expiresAt: new Date(expiresAt).toISOString() })

const endOf = (control: ControlApp, id: string) => control.store.get(id)?.expiresAt

test('D1: renewals that come together are all answered, and the row has the last one', async () => {
  const { control } = openAt()
  const id = await make(control, { timeout: 600 })
  const ends = Array.from({ length: 20 }, (_, at) => BEGIN + (at + 1) * 60_000)
  const answers = await Promise.all(ends.map((end) => renew(control, id, end)))
  expect(answers.every(({ status }) => status === 200)).toBe(true)
  expect(endOf(control, id)).toBe(ends.at(-1))
  const history = (await control.call('GET', `/sandboxes/${id}/history`)).body.items as { type: string }[]
  expect(history.filter(({ type }) => type === 'renewed')).toHaveLength(20)
})

test('a renewal and an expiry that come together: it lives on exactly when the renewal was answered', async () => {
  const { control, time } = openAt()
  const ids = await Promise.all(Array.from({ length: 20 }, () => make(control, { timeout: 60 })))
  time.now += 60_000
  const outcomes = await Promise.all(
    ids.flatMap((id, at) => {
      const works = [() => expireSandbox(control.lives, id), () => renew(control, id, time.now + HOUR)]
      return (at % 2 ? works : works.reverse()).map((work) => work())
    }),
  )
  const answers = outcomes.flatMap((outcome) => (outcome ? [outcome] : []))
  await control.lives.turns.idle()
  for (const [at, id] of ids.entries()) {
    const { status } = answers[at] ?? {}
    expect([200, 404]).toContain(status)
    expect(control.store.get(id)?.state).toBe(status === 200 ? 'Running' : undefined)
  }
})

test('a renewal beside a delete: the sandbox goes, and what is answered is so', async () => {
  const { control } = openAt()
  const id = await make(control, { timeout: 600 })
  const [renewed, deleted] = await Promise.all([
    renew(control, id, BEGIN + HOUR),
    control.call('DELETE', `/sandboxes/${id}`),
  ])
  expect(deleted.status).toBe(204)
  expect([200, 404, 409]).toContain(renewed.status)
  expect((await renew(control, id, BEGIN + HOUR)).status).toBe(404)
})

test('D17: a renewal may shorten, and reaches no further than the longest timeout', async () => {
  const { control } = openAt({ life: { maxTimeoutMs: HOUR } })
  const id = await make(control, { timeout: 600 })
  expect((await renew(control, id, BEGIN + 60_000)).status).toBe(200)
  // The clock of the client may be a little ahead.
  expect((await renew(control, id, BEGIN + HOUR + 30_000)).status).toBe(200)
  const far = await renew(control, id, BEGIN + 2 * HOUR)
  expect([far.status, far.body.code]).toEqual([400, 'DOCKER::INVALID_EXPIRATION'])
  expect(far.body.message).toContain('3600 seconds')
  expect(endOf(control, id)).toBe(BEGIN + HOUR + 30_000)
})

test('D5: a deletion, an expiry and a failed start end by one way, which clears away everything', async () => {
  const { control, time } = openAt()
  const [deleted, expired] = [await make(control, { timeout: 60 }), await make(control, { timeout: 60 })]
  await control.call('DELETE', `/sandboxes/${deleted}`)
  time.now += 60_000
  await expireSandbox(control.lives, expired)
  control.runtime.before = (call) => {
    if (call === 'create') throw new Error('no')
  }
  expect((await control.call('POST', '/sandboxes', MINIMAL)).status).toBe(500)
  const ids = control.runtime.specs.map(({ id }) => id)
  expect(control.runtime.calls.filter((call) => call.startsWith('remove'))).toEqual(
    ids.map((id) => `remove ${id}`),
  )
  expect(control.store.all()).toEqual([])
  expect(control.runtime.sandboxes.size).toBe(0)
})

test("D6: a create that fails and cannot be cleared away at once is cleared away later, and is nobody's", async () => {
  const control = open()
  let mayRemove = false
  control.runtime.before = (call) => {
    if (call === 'create' || (call === 'remove' && !mayRemove)) throw new Error('no')
  }
  const loop = runReconciler(control.lives)
  expect((await control.call('POST', '/sandboxes', MINIMAL)).status).toBe(500)
  expect(control.store.all()).toMatchObject([{ state: 'Stopping', hidden: true }])
  expect((await control.call('GET', '/sandboxes')).body.items).toEqual([])
  mayRemove = true
  await waitFor(() => expect(control.store.all()).toEqual([]))
  await control.close()
  await loop
})

test('D16: a deadline in a hundred years is waited for, and one beyond the year 9999 refused', async () => {
  const { control, time } = openAt()
  const id = await make(control, { timeout: 100 * 365 * 86_400 })
  const loop = runDeadlines(control.lives)
  const soon = await make(control, { timeout: 60 })
  time.now += 60_001
  control.store.update(soon, { expiresAt: time.now })
  await waitFor(() => expect(control.store.get(soon)).toBeUndefined())
  expect(control.store.get(id)?.state).toBe('Running')
  expect((await control.call('POST', '/sandboxes', { ...MINIMAL, timeout: 1e12 })).status).toBe(400)
  await control.close()
  await loop
})

test('P8: one timer for all sandboxes', async () => {
  const { control, time } = openAt()
  for (let at = 0; at < 500; at++)
    control.store.insert(sandboxRow({ id: `s${at}`, expiresAt: BEGIN + HOUR + at }))
  const timers = vi.spyOn(globalThis, 'setTimeout')
  onTestFinished(() => timers.mockRestore())
  const loop = runDeadlines(control.lives)
  expect(timers.mock.calls.length).toBeLessThan(3)
  time.now += HOUR + 500
  control.store.update('s0', { expiresAt: BEGIN })
  await waitFor(() => expect(control.store.all()).toEqual([]))
  await control.close()
  await loop
})

test('removals that hang hold up no other deadline', async () => {
  const { control, time } = openAt()
  const ids = await Promise.all(Array.from({ length: 30 }, () => make(control, { timeout: 60 })))
  const hung = new Set(ids.slice(0, 20))
  const opened = Promise.withResolvers<void>()
  control.runtime.before = (call, id) => (call === 'remove' && hung.has(id) ? opened.promise : undefined)
  time.now += 60_000
  const loop = runDeadlines(control.lives)
  await waitFor(() => expect(control.store.all()).toHaveLength(20))
  const late = await make(control, { timeout: 60 })
  control.store.update(late, { expiresAt: time.now })
  await waitFor(() => expect(control.store.get(late)).toBeUndefined())
  opened.resolve()
  await waitFor(() => expect(control.store.all()).toEqual([]))
  expect(control.runtime.calls.filter((call) => call.startsWith('remove'))).toHaveLength(31)
  await control.close()
  await loop
})

test('hundreds of one tenant whose removals hang hold up nobody else', async () => {
  const { control, time } = openAt()
  const opened = Promise.withResolvers<void>()
  const asked: string[] = []
  control.runtime.before = async (call, id) => {
    if (call !== 'remove') return
    asked.push(id)
    if (id.startsWith('stubborn')) await opened.promise
  }
  for (let at = 0; at < 300; at++)
    control.store.insert(sandboxRow({ id: `stubborn${at}`, tenant: 'red', expiresAt: BEGIN }))
  const others = ['blue', 'green'].flatMap((tenant) =>
    Array.from({ length: 10 }, (_, at) => ({ id: `${tenant}${at}`, tenant, expiresAt: BEGIN + 1000 })),
  )
  for (const row of others) control.store.insert(sandboxRow(row))
  time.now = BEGIN + 2000
  const loop = runDeadlines(control.lives)
  await waitFor(() => expect(control.store.all()).toHaveLength(300))
  expect(asked.filter((id) => id.startsWith('stubborn'))).toHaveLength(32)
  opened.resolve()
  await waitFor(() => expect(control.store.all()).toEqual([]))
  await control.close()
  await loop
})

test('what is due is found by an index, however many sandboxes there are', () => {
  const { control } = openAt()
  const { raw } = control.store.database
  const asked: string[] = []
  const prepare = raw.prepare.bind(raw)
  const spied = vi.spyOn(raw, 'prepare').mockImplementation((text: string) => {
    asked.push(text)
    return prepare(text)
  })
  control.store.deadlines.due(BEGIN, 9)
  control.store.deadlines.dueIdle(BEGIN, 9)
  control.store.deadlines.next(9)
  spied.mockRestore()
  expect(asked).toHaveLength(4)
  for (const text of asked) {
    const values = Array.from(text.matchAll(/\?/g), () => 1)
    const steps = raw.prepare(`EXPLAIN QUERY PLAN ${text}`).all(...values) as { detail: string }[]
    expect(steps.map(({ detail }) => detail)).toEqual([
      expect.stringMatching(/^SEARCH sandboxes USING (COVERING )?INDEX sandboxes_by_(deadline|idle)/),
    ])
  }
})

const ROW = sandboxRow({ renewSeconds: 300, expiresAt: 1_000_000, idleSeconds: 60, activeAt: 900_000 })
const FREE = { now: 1_000_000, maxTimeoutMs: Number.POSITIVE_INFINITY }
test.each([
  ['traffic renews and counts as activity', {}, 950_000, FREE, { expiresAt: 1_250_000, activeAt: 950_000 }],
  ['never an earlier end', { expiresAt: 9_000_000 }, 950_000, FREE, { activeAt: 950_000 }],
  ['never less active', {}, 800_000, FREE, { expiresAt: 1_100_000 }],
  ['nothing new', { expiresAt: 9_000_000 }, 900_000, FREE, undefined],
  [
    'no further than is allowed',
    {},
    950_000,
    { now: 1_000_000, maxTimeoutMs: 60_000 },
    { expiresAt: 1_060_000, activeAt: 950_000 },
  ],
  ['no end, nothing to renew', { expiresAt: null }, 950_000, FREE, { activeAt: 950_000 }],
  ['did not ask for either', { renewSeconds: null, idleSeconds: null }, 950_000, FREE, undefined],
  [
    'only activity, where nothing is renewed by traffic',
    {},
    950_000,
    { ...FREE, renewsOnAccess: false },
    { activeAt: 950_000 },
  ],
  ['paused', { state: 'Paused' as const }, 950_000, FREE, undefined],
  ['on its way out', { state: 'Stopping' as const }, 950_000, FREE, undefined],
  ['nobody knows of it', { hidden: true }, 950_000, FREE, undefined],
])('decideActivity(): %s', (_what, row, at, limits, change) => {
  expect(decideActivity({ ...ROW, ...row }, at, limits)).toEqual(change)
})

test('isWorthWriting(): a twentieth of what traffic gives, or a minute', () => {
  expect(isWorthWriting(ROW, { expiresAt: 1_014_999 })).toBe(false)
  expect(isWorthWriting(ROW, { expiresAt: 1_015_000 })).toBe(true)
  expect(isWorthWriting({ ...ROW, renewSeconds: 86_400 }, { expiresAt: 1_060_000 })).toBe(true)
  // Or as long as the operator says.
  expect(isWorthWriting(ROW, { expiresAt: 1_099_999 }, 100_000)).toBe(false)
  expect(isWorthWriting(ROW, { expiresAt: 1_100_000 }, 100_000)).toBe(true)
  expect(isWorthWriting(ROW, { activeAt: 902_999 })).toBe(false)
  expect(isWorthWriting(ROW, { activeAt: 903_000 })).toBe(true)
})

test('idleAtOf() counts from the last traffic, or from when it began to run', () => {
  expect(idleAtOf(ROW)).toBe(960_000)
  expect(idleAtOf({ ...ROW, activeAt: null, lastTransitionAt: 5 })).toBe(60_005)
  expect(idleAtOf({ ...ROW, state: 'Paused' })).toBeUndefined()
  expect(idleAtOf({ ...ROW, idleSeconds: null })).toBeUndefined()
})

test('the database finds the same idle sandboxes as idleAtOf()', () => {
  const { control } = openAt()
  const rows = [
    { id: 'a' },
    { id: 'b', activeAt: null, lastTransitionAt: 5 },
    { id: 'c', state: 'Paused' as const },
    { id: 'd', hidden: true },
    { id: 'e', idleSeconds: null, idleAction: null },
  ].map((more) => ({ ...ROW, expiresAt: null, idleAction: 'pause' as const, ...more }))
  for (const row of rows) control.store.insert(row)
  const wanted = rows.flatMap((row) => {
    const at = idleAtOf(row)
    return at === undefined ? [] : [{ id: row.id, at }]
  })
  expect(control.store.deadlines.next(9)).toEqual(wanted.sort((one, other) => one.at - other.at))
  expect(control.store.deadlines.dueIdle(60_005, 9)).toEqual(['b'])
  expect(control.store.deadlines.dueIdle(60_004, 9)).toEqual([])
})

test.each([
  [undefined, 15],
  [90_000, 3],
])(
  'L18: what is told again and again is written rarely, and nothing of it is lost (%s)',
  async (renewIntervalMs, most) => {
    const { control, time } = openAt({ life: { ...(renewIntervalMs !== undefined && { renewIntervalMs }) } })
    const id = await make(control, RENEWS)
    time.now += 400_000
    const written = vi.spyOn(control.store, 'change')
    onTestFinished(() => written.mockRestore())
    for (let at = 0; at < 100; at++) {
      time.now += 2000
      control.lives.activity.record([
        { id, ageMs: 0 },
        { id: 'unknown', ageMs: 0 },
      ])
    }
    expect(written.mock.calls.length).toBeLessThanOrEqual(most)
    expect(time.now).toBe(BEGIN + 600_000)
    // Its first end is over, and what was not written yet counts when it is judged.
    await expireSandbox(control.lives, id)
    expect(endOf(control, id)).toBe(time.now + 300_000)
    time.now += 300_000
    await expireSandbox(control.lives, id)
    expect(control.store.get(id)).toBeUndefined()
  },
)

test('an end that was set earlier stands against traffic from before, and gives way to traffic after it', async () => {
  const { control, time } = openAt()
  const id = await make(control, RENEWS)
  time.now += 500_000
  control.lives.activity.record([{ id, ageMs: 0 }])
  time.now += 10_000
  control.lives.activity.record([{ id, ageMs: 0 }])
  const end = time.now + 20_000
  expect((await renew(control, id, end)).status).toBe(200)
  time.now += 5000
  control.lives.activity.record([{ id, ageMs: 6000 }])
  control.lives.activity.settle(id)
  expect(endOf(control, id)).toBe(end)
  control.lives.activity.record([{ id, ageMs: 1000 }])
  expect(endOf(control, id)).toBe(time.now + 299_000)
})

test('traffic of a sandbox that did not ask for it changes nothing, nor does a lie about the past or future', async () => {
  const { control, time } = openAt()
  const [plain, renewed] = [await make(control, { timeout: 600 }), await make(control, RENEWS)]
  time.now += 550_000
  control.lives.activity.record([
    { id: plain, ageMs: 0 },
    { id: renewed, ageMs: HOUR },
  ])
  expect(endOf(control, plain)).toBe(BEGIN + 600_000)
  expect(endOf(control, renewed)).toBe(BEGIN + 600_000)
  control.lives.activity.record([{ id: renewed, ageMs: -HOUR }])
  expect(endOf(control, renewed)).toBe(time.now + 300_000)
})

test('access.renew.extend.seconds has no warning with a timeout, and one without', async () => {
  const { control } = openAt()
  const ask = (more: object) => control.call('POST', '/sandboxes', { ...MINIMAL, ...more })
  expect((await ask(RENEWS)).headers.get('opensandbox-warning')).toBeNull()
  const { headers } = await ask({ extensions: RENEWS.extensions })
  expect(headers.get('opensandbox-warning')).toContain('no effect without timeout')
})

test('where nothing is renewed by traffic, a create that asks for it is told so', async () => {
  const { control, time } = openAt({ life: { renewsOnAccess: false } })
  const { body, headers } = await control.call('POST', '/sandboxes', { ...MINIMAL, ...RENEWS })
  expect(headers.get('opensandbox-warning')).toContain('renew_intent.enabled is false')
  time.now += 500_000
  control.lives.activity.record([{ id: String(body.id), ageMs: 0 }])
  control.lives.activity.settle(String(body.id))
  expect(endOf(control, String(body.id))).toBe(BEGIN + 600_000)
})

test('a sandbox without a timeout has no end, and none can be given to it', async () => {
  const { control, time } = openAt()
  const id = await make(control)
  time.now += 1000 * 86_400_000
  expect(control.store.deadlines.due(time.now, 10)).toEqual([])
  expect((await control.call('GET', `/sandboxes/${id}`)).body).not.toHaveProperty('expiresAt')
  expect((await renew(control, id, time.now + HOUR)).status).toBe(409)
})

test('an idle sandbox is paused with its reason, resumed it has its time again', async () => {
  const { control, time } = openAt()
  const id = await make(control, PAUSES)
  const loop = runDeadlines(control.lives)
  time.now += 59_000
  control.lives.activity.record([{ id, ageMs: 9000 }])
  time.now += 50_999
  await pauseIdleSandbox(control.lives, id)
  expect(control.store.get(id)?.state).toBe('Running')
  time.now += 1
  // Any change of the row lets the loop look again, as its timer would.
  control.store.update(id, { metadata: {} })
  await waitFor(() => expect(control.store.get(id)).toMatchObject({ state: 'Paused', reason: 'IDLE' }))
  expect(control.runtime.sandboxes.get(id)?.state).toBe('paused')
  const { status } = (await control.call('GET', `/sandboxes/${id}`)).body as { status: { message: string } }
  expect(status.message).toContain('60 seconds')
  time.now += HOUR
  expect((await control.call('POST', `/sandboxes/${id}/resume`)).status).toBe(202)
  await pauseIdleSandbox(control.lives, id)
  expect(control.store.get(id)?.state).toBe('Running')
  expect(control.store.deadlines.next(1)).toEqual([{ id, at: time.now + 60_000 }])
  await control.close()
  await loop
})

test.each([
  ['tells what it keeps', async () => 15.2 * 2 ** 20, /^It keeps its files and 16 MiB of memory$/],
  ['and says nothing of what nobody knows', async () => undefined, undefined],
  [
    'also when its memory cannot be given back',
    async () => {
      throw new Error('no such file')
    },
    undefined,
  ],
])('a sandbox is paused, %s', async (_, reclaim, message) => {
  const { control } = openAt({ runtime: Object.assign(createFakeRuntime(), { reclaim }) })
  const id = await make(control)
  expect((await control.call('POST', `/sandboxes/${id}/pause`)).status).toBe(202)
  const { status } = (await control.call('GET', `/sandboxes/${id}`)).body as {
    status: { state: string; message?: string }
  }
  expect(status.state).toBe('Paused')
  if (message) expect(status.message).toMatch(message)
  else expect(status.message ?? '').toBe('')
  await control.close()
})

test('traffic that comes while an idle sandbox awaits its pause keeps it running', async () => {
  const { control, time } = openAt()
  const id = await make(control, PAUSES)
  time.now += 60_000
  const turn = Promise.withResolvers<void>()
  const busy = control.lives.turns.take(id, () => turn.promise)
  const pausing = pauseIdleSandbox(control.lives, id)
  control.lives.activity.record([{ id, ageMs: 100 }])
  turn.resolve()
  await Promise.all([busy, pausing])
  expect(control.store.get(id)?.state).toBe('Running')
})

test('an idle pause that the runtime cannot pause is refused at create', async () => {
  const runtime = { ...createFakeRuntime(), canPause: false }
  const control = open({ runtime })
  const { status, body } = await control.call('POST', '/sandboxes', { ...MINIMAL, ...PAUSES })
  expect([status, body.code]).toEqual([400, 'SANDBOX::INVALID_PARAMETER'])
  expect(body.message).toContain('access.idle.pause.seconds')
})

test('an idle pause that fails is tried again after as long as it took to become idle', async () => {
  const { control, time } = openAt()
  const id = await make(control, PAUSES)
  control.runtime.before = (call) => {
    if (call === 'pause') throw new Error('no')
  }
  time.now += 60_000
  await expect(pauseIdleSandbox(control.lives, id)).rejects.toThrow('could not be paused')
  expect(control.store.get(id)?.state).toBe('Running')
  expect(control.store.deadlines.dueIdle(time.now + 59_999, 1)).toEqual([])
  expect(control.store.deadlines.dueIdle(time.now + 60_000, 1)).toEqual([id])
})

test('after a start, what traffic keeps alive has a moment until gateways have told of it', async () => {
  const { control, time } = openAt()
  const [plain, renewed, idle] = [
    await make(control, { timeout: 60 }),
    await make(control, RENEWS),
    await make(control, PAUSES),
  ]
  time.now += HOUR
  control.lives.activity.grantGrace()
  expect(control.store.deadlines.due(time.now, 9)).toEqual([plain])
  expect(control.store.deadlines.dueIdle(time.now, 9)).toEqual([])
  control.lives.activity.record([
    { id: renewed, ageMs: 2000 },
    { id: idle, ageMs: 2000 },
  ])
  expect(endOf(control, renewed)).toBe(time.now + 298_000)
  time.now += 10_000
  expect(control.store.deadlines.due(time.now, 9)).toEqual([plain])
})

test('a full disk keeps control neither from starting nor from stopping', async () => {
  const { control, time } = openAt()
  const id = await make(control, RENEWS)
  time.now += 500_000
  control.lives.activity.record([{ id, ageMs: 0 }])
  time.now += 5000
  control.lives.activity.record([{ id, ageMs: 0 }])
  const change = vi.spyOn(control.store, 'change').mockImplementation(() => {
    throw Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' })
  })
  control.lives.activity.grantGrace()
  control.lives.activity.settleAll()
  expect(change).toHaveBeenCalledTimes(2)
  change.mockRestore()
  control.lives.activity.settleAll()
  expect(endOf(control, id)).toBe(time.now + 300_000)
})

test('Clock: small differences are followed, jumps told once before the new time is given', () => {
  let [wall, monotonic] = [BEGIN, 50]
  const clock = new Clock({ wall: () => wall, monotonic: () => monotonic })
  const jumps: number[] = []
  let mayJump = true
  clock.onJump((byMs) => {
    if (mayJump) jumps.push(byMs)
    return mayJump
  })
  const pass = (ms: number, jump = 0) => {
    wall += ms + jump
    monotonic += ms
    return clock.now()
  }
  expect(pass(1000)).toBe(BEGIN + 1000)
  expect(pass(1000, 1999)).toBe(BEGIN + 3999)
  expect(jumps).toEqual([])
  expect(pass(0, HOUR)).toBe(BEGIN + 3999 + HOUR)
  expect(pass(5)).toBe(BEGIN + 4004 + HOUR)
  expect(jumps).toEqual([HOUR])
  // As long as nobody could move the times along, it goes on as it was.
  mayJump = false
  expect(pass(6, -HOUR)).toBe(BEGIN + 4010 + HOUR)
  expect(pass(10)).toBe(BEGIN + 4020 + HOUR)
  mayJump = true
  expect(pass(10)).toBe(BEGIN + 4030)
  expect(jumps).toEqual([HOUR, -HOUR])
})

test.each([3 * HOUR, -3 * HOUR])(
  'a jump of the wall clock by %i ms leaves everything as far away as it was',
  async (byMs) => {
    const { control, time } = openAt()
    const [ending, idle, forever] = [
      await make(control, RENEWS),
      await make(control, PAUSES),
      await make(control),
    ]
    time.now += 50_000
    control.lives.activity.record([{ id: ending, ageMs: 0 }])
    control.lives.doubts.add('x', time.now)
    time.now += byMs
    control.store.deadlines.shift(byMs)
    control.lives.activity.shift(byMs)
    control.lives.doubts.shift(byMs)
    expect(control.store.deadlines.due(time.now + 549_999, 9)).toEqual([])
    expect(control.store.deadlines.due(time.now + 550_000, 9)).toEqual([ending])
    expect(control.store.deadlines.dueIdle(time.now + 9999, 9)).toEqual([])
    expect(control.store.deadlines.dueIdle(time.now + 10_000, 9)).toEqual([idle])
    expect(control.store.get(forever)?.expiresAt).toBeNull()
    expect(control.lives.doubts.take(time.now, 9)).toEqual([])
    expect(control.lives.doubts.take(time.now + 250, 9)).toEqual(['x'])
    control.lives.activity.record([
      { id: ending, ageMs: 0 },
      { id: idle, ageMs: 0 },
    ])
    expect(control.store.deadlines.dueIdle(time.now + 59_999, 9)).toEqual([])
  },
)

test('a running control ends nothing when the wall clock jumps, and shows the ends by the new time', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'clock-'))
  onTestFinished(() => rmSync(dataDir, { recursive: true, force: true }))
  let offset = 0
  const socket = (name: string) => join(dataDir, `${name}.sock`)
  const control = await startControl({
    instance: {
      controlSocket: socket('control'),
      feedSocket: socket('feed'),
      policySocket: socket('policy'),
    },
    dataDir,
    migrationsDir: MIGRATIONS,
    runtime: createFakeRuntime(),
    askEgress: () => Promise.reject(new Error('no egress in this test')),
    settings: { domain: 'localhost', arch: 'amd64', version: '9.9.9' },
    accessSettings: {},
    lifeSettings: LIFE_SETTINGS,
    listen: { host: '127.0.0.1', port: 0 },
    log: createSilentLogger(),
    now: () => Date.now() + offset,
  })
  onTestFinished(() => control.stop())
  const url = `http://127.0.0.1:${control.port}/sandboxes`
  const headers = { 'content-type': 'application/json' }
  const made = await fetch(url, {
    method: 'POST',
    headers,
    body: JSON.stringify({ ...MINIMAL, timeout: 600 }),
  })
  const { id } = (await made.json()) as { id: string }
  const secondsLeft = async () => {
    const { expiresAt } = (await (await fetch(`${url}/${id}`)).json()) as { expiresAt: string }
    return (Date.parse(expiresAt) - Date.now() - offset) / 1000
  }
  for (const jump of [5 * HOUR, -9 * HOUR]) {
    offset += jump
    // A create asks for the time, as the clock of deadlines does by itself.
    await fetch(url, { method: 'POST', headers, body: JSON.stringify({ ...MINIMAL, timeout: 60 }) })
    const left = await secondsLeft()
    expect(left).toBeGreaterThan(500)
    expect(left).toBeLessThanOrEqual(602)
  }
  const { items } = (await (await fetch(url)).json()) as { items: unknown[] }
  expect(items).toHaveLength(3)
})

test('a doubt is taken by one at a time, and stays when it is raised anew meanwhile', () => {
  const doubts = new Doubts(() => 0)
  doubts.add('a', 0)
  doubts.add('b', 0)
  expect(doubts.take(249, 9)).toEqual([])
  expect(doubts.take(250, 1)).toEqual(['a'])
  expect(doubts.take(250, 9)).toEqual(['b'])
  expect(doubts.take(250, 9)).toEqual([])
  doubts.settle('a')
  doubts.add('b', 250)
  doubts.settle('b')
  expect(doubts.take(749, 9)).toEqual([])
  expect(doubts.take(750, 9)).toEqual(['b'])
})

test('D7: an expired sandbox that cannot be removed is tried again until it is gone, and holds up no other', async () => {
  const control = open()
  const [stuck, other] = [await make(control, { timeout: 60 }), await make(control, { timeout: 60 })]
  const hung = Promise.withResolvers<void>()
  let attempts = 0
  control.runtime.before = (call, id) => {
    if (call !== 'remove' || id !== stuck) return undefined
    attempts++
    if (attempts === 1) throw new Error('busy')
    return attempts === 2 ? hung.promise : undefined
  }
  const loops = [runDeadlines(control.lives), runReconciler(control.lives)]
  control.store.update(stuck, { expiresAt: Date.now() })
  await waitFor(() => expect(attempts).toBe(2))
  // While its second removal hangs, another failure is dealt with.
  control.runtime.sandboxes.delete(other)
  control.lives.doubts.add(other, Date.now())
  await waitFor(() => expect(control.store.get(other)?.state).toBe('Failed'))
  expect(attempts).toBe(2)
  hung.reject(new Error('still busy'))
  await waitFor(() => expect(control.store.get(stuck)).toBeUndefined())
  expect(attempts).toBe(3)
  await control.close()
  await Promise.all(loops)
})
