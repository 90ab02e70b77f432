// Forks over a runtime in memory: all that are asked for or none, and nothing that stays when the last of them is gone.

import { describe, expect, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { SnapshotStore } from '../../../control/store/snapshots.ts'
import { hashKey } from '../../../lib/access.ts'
import type { ControlApp, ControlAppOptions } from '../../support/control-app.ts'
import { waitFor } from '../../support/wait-for.ts'
import { openSnapshots, sandboxOf } from './support.ts'

const POLICY = { defaultAction: 'deny', egress: [{ action: 'allow', target: 'example.com' }] }

function open(options: ControlAppOptions = {}): ControlApp {
  return openSnapshots({
    askEgress: async () => ({
      status: 200,
      contentType: 'application/json',
      body: Buffer.from(JSON.stringify({ status: 'ok', policy: POLICY })),
    }),
    ...options,
  })
}

const fork = (control: ControlApp, id: string, body?: object, headers = {}) =>
  control.call('POST', `/v1/sandboxes/${id}/fork`, body, headers)
const itemsOf = (body: Record<string, unknown>) => body.items as { id: string; status: { state: string } }[]
const hidden = (control: ControlApp) => new SnapshotStore(control.store.database).all().length
const sandboxes = async (control: ControlApp) =>
  ((await control.call('GET', '/v1/sandboxes')).body.pagination as { totalItems: number }).totalItems

describe('a fork', () => {
  test('is as its source, but for what is its own; nobody sees its snapshot, which goes with the last', async () => {
    const control = open()
    const source = await sandboxOf(control, {
      entrypoint: ['serve'],
      env: { SECRET: 's' },
      metadata: { of: 'source' },
      timeout: 600,
      resourceLimits: { cpu: '0.5', memory: '256Mi' },
    })
    const forked = await fork(control, source, {
      count: 3,
      metadata: { of: 'fork' },
      env: { OWN: 'o' },
      timeout: 60,
    })
    expect(forked.status).toBe(202)
    const items = itemsOf(forked.body)
    expect(items).toHaveLength(3)
    const specs = control.runtime.specs.slice(-3)
    expect(new Set(specs.map(({ snapshotId }) => snapshotId)).size).toBe(1)
    for (const spec of specs)
      expect(spec).toMatchObject({
        entrypoint: ['serve'],
        env: { OWN: 'o' },
        limits: { nanoCpus: 5e8, memoryBytes: 256 * 2 ** 20 },
        networkPolicy: POLICY,
      })
    const shown = (await control.call('GET', `/v1/sandboxes/${items[0]?.id}`)).body
    expect(shown).toMatchObject({ metadata: { of: 'fork' }, image: { uri: 'debian' } })
    expect(shown).not.toHaveProperty('snapshotId')
    const snapshot = specs[0]?.snapshotId
    expect((await control.call('GET', '/v1/snapshots')).body.items).toEqual([])
    expect((await control.call('GET', `/v1/snapshots/${snapshot}`)).status).toBe(404)
    expect((await control.call('DELETE', `/v1/snapshots/${snapshot}`)).status).toBe(404)
    const named = await control.call('POST', '/v1/sandboxes', { snapshotId: snapshot, resourceLimits: {} })
    expect(named.body.code).toBe('SNAPSHOT::NOT_FOUND')
    for (const { id } of items.slice(1)) await control.call('DELETE', `/v1/sandboxes/${id}`)
    expect(control.runtime.kept.size).toBe(1)
    await control.call('DELETE', `/v1/sandboxes/${items[0]?.id}`)
    await waitFor(() => expect([control.runtime.kept.size, hidden(control)]).toEqual([0, 0]))
  })

  test('of a sandbox that only some may reach is reached by a token of its own', async () => {
    const control = open()
    const source = await sandboxOf(control, { secureAccess: true })
    const [copy] = itemsOf((await fork(control, source)).body)
    const tokens = [source, copy?.id ?? ''].map((id) => control.store.get(id)?.accessToken)
    expect(tokens).toEqual([expect.any(String), expect.any(String)])
    expect(tokens[0]).not.toBe(tokens[1])
  })

  test('needs no body: then it is one', async () => {
    const control = open()
    const forked = await fork(control, await sandboxOf(control))
    expect([forked.status, itemsOf(forked.body).length]).toEqual([202, 1])
  })

  test('of which one cannot be made leaves none, and the source as it was', async () => {
    const control = open()
    const source = await sandboxOf(control)
    let made = 0
    control.runtime.before = (call) => {
      if (call === 'create' && ++made === 3) throw new RuntimeError('start_failed', 'no more')
    }
    const refused = await fork(control, source, { count: 4 })
    expect([refused.status, refused.body]).toEqual([
      500,
      { code: 'DOCKER::SANDBOX_START_FAILED', message: 'no more' },
    ])
    expect([...control.runtime.sandboxes.keys()]).toEqual([source])
    expect(await sandboxes(control)).toBe(1)
    await waitFor(() => expect([control.runtime.kept.size, hidden(control)]).toEqual([0, 0]))
  })

  test('whose files cannot be kept makes nothing', async () => {
    const control = open()
    const source = await sandboxOf(control)
    control.runtime.before = (call) => {
      if (call === 'snapshot') throw new RuntimeError('no_space', 'full')
    }
    const refused = await fork(control, source, { count: 2 })
    expect([refused.status, refused.body]).toEqual([
      500,
      { code: 'SNAPSHOT::RUNTIME_CREATE_FAILED', message: 'full' },
    ])
    await waitFor(() => expect(hidden(control)).toBe(0))
  })

  test.each([
    [{ count: 0 }, 422, 'GENERAL::INVALID_REQUEST', 'count'],
    [{ count: 65 }, 422, 'GENERAL::INVALID_REQUEST', 'count'],
    [{ timeout: 59 }, 422, 'GENERAL::INVALID_REQUEST', 'timeout'],
    [{ metadata: { a: 'b c' } }, 400, 'SANDBOX::INVALID_METADATA_LABEL', 'metadata'],
    [{ resourceLimits: { memory: 'x' } }, 400, 'SANDBOX::INVALID_PARAMETER', 'resourceLimits.memory'],
    [{ env: { OPENSANDBOX_EGRESS_X: 'y' } }, 400, 'SANDBOX::INVALID_PARAMETER', 'env'],
  ])('as %j is refused before the source is touched', async (body, status, code, field) => {
    const control = open()
    const source = await sandboxOf(control)
    const refused = await fork(control, source, body)
    expect([refused.status, refused.body.code]).toEqual([status, code])
    expect(refused.body.message).toContain(field)
    expect(control.runtime.calls).toEqual([`create ${source}`])
  })

  test("of a sandbox that does not run, or is another tenant's, there is none", async () => {
    const keys = ['a', 'b'].map((name) => ({
      name,
      hash: hashKey(name),
      role: 'member' as const,
      tenant: name,
    }))
    const as = (key: string) => ({ 'open-sandbox-api-key': key })
    const control = open({ access: { keys } })
    const source = await sandboxOf(control, {}, as('a'))
    expect((await fork(control, source, {}, as('b'))).body.code).toBe('DOCKER::SANDBOX_NOT_FOUND')
    await control.call('POST', `/v1/sandboxes/${source}/pause`, undefined, as('a'))
    const paused = await fork(control, source, {}, as('a'))
    expect([paused.status, paused.body.code]).toEqual([409, 'SNAPSHOT::INVALID_SOURCE_STATE'])
  })

  test('stays within the quota, all of it', async () => {
    const control = open({ access: { quotas: { default: { sandboxes: 3 }, tenants: {} } } })
    const source = await sandboxOf(control)
    const refused = await fork(control, source, { count: 3 })
    expect([refused.status, refused.body.code]).toEqual([403, 'KUBERNETES::QUOTA_EXCEEDED'])
    await waitFor(async () => expect(await sandboxes(control)).toBe(1))
    expect((await fork(control, source, { count: 2 })).status).toBe(202)
  })

  test('that was answered is done, also when its snapshot is lost while its sandboxes are made', async () => {
    const control = open()
    const source = await sandboxOf(control)
    const store = new SnapshotStore(control.store.database)
    control.runtime.before = (call) => {
      if (call !== 'create') return
      const [row] = store.inState('Ready')
      if (row) store.move(row.id, ['Ready'], { state: 'Failed', reason: 'snapshot_runtime_missing_image' })
    }
    expect((await fork(control, source)).status).toBe(202)
    expect(store.inState('Failed')).toHaveLength(1)
    expect(store.inFork()).toEqual([])
  })

  test('counts for the snapshots of its tenant as long as its sandboxes are there', async () => {
    const control = open({ access: { quotas: { default: { snapshots: 1 }, tenants: {} } } })
    const source = await sandboxOf(control)
    const [forked] = itemsOf((await fork(control, source)).body)
    const message =
      'Quota of tenant "default": at most 1 snapshots; there are 1, 1 of them behind forks, which go with their sandboxes: delete some of either'
    for (const verb of ['fork', 'snapshots']) {
      const refused = await control.call('POST', `/v1/sandboxes/${source}/${verb}`)
      expect([refused.status, refused.body.message]).toEqual([403, message])
    }
    await control.call('DELETE', `/v1/sandboxes/${forked?.id}`)
    await waitFor(() => expect(hidden(control)).toBe(0))
    expect((await fork(control, source)).status).toBe(202)
  })

  test('counts for the bytes of its tenant, and who has too many is told where they are', async () => {
    const quotas = { default: { snapshotBytes: 4096 }, tenants: {} }
    const control = open({ access: { quotas } })
    const source = await sandboxOf(control)
    expect((await fork(control, source)).status).toBe(202)
    const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
    expect([refused.status, refused.body.message]).toEqual([
      403,
      'Quota of tenant "default": at most 4096 bytes of snapshots; there are 4096 in 1 snapshots, 1 of them behind forks, which go with their sandboxes: delete some of either',
    ])
    control.lives.quotas.of('default').snapshotBytes = 6000
    const late = await fork(control, source)
    expect(late.body.message).toBe(
      'Quota of tenant "default": at most 6000 bytes of snapshots; there are 4096, and this one has 4096: delete some, or sandboxes that were made by forks',
    )
  })

  test('whose policy cannot be read is refused, unless it names one', async () => {
    const control = open({ askEgress: () => Promise.reject(new Error('away')) })
    const source = await sandboxOf(control)
    const refused = await fork(control, source)
    expect([refused.status, refused.body.code]).toEqual([502, 'BACKEND_CONNECTION_FAILED'])
    expect((await fork(control, source, { networkPolicy: POLICY })).status).toBe(202)
  })
})

test('a fork of a sandbox whose requests are read has its own read, too', async () => {
  const control = open()
  const source = await sandboxOf(control, { networkPolicy: POLICY, credentialProxy: { enabled: true } })
  expect((await fork(control, source)).status).toBe(202)
  expect(control.runtime.specs.at(-1)).toMatchObject({ credentialProxy: true, networkPolicy: POLICY })
})
