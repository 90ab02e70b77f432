// What a death of control leaves of snapshots: whole or gone, in rows and in the runtime, whatever it was doing.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { UNKNOWN_KEPT_MS } from '../../../control/snapshots/agree.ts'
import { SnapshotStore } from '../../../control/store/snapshots.ts'
import { Store } from '../../../control/store/sqlite.ts'
import { createLogger } from '../../../lib/log.ts'
import { type ControlApp, type ControlAppOptions, MIGRATIONS } from '../../support/control-app.ts'
import { createFakeRuntime } from '../../support/fake-runtime.ts'
import { waitFor } from '../../support/wait-for.ts'
import { openSnapshots, ready, sandboxOf, take, until } from './support.ts'

/** A database that outlives control, and the runtime beside it. */
function openLasting(options: ControlAppOptions = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'snapshots-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const path = join(folder, 'control.db')
  const runtime = createFakeRuntime()
  const start = (): ControlApp =>
    openSnapshots({ ...options, runtime, store: new Store({ path, migrationsDir: MIGRATIONS }) })
  return { runtime, start }
}

/** A row as a process left it that was killed. */
function leave(control: ControlApp, id: string, change: Parameters<SnapshotStore['move']>[2]): void {
  new SnapshotStore(control.store.database).move(id, ['Ready', 'Creating', 'Failed'], change)
}

test('D10: one that was being taken is Ready when the runtime has it, and Failed when it has not', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const source = await sandboxOf(first)
  const [whole, half] = [await ready(first, source), await ready(first, source)]
  for (const id of [whole, half]) leave(first, id, { state: 'Creating', reason: 'snapshot_accepted' })
  runtime.kept.delete(half)
  const second = start()
  expect((await until(second, whole, 'Ready')).status.reason).toBe('snapshot_recovery_ready')
  expect((await until(second, half, 'Failed')).status).toMatchObject({
    reason: 'snapshot_recovery_missing_image',
    message: 'The server was stopped while the snapshot was taken: take it again',
  })
})

test('D10: what the runtime has made too late is removed', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const id = await ready(first, await sandboxOf(first))
  leave(first, id, { state: 'Failed', reason: 'snapshot_runtime_timeout' })
  const second = start()
  await waitFor(() => expect([...runtime.kept.keys()]).toEqual([]))
  expect((await until(second, id, 'Failed')).status.reason).toBe('snapshot_runtime_timeout')
})

test('those that a restored database does not know are kept for a week, told of once, and found again', async () => {
  const told: string[] = []
  let now = Date.UTC(2026, 0, 1)
  const { runtime, start } = openLasting({
    now: () => now,
    log: createLogger({
      program: 'control',
      write: (line) => void (line.includes('does not know') && told.push(line)),
    }),
  })
  const first = start()
  const id = await ready(first, await sandboxOf(first))
  const row = new SnapshotStore(first.store.database).get(id)
  if (!row) throw new Error('There is no row')
  await first.close()
  let isListed = false
  runtime.before = (call) => {
    if (call === 'list-snapshots') isListed = true
  }
  /** Lets one life of control change the rows, and another one compare them. */
  const compare = async (change: (store: SnapshotStore) => void = () => {}) => {
    const editing = start()
    change(new SnapshotStore(editing.store.database))
    await editing.close()
    isListed = false
    const control = start()
    await waitFor(() => expect(isListed).toBe(true))
    // What was found is written down before anything else is tended.
    await ready(control, await sandboxOf(control))
    await control.close()
  }
  await compare((store) => store.delete(id))
  expect(told).toEqual([expect.stringContaining(`count=1 first=${id} until=2026-01-08T00:00:00Z`)])
  now += UNKNOWN_KEPT_MS - 1
  await compare()
  expect([told.length, runtime.kept.has(id)]).toEqual([1, true])
  // The newer database comes back, and goes once more: the week begins anew.
  await compare((store) => store.insert(row))
  now += 1
  await compare((store) => store.delete(id))
  expect([told.length, runtime.kept.has(id)]).toEqual([2, true])
  now += UNKNOWN_KEPT_MS
  await compare()
  expect([told.length, runtime.kept.has(id)]).toEqual([2, false])
})

