// Snapshots over a runtime in memory: what clients ask and are answered, and what follows from it.

import { describe, expect, onTestFinished, test } from 'vitest'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { hashKey } from '../../../lib/access.ts'
import { waitFor } from '../../support/wait-for.ts'
import { openSnapshots, read, ready, sandboxOf, take, until } from './support.ts'

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

describe('a snapshot', () => {
  test('L5: is Creating, then Ready with its size, then has a digest; its source is Running all the while', async () => {
    const control = openSnapshots()
    const gate = Promise.withResolvers<void>()
    control.runtime.before = (call) => (call === 'snapshot' ? gate.promise : undefined)
    const source = await sandboxOf(control)
    const taken = await control.call('POST', `/sandboxes/${source}/snapshots`, {
      name: 'n',
      metadata: { a: 'b' },
    })
    const id = String(taken.body.id)
    expect([taken.status, taken.headers.get('location')]).toEqual([202, `/v1/snapshots/${id}`])
    expect(taken.body).toEqual({
      id: expect.stringMatching(ID),
      sandboxId: source,
      name: 'n',
      status: { state: 'Creating', reason: 'snapshot_accepted', lastTransitionAt: expect.any(String) },
      createdAt: expect.any(String),
      metadata: { a: 'b' },
      image: { uri: 'debian' },
    })

    expect((await control.call('GET', `/v1/sandboxes/${source}`)).body.status).toMatchObject({
      state: 'Running',
    })
    gate.resolve()
    expect(await until(control, id, 'Ready')).toMatchObject({
      sizeBytes: 4096,
      status: { reason: 'snapshot_runtime_ready' },
    })
    await waitFor(async () => expect((await read(control, id)).digest).toMatch(/^sha256:[0-9a-f]{64}$/))
  })

  test('needs no body, and none of its sandbox but that it runs', async () => {
    const control = openSnapshots()
    const source = await sandboxOf(control)
    expect((await control.call('POST', `/v1/sandboxes/${source}/snapshots`)).status).toBe(202)
    await control.call('POST', `/v1/sandboxes/${source}/pause`)
    const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
    expect([refused.status, refused.body]).toEqual([
      409,
      {
        code: 'SNAPSHOT::INVALID_SOURCE_STATE',
        message: 'Cannot take a snapshot of a sandbox that is Paused: it must be Running',
      },
    ])
    expect((await control.call('POST', '/v1/sandboxes/nobody/snapshots')).body.code).toBe(
      'DOCKER::SANDBOX_NOT_FOUND',
    )
  })

  test.each([
    [{ name: '' }, 422, 'GENERAL::INVALID_REQUEST', 'name'],
    [{ name: 'x'.repeat(257) }, 422, 'GENERAL::INVALID_REQUEST', 'name'],
    [{ name: 5 }, 422, 'GENERAL::INVALID_REQUEST', 'name'],
    [{ metadata: { 'bad key': 'x' } }, 400, 'SANDBOX::INVALID_METADATA_LABEL', 'metadata key'],
    [{ metadata: { a: 'b c' } }, 400, 'SANDBOX::INVALID_METADATA_LABEL', 'a'],
  ])('D11: is not made of %j', async (body, status, code, field) => {
    const control = openSnapshots()
    const source = await sandboxOf(control)
    const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`, body)
    expect([refused.status, refused.body.code]).toEqual([status, code])
    expect(refused.body.message).toContain(field)
    expect((await control.call('GET', '/v1/snapshots')).body.items).toEqual([])
  })

  test('D11: tells its name, labels, size, digest, image and parent', async () => {
    const control = openSnapshots()
    const first = await ready(control, await sandboxOf(control))
    const { body } = await control.call('POST', '/v1/sandboxes', { snapshotId: first, resourceLimits: {} })
    const second = await ready(control, String(body.id), { name: 'two', metadata: { step: '2' } })
    await waitFor(async () =>
      expect(await read(control, second)).toMatchObject({
        name: 'two',
        metadata: { step: '2' },
        sizeBytes: 4096,
        digest: expect.stringMatching(/^sha256:/),
        image: { uri: 'debian' },
        parentSnapshotId: first,
      }),
    )
  })

  test.each([
    [new RuntimeError('no_space', 'no space left on the disk'), 'no space left on the disk'],
    [new Error('/var/lib/secret broke'), 'The snapshot could not be taken'],
  ])('that cannot be taken has Failed and says why: %s', async (error, message) => {
    const control = openSnapshots()
    control.runtime.before = (call) => {
      if (call === 'snapshot') throw error
    }
    const source = await sandboxOf(control)
    const id = await take(control, source)
    expect((await until(control, id, 'Failed')).status).toMatchObject({
      reason: 'snapshot_runtime_failed',
      message,
    })
    expect((await control.call('GET', `/v1/sandboxes/${source}`)).body.status).toMatchObject({
      state: 'Running',
    })
    expect((await control.call('DELETE', `/v1/snapshots/${id}`)).status).toBe(204)
  })

  test('of which so many are under way is asked for again', async () => {
    const control = openSnapshots()
    const gate = Promise.withResolvers<void>()
    control.runtime.before = (call) => (call === 'snapshot' ? gate.promise : undefined)
    onTestFinished(() => gate.resolve())
    const source = await sandboxOf(control)
    for (let at = 0; at < 16; at++) await take(control, source)
    const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
    expect([refused.status, refused.body.code, refused.headers.get('retry-after')]).toEqual([
      429,
      'GENERAL::TOO_MANY_REQUESTS',
      '2',
    ])
  })

  test('beyond the quota of its tenant is refused, until one is deleted', async () => {
    const control = openSnapshots({ access: { quotas: { default: { snapshots: 1 }, tenants: {} } } })
    const source = await sandboxOf(control)
    const id = await ready(control, source)
    const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
    expect([refused.status, refused.body]).toEqual([
      403,
      {
        code: 'KUBERNETES::QUOTA_EXCEEDED',
        message: 'Quota of tenant "default": at most 1 snapshots; there are 1: delete some',
      },
    ])
    await control.call('DELETE', `/v1/snapshots/${id}`)
    await ready(control, source)
  })

  test('beyond the bytes of its tenant is Failed with why, and is not kept; and none is taken while there are none left', async () => {
    const quotas = { default: { snapshotBytes: 6000 }, tenants: {} }
    const control = openSnapshots({ access: { quotas } })
    const source = await sandboxOf(control)
    const id = await ready(control, source)
    const second = await until(control, await take(control, source), 'Failed')
    expect(second.status.message).toBe(
      'Quota of tenant "default": at most 6000 bytes of snapshots; there are 4096, and this one has 4096: delete some',
    )
    await waitFor(() => expect([...control.runtime.kept.keys()]).toEqual([id]))
    control.lives.quotas.of('default').snapshotBytes = 4096
    const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
    expect([refused.status, refused.body.message]).toEqual([
      403,
      'Quota of tenant "default": at most 4096 bytes of snapshots; there are 4096 in 2 snapshots: delete some',
    ])
    const { used } = (await control.call('GET', '/v1/admin/tenants/default')).body as { used: object }
    expect(used).toMatchObject({ snapshots: 2, snapshotBytes: 4096 })
    await control.call('DELETE', `/v1/snapshots/${id}`)
    await ready(control, source)
  })

  test('its bytes count for what lies upon it once it is deleted, as they stay on the disk', async () => {
    const control = openSnapshots()
    const first = await ready(control, await sandboxOf(control))
    const upon = await sandboxOf(control, { snapshotId: first, image: undefined })
    const second = await ready(control, upon)
    const uponSecond = await sandboxOf(control, { snapshotId: second, image: undefined })
    const third = await ready(control, uponSecond)
    expect(await read(control, third)).toMatchObject({ sizeBytes: 4096, parentSnapshotId: second })
    await control.call('DELETE', `/v1/sandboxes/${uponSecond}`)
    await control.call('DELETE', `/v1/snapshots/${second}`)
    expect(await read(control, third)).toMatchObject({ sizeBytes: 8192, parentSnapshotId: first })
    await control.call('DELETE', `/v1/sandboxes/${upon}`)
    await control.call('DELETE', `/v1/snapshots/${first}`)
    const last = await read(control, third)
    expect(last.sizeBytes).toBe(12_288)
    expect(last).not.toHaveProperty('parentSnapshotId')
  })

  test('one that the runtime has made whole by itself lies upon no other', async () => {
    const control = openSnapshots()
    const first = await ready(control, await sandboxOf(control))
    const upon = await sandboxOf(control, { snapshotId: first, image: undefined })
    const { snapshots } = control.lives.runtime
    if (!snapshots) throw new Error('The fake runtime has snapshots')
    const { create } = snapshots
    snapshots.create = async (...given) => ({ ...(await create(...given)), isWhole: true })
    expect(await read(control, await ready(control, upon))).not.toHaveProperty('parentSnapshotId')
  })

  test('is told of in the history of its sandbox', async () => {
    const control = openSnapshots()
    const source = await sandboxOf(control)
    const id = await ready(control, source)
    await control.call('DELETE', `/v1/snapshots/${id}`)
    const { items } = (await control.call('GET', `/v1/sandboxes/${source}/history`)).body as {
      items: { type: string; reason: string; message: string }[]
    }
    expect(
      items.filter(({ type }) => type === 'snapshot').map(({ reason, message }) => [reason, message]),
    ).toEqual(
      ['snapshot_accepted', 'snapshot_runtime_ready', 'snapshot_delete_requested', 'snapshot_deleted'].map(
        (reason) => [reason, `Snapshot "${id}"`],
      ),
    )
  })
})

test('the list is by sandbox, exact name and states as they are written, the newest first', async () => {
  const control = openSnapshots()
  const [one, two] = [await sandboxOf(control), await sandboxOf(control)]
  const first = await ready(control, one, { name: 'a' })
  const second = await ready(control, two, { name: 'a' })
  const third = await ready(control, two, { name: 'ab' })
  const list = async (query: string) => {
    const { status, body } = await control.call('GET', `/v1/snapshots${query}`)
    expect(status).toBe(200)
    return body as unknown as { items: { id: string }[]; pagination: Record<string, unknown> }
  }
  const ids = async (query: string) => (await list(query)).items.map(({ id }) => id).sort()
  expect(await ids('')).toEqual([first, second, third].sort())
  expect(await ids(`?sandboxId=${two}`)).toEqual([second, third].sort())
  expect(await ids('?name=a')).toEqual([first, second].sort())
  expect(await ids(`?name=a&sandboxId=${two}`)).toEqual([second])
  expect(await ids('?state=Ready&state=Failed')).toHaveLength(3)
  expect(await ids('?state=ready')).toEqual([])
  expect(await ids('?state=Deleting')).toEqual([])
  expect((await list('?page=2&pageSize=2')).pagination).toEqual({
    page: 2,
    pageSize: 2,
    totalItems: 3,
    totalPages: 2,
    hasNextPage: false,
  })
})

describe('a sandbox by snapshotId', () => {
  test('D2: is made from it with nothing of the source but its files, and tells of it in the place of an image', async () => {
    const control = openSnapshots()
    const id = await ready(
      control,
      await sandboxOf(control, { env: { SECRET: 's3cr3t' }, metadata: { owner: 'x' } }),
    )
    const created = await control.call('POST', '/v1/sandboxes', { snapshotId: ` ${id} `, resourceLimits: {} })
    expect([created.status, created.body.entrypoint]).toEqual([202, ['tail', '-f', '/dev/null']])
    expect(created.body).not.toHaveProperty('snapshotId')
    const shown = (await control.call('GET', `/v1/sandboxes/${created.body.id}`)).body
    expect(shown).toMatchObject({ snapshotId: id })
    expect(shown).not.toHaveProperty('image')
    expect(shown).not.toHaveProperty('metadata')
    expect(shown).not.toHaveProperty('expiresAt')
    expect(control.runtime.specs.at(-1)).toMatchObject({ snapshotId: id, image: { uri: 'debian' }, env: {} })
    const own = await control.call('POST', '/v1/sandboxes', {
      snapshotId: id,
      resourceLimits: {},
      entrypoint: ['serve'],
    })
    expect(own.body.entrypoint).toEqual(['serve'])
  })

  test('is not made from one that is unknown, being taken or failed', async () => {
    const control = openSnapshots()
    const gate = Promise.withResolvers<void>()
    const source = await sandboxOf(control)
    control.runtime.before = (call) => (call === 'snapshot' ? gate.promise : undefined)
    const id = await take(control, source)
    const create = (snapshotId: string) =>
      control.call('POST', '/v1/sandboxes', { snapshotId, resourceLimits: {} })
    expect((await create('nobody')).body.code).toBe('SNAPSHOT::NOT_FOUND')
    const early = await create(id)
    expect([early.status, early.body]).toEqual([
      409,
      {
        code: 'SNAPSHOT::NOT_READY',
        message: 'Cannot make a sandbox from a snapshot that is Creating: it must be Ready',
      },
    ])
    gate.reject(new RuntimeError('no_space', 'full'))
    await until(control, id, 'Failed')
    expect((await create(id)).body.code).toBe('SNAPSHOT::NOT_READY')
  })

  test('goes on when the source is gone', async () => {
    const control = openSnapshots()
    const source = await sandboxOf(control)
    const id = await ready(control, source)
    await control.call('DELETE', `/v1/sandboxes/${source}`)
    expect((await read(control, id)).sandboxId).toBe(source)
    expect((await control.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} })).status).toBe(
      202,
    )
  })
})

describe('a deletion', () => {
  test('removes what was kept, and then the row; the second one is 404', async () => {
    const control = openSnapshots()
    const id = await ready(control, await sandboxOf(control))
    expect((await control.call('DELETE', `/v1/snapshots/${id}`)).status).toBe(204)
    expect(control.runtime.kept.size).toBe(0)
    expect((await control.call('GET', `/v1/snapshots/${id}`)).status).toBe(404)
    expect((await control.call('DELETE', `/v1/snapshots/${id}`)).body.code).toBe('SNAPSHOT::NOT_FOUND')
  })

  test('of one that is being taken is refused', async () => {
    const control = openSnapshots()
    const gate = Promise.withResolvers<void>()
    onTestFinished(() => gate.resolve())
    control.runtime.before = (call) => (call === 'snapshot' ? gate.promise : undefined)
    const id = await take(control, await sandboxOf(control))
    const refused = await control.call('DELETE', `/v1/snapshots/${id}`)
    expect([refused.status, refused.body.code]).toEqual([409, 'SNAPSHOT::INVALID_STATE'])
  })

  test('D9: of one in use is refused and leaves it Ready, until its sandbox is gone', async () => {
    const control = openSnapshots()
    const id = await ready(control, await sandboxOf(control))
    const create = () => control.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} })
    const user = String((await create()).body.id)
    const refused = await control.call('DELETE', `/v1/snapshots/${id}`)
    expect([refused.status, refused.body.code]).toEqual([409, 'SNAPSHOT::DELETE_CONFLICT'])
    expect((await read(control, id)).status.state).toBe('Ready')
    const other = String((await create()).body.id)
    for (const sandbox of [user, other]) await control.call('DELETE', `/v1/sandboxes/${sandbox}`)
    expect((await control.call('DELETE', `/v1/snapshots/${id}`)).status).toBe(204)
  })

  test('D9: that the runtime refuses because of a user that no row knows leaves it Ready too', async () => {
    const control = openSnapshots()
    const id = await ready(control, await sandboxOf(control))
    control.runtime.before = (call) => {
      if (call === 'remove-snapshot') throw new RuntimeError('in_use', 'by somebody')
    }
    const refused = await control.call('DELETE', `/v1/snapshots/${id}`)
    expect([refused.status, refused.body.code]).toEqual([409, 'SNAPSHOT::DELETE_CONFLICT'])
    expect((await control.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} })).status).toBe(
      202,
    )
  })

  test('that fails is tried again until it is done', async () => {
    const control = openSnapshots()
    const id = await ready(control, await sandboxOf(control))
    let failures = 0
    control.runtime.before = (call) => {
      if (call === 'remove-snapshot' && ++failures === 1) throw new Error('busy')
    }
    const refused = await control.call('DELETE', `/v1/snapshots/${id}`)
    expect([refused.status, refused.body.code]).toEqual([500, 'DOCKER::SNAPSHOT_IMAGE_REMOVE_FAILED'])
    expect(
      (await control.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} })).body.code,
    ).toBe('SNAPSHOT::NOT_READY')
    await waitFor(async () => expect((await control.call('GET', `/v1/snapshots/${id}`)).status).toBe(404))
  })

  test('several at once are one', async () => {
    const control = openSnapshots()
    const id = await ready(control, await sandboxOf(control))
    const answers = await Promise.all([1, 2, 3].map(() => control.call('DELETE', `/v1/snapshots/${id}`)))
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204])
    expect(control.runtime.calls.filter((call) => call.startsWith('remove-snapshot'))).toHaveLength(1)
  })

  test('does not come between the look at a snapshot and the row of its sandbox', async () => {
    const control = openSnapshots()
    const id = await ready(control, await sandboxOf(control))
    const [created, deleted] = await Promise.all([
      control.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} }),
      control.call('DELETE', `/v1/snapshots/${id}`),
    ])
    // One of them wins, and never both.
    expect([`${created.status} ${deleted.status}`]).toContainEqual(
      expect.stringMatching(/^(202 409|40[49] 204)$/),
    )
  })
})

describe('of another tenant', () => {
  const keys = ['a', 'b'].map((name) => ({
    name,
    hash: hashKey(name),
    role: 'member' as const,
    tenant: name,
  }))
  const as = (key: string) => ({ 'open-sandbox-api-key': key })

  test('a snapshot is not there, on no route', async () => {
    const control = openSnapshots({ access: { apiKey: 'op', keys } })
    const source = await sandboxOf(control, {}, as('a'))
    const id = await ready(control, source, {}, as('a'))
    for (const [method, path, body] of [
      ['GET', `/v1/snapshots/${id}`],
      ['DELETE', `/v1/snapshots/${id}`],
      ['POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} }],
    ] as const) {
      const { status, body: answer } = await control.call(method, path, body, as('b'))
      expect([method, status, answer.code]).toEqual([method, 404, 'SNAPSHOT::NOT_FOUND'])
    }
    const stolen = await control.call('POST', `/v1/sandboxes/${source}/snapshots`, {}, as('b'))
    expect(stolen.body.code).toBe('DOCKER::SANDBOX_NOT_FOUND')
    const total = async (key: string) =>
      ((await control.call('GET', '/v1/snapshots', undefined, as(key))).body.items as unknown[]).length
    expect([await total('a'), await total('b'), await total('op')]).toEqual([1, 0, 1])
  })

  test('what the operator takes of it is its own', async () => {
    const control = openSnapshots({ access: { apiKey: 'op', keys } })
    const source = await sandboxOf(control, {}, as('a'))
    const id = await ready(control, source, {}, as('op'))
    const made = await control.call('POST', '/v1/sandboxes', { snapshotId: id, resourceLimits: {} }, as('a'))
    expect(made.status).toBe(202)
  })
})

test('a runtime without snapshots says so, after what is said of the source', async () => {
  const control = openSnapshots()
  delete (control.lives.runtime as { snapshots?: unknown }).snapshots
  const source = await sandboxOf(control)
  const refused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
  expect([refused.status, refused.body.code]).toEqual([501, 'SNAPSHOT::NOT_IMPLEMENTED'])
  await control.call('POST', `/v1/sandboxes/${source}/pause`)
  const paused = await control.call('POST', `/v1/sandboxes/${source}/snapshots`)
  expect(paused.body.code).toBe('SNAPSHOT::INVALID_SOURCE_STATE')
  expect((await control.call('GET', '/v1/snapshots')).body.items).toEqual([])
})