test('a fork that was interrupted is gone, all of it, and one that was done stays', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const source = await sandboxOf(first)
  const forkOf = async (control: ControlApp) =>
    (
      (
        await control.call('POST', `/v1/sandboxes/${source}/fork`, {
          count: 2,
          networkPolicy: { defaultAction: 'deny' },
        })
      ).body.items as {
        id: string
      }[]
    ).map(({ id }) => id)
  const done = await forkOf(first)
  const half = await forkOf(first)
  const hidden = first.store.get(half[0] ?? '')?.snapshotId ?? ''
  // As a process leaves it that was killed before the last one ran.
  leave(first, hidden, { inFork: true })
  await first.close()
  const second = start()
  const idsOf = (control: ControlApp) =>
    control.store
      .all()
      .map(({ id }) => id)
      .sort()
  await waitFor(() => expect(idsOf(second)).toEqual([source, ...done].sort()))
  await waitFor(() => expect(runtime.kept.size).toBe(1))
  expect([...runtime.sandboxes.keys()].sort()).toEqual(idsOf(second))
})

test('one that was being deleted is deleted', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const id = await ready(first, await sandboxOf(first))
  leave(first, id, { state: 'Deleting', reason: 'snapshot_delete_requested' })
  const second = start()
  await waitFor(async () => expect((await second.call('GET', `/v1/snapshots/${id}`)).status).toBe(404))
  expect(runtime.kept.size).toBe(0)
})

test('one whose files somebody has removed says so, and no sandbox is made from it', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const id = await ready(first, await sandboxOf(first))
  runtime.kept.clear()
  const second = start()
  expect((await until(second, id, 'Failed')).status.reason).toBe('snapshot_runtime_missing_image')
  const refused = await second.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} })
  expect(refused.body.code).toBe('SNAPSHOT::NOT_READY')
})

test('one that was not to be found for a while, as by another daemon, is Ready again once it is', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const id = await ready(first, await sandboxOf(first))
  const kept = new Map(runtime.kept)
  runtime.kept.clear()
  const second = start()
  await until(second, id, 'Failed')
  await second.close()
  for (const [name, snapshot] of kept) runtime.kept.set(name, snapshot)
  const third = start()
  expect((await until(third, id, 'Ready')).status.reason).toBe('snapshot_recovery_ready')
  expect([...runtime.kept.keys()]).toEqual([id])
})

test('a runtime that cannot be asked is asked again, and nothing is decided until then', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const id = await ready(first, await sandboxOf(first))
  leave(first, id, { state: 'Creating', reason: 'snapshot_accepted' })
  let asked = 0
  runtime.before = (call) => {
    if (call === 'list-snapshots' && ++asked < 3) throw new Error('away')
  }
  const second = start()
  await until(second, id, 'Ready')
  expect(asked).toBeGreaterThanOrEqual(3)
})

test('P12: a stop ends what is being taken, and the next start tells of it', async () => {
  const { runtime, start } = openLasting()
  const first = start()
  const source = await sandboxOf(first)
  runtime.before = (call, _, signal) =>
    call === 'snapshot'
      ? new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      : undefined
  const id = await take(first, source)
  await waitFor(() => expect(runtime.calls).toContain(`snapshot ${id}`))
  await first.close()
  runtime.before = () => {}
  const second = start()
  await until(second, id, 'Failed')
})

test('of two tenants one does not wait for what the other takes', async () => {
  const control = openSnapshots()
  const gate = Promise.withResolvers<void>()
  onTestFinished(() => gate.resolve())
  const source = await sandboxOf(control)
  control.runtime.before = (call) => (call === 'snapshot' ? gate.promise : undefined)
  for (let at = 0; at < 5; at++) await take(control, source)
  await waitFor(() =>
    expect(control.runtime.calls.filter((call) => call.startsWith('snapshot '))).toHaveLength(2),
  )
  const store = new SnapshotStore(control.store.database)
  const mine = store.inState('Creating')[0]
  if (!mine) throw new Error('There is none')
  store.insert({ ...mine, id: 'of-another', tenant: 'another' })
  control.pooling.snapshotKeeper.wake()
  await waitFor(() => expect(control.runtime.calls).toContain('snapshot of-another'))
})

test('a full disk is a reason of its own', async () => {
  const control = openSnapshots()
  control.runtime.before = (call) => {
    if (call === 'snapshot')
      throw new RuntimeError('no_space', 'Cannot take the snapshot: no space left on the disk')
  }
  const id = await take(control, await sandboxOf(control))
  expect((await until(control, id, 'Failed')).status.message).toContain('no space left')
})
