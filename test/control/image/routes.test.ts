// The images of the machine as operators see them, and how a create says when its image is fetched.

import { describe, expect, onTestFinished, test } from 'vitest'
import { ImageKeeper } from '../../../control/image/keeper.ts'
import type { ImageRequest, Images, StoredImage } from '../../../control/runtime/images.ts'
import { RuntimeError } from '../../../control/runtime/runtime.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import { type ControlAppOptions, createControlApp, MINIMAL } from '../../support/control-app.ts'
import { createFakeRuntime } from '../../support/fake-runtime.ts'
import { waitFor } from '../../support/wait-for.ts'

const ROOT = { 'open-sandbox-api-key': 'root-key' }
const HOUR_MS = 3_600_000

type FakeImages = Images & {
  stored: Map<string, StoredImage>
  asked: (ImageRequest & { isShared?: boolean })[]
  /** Decides what a pull does before it is done. */
  before: (signal: AbortSignal, progress: (message: string) => void) => Promise<void>
}

function stored(id: string, change: Partial<StoredImage> = {}): StoredImage {
  return {
    id,
    references: [`docker.io/library/${id}:latest`],
    digest: `sha256:${'0'.repeat(64)}`,
    origin: 'registry',
    sizeBytes: 100,
    isShared: true,
    createdAt: 1000,
    lastUsedAt: 2000,
    users: 0,
    isKept: false,
    ...change,
  }
}

function createFakeImages(...images: StoredImage[]): FakeImages {
  const fake: FakeImages = {
    stored: new Map(images.map((image) => [image.id, image])),
    asked: [],
    before: async () => {},
    async pull(request, signal, progress = () => {}) {
      fake.asked.push(request)
      await fake.before(signal, progress)
      const made = stored('pulled', { isShared: request.isShared ?? true })
      fake.stored.set(made.id, made)
      return made
    },
    list: async () => [...fake.stored.values()],
    async remove(id) {
      const found = fake.stored.get(id)
      if (!found) return 'absent'
      if (found.users > 0) return 'in_use'
      fake.stored.delete(id)
      return 'removed'
    },
  }
  return fake
}

function open(images: FakeImages | undefined, options: ControlAppOptions = {}) {
  const runtime = images ? Object.assign(createFakeRuntime(), { images }) : createFakeRuntime()
  const control = createControlApp({ access: { apiKey: 'root-key' }, runtime, ...options })
  onTestFinished(control.close)
  const call = (method: string, path: string, body?: unknown, headers = ROOT) =>
    control.call(method, `/v1/admin/images${path}`, body, headers)
  return { control, call }
}

describe('the routes', () => {
  test('list images with size, digest, last use and who needs them', async () => {
    const { call } = open(createFakeImages(stored('a', { users: 2 }), stored('b', { isShared: false })))
    const { status, body } = await call('GET', '')
    expect(status).toBe(200)
    expect(body).toMatchObject({ pulls: [], totalBytes: 200 })
    expect(body.items).toEqual([
      {
        id: 'a',
        references: ['docker.io/library/a:latest'],
        digest: `sha256:${'0'.repeat(64)}`,
        origin: 'registry',
        sizeBytes: 100,
        shared: true,
        createdAt: '1970-01-01T00:00:01Z',
        lastUsedAt: '1970-01-01T00:00:02Z',
        users: 2,
      },
      expect.objectContaining({ id: 'b', shared: false, users: 0 }),
    ])
  })

  test('fetch an image beforehand, by a login that is in no answer', async () => {
    const images = createFakeImages()
    const { call } = open(images)
    const image = { uri: ' registry.example/x ', auth: { username: 'it', password: 'sesame' } }
    const { status, body, text } = await call('POST', '', { image, policy: 'Always', shared: true })
    expect([status, body]).toMatchObject([201, { id: 'pulled', shared: true }])
    expect(text).not.toContain('sesame')
    expect(images.asked).toEqual([
      { uri: 'registry.example/x', auth: image.auth, policy: 'Always', isShared: true },
    ])
  })

  test('one that takes long is answered before it is there, listed with its progress, and joined', async () => {
    const images = createFakeImages()
    const opened = Promise.withResolvers<void>()
    images.before = (_signal, progress) => {
      progress('Pulling image "x": 1.0 MB')
      return opened.promise
    }
    const { call } = open(images, { life: { createAnswerMs: 10 } })
    const coming = { uri: 'x', state: 'Pulling', message: 'Pulling image "x": 1.0 MB' }
    expect(await call('POST', '', { image: { uri: 'x' } })).toMatchObject({ status: 202, body: coming })
    expect((await call('GET', '')).body.pulls).toMatchObject([coming])
    expect((await call('POST', '', { image: { uri: 'x' } })).status).toBe(202)
    expect(images.asked).toHaveLength(1)
    const other = await call('POST', '', { image: { uri: 'x' }, shared: true })
    expect([other.status, other.body.code]).toEqual([409, 'GENERAL::CONFLICT'])
    opened.resolve()
    await waitFor(async () => expect((await call('GET', '')).body).toMatchObject({ pulls: [], items: [{}] }))
  })

  test('L8: one that fails says why, and is listed as such until it is there', async () => {
    const images = createFakeImages()
    images.before = async () => {
      throw new RuntimeError('image_denied', 'Cannot pull image "x": unauthorized')
    }
    const { call } = open(images)
    const refused = await call('POST', '', { image: { uri: 'x' } })
    expect([refused.status, refused.body]).toEqual([
      400,
      { code: 'DOCKER::SANDBOX_IMAGE_PULL_FAILED', message: 'Cannot pull image "x": unauthorized' },
    ])
    expect((await call('GET', '')).body.pulls).toMatchObject([
      { uri: 'x', state: 'Failed', message: 'Cannot pull image "x": unauthorized' },
    ])
    images.before = async () => {}
    expect((await call('POST', '', { image: { uri: 'x' } })).status).toBe(201)
    expect((await call('GET', '')).body.pulls).toEqual([])
  })

  test('remove what nothing needs, and nothing else', async () => {
    const { call } = open(createFakeImages(stored('a', { users: 1 }), stored('b')))
    const statuses = []
    for (const id of ['a', 'b', 'b', 'f00']) statuses.push((await call('DELETE', `/${id}`)).status)
    expect(statuses).toEqual([409, 204, 404, 404])
  })

  test("collect by the configuration's bounds, or by those given, and ask for one when there is none", async () => {
    const now = () => 10 * HOUR_MS
    const old = stored('old', { lastUsedAt: HOUR_MS })
    const { call } = open(createFakeImages(old, stored('new', { lastUsedAt: 9 * HOUR_MS })), {
      now,
      imageLimits: { maxAgeMs: 5 * HOUR_MS },
    })
    const kept = await call('POST', '-gc', { maxAgeHours: 9 })
    expect(kept.body).toEqual({ removed: [], freedBytes: 0, totalBytes: 200 })
    expect((await call('POST', '-gc')).body).toMatchObject({
      removed: [{ id: 'old' }],
      freedBytes: 100,
      totalBytes: 100,
    })
    expect((await call('POST', '-gc', { maxBytes: 99 })).body).toMatchObject({ removed: [{ id: 'new' }] })
    const none = await open(createFakeImages()).call('POST', '-gc', {})
    expect([none.status, none.body.code]).toEqual([400, 'SANDBOX::INVALID_PARAMETER'])
    expect(none.body.message).toMatch(/maxAgeHours or maxBytes/)
  })

  test.each([
    ['', {}, /valid: image/],
    ['', { image: { uri: '' } }, /valid: image\.uri/],
    ['', { image: { uri: 'x', auth: { username: 'it' } } }, /valid: image\.auth\.password/],
    ['', { image: { uri: 'x' }, policy: 'Sometimes' }, /valid: policy/],
    ['', { image: { uri: 'x' }, extra: 1 }, /extra/],
    ['-gc', { maxBytes: -1 }, /valid: maxBytes/],
    ['-gc', { maxAgeHours: 'x' }, /valid: maxAgeHours/],
  ])('POST %s with %j is refused with the field', async (path, body, field) => {
    const refused = await open(createFakeImages()).call('POST', path, body)
    expect([refused.status, refused.body.code]).toEqual([422, 'GENERAL::INVALID_REQUEST'])
    expect(refused.text).toMatch(field)
  })

  test("are the operator's admins' alone", async () => {
    const { control, call } = open(createFakeImages(stored('a')))
    for (const [name, role, tenant] of [
      ['member', 'member', undefined],
      ['other', 'admin', 'red'],
    ]) {
      const made = await control.call(
        'POST',
        '/v1/admin/keys',
        { name, role, ...(tenant && { tenant }) },
        ROOT,
      )
      const headers = { 'open-sandbox-api-key': String(made.body.key) }
      for (const [method, path] of [
        ['GET', ''],
        ['POST', ''],
        ['DELETE', '/a'],
        ['POST', '-gc'],
      ] as const)
        expect((await call(method, path, method === 'POST' ? {} : undefined, headers)).status).toBe(403)
    }
    expect((await call('GET', '')).body.items).toHaveLength(1)
  })

  test('say so where a runtime keeps no images', async () => {
    const refused = await open(undefined).call('GET', '')
    expect([refused.status, refused.body.code]).toEqual([400, 'SANDBOX::API_NOT_SUPPORTED'])
  })
})

describe('a create', () => {
  const withPolicy = (policy: string) => ({ ...MINIMAL, extensions: { 'image.pull.policy': policy } })

  test.each([
    ['Always', 'Always'],
    [' never ', 'Never'],
    ['IFNOTPRESENT', 'IfNotPresent'],
    ['', undefined],
  ])('with image.pull.policy %j has its image fetched by %s', async (given, policy) => {
    const { control } = open(undefined)
    expect((await control.call('POST', '/v1/sandboxes', withPolicy(given), ROOT)).status).toBe(202)
    expect(control.runtime.specs[0]?.image).toEqual({ uri: 'debian', ...(policy && { policy }) })
  })

  test('with another one is refused with the field and what is allowed', async () => {
    const { control } = open(undefined)
    const refused = await control.call('POST', '/v1/sandboxes', withPolicy('Sometimes'), ROOT)
    expect([refused.status, refused.body]).toEqual([
      400,
      {
        code: 'SANDBOX::INVALID_PARAMETER',
        message:
          'extensions["image.pull.policy"] must be one of "IfNotPresent", "Always", "Never", but it is "Sometimes"',
      },
    ])
  })

  test('asks no registry where the configuration forbids it', async () => {
    const { control } = open(undefined, { life: { pullPolicy: 'Never' } })
    const refused = await control.call('POST', '/v1/sandboxes', withPolicy('Always'), ROOT)
    expect([refused.status, refused.body.message]).toEqual([
      400,
      expect.stringContaining('as this installation has runtime.image_pull_policy = "Never"'),
    ])
    expect((await control.call('POST', '/v1/sandboxes', withPolicy('Never'), ROOT)).status).toBe(202)
  })

  test('from a pool has what the pool says, and cannot say otherwise', async () => {
    const { control } = open(undefined, { runsPooling: true })
    const spec = { containers: [{ image: 'debian', imagePullPolicy: 'Always' }] }
    const capacitySpec = { bufferMax: 1, bufferMin: 1, poolMax: 2, poolMin: 1 }
    const made = await control.call(
      'POST',
      '/v1/pools',
      { name: 'p', template: { spec }, capacitySpec },
      ROOT,
    )
    expect(made.status, made.text).toBe(201)
    await waitFor(() => expect(control.runtime.specs).toHaveLength(1))
    expect(control.runtime.specs[0]?.image).toEqual({ uri: 'debian', policy: 'Always' })
    const extensions = { poolRef: 'p', 'image.pull.policy': 'Never' }
    const refused = await control.call('POST', '/v1/sandboxes', { extensions }, ROOT)
    expect([refused.status, refused.body.message]).toEqual([
      400,
      expect.stringMatching(/^extensions\["image\.pull\.policy"\] differs/),
    ])
  })

  test('D13: shows the digest of what it got, and its image as it was asked for', async () => {
    const { control } = open(undefined)
    const digest = `sha256:${'a'.repeat(64)}`
    const { create } = control.runtime
    control.runtime.create = async (...given) => ({ ...(await create(...given)), imageDigest: digest })
    const made = await control.call('POST', '/v1/sandboxes', MINIMAL, ROOT)
    const { id } = made.body
    const inspected = await control.call('GET', `/v1/sandboxes/${id}/diagnostics/inspect`, undefined, ROOT)
    expect(inspected.text).toContain(`image: debian\nimage digest: ${digest}\n`)
    const got = await control.call('GET', `/v1/sandboxes/${id}`, undefined, ROOT)
    expect(got.body.image).toEqual({ uri: 'debian' })
  })
})

describe('ImageKeeper', () => {
  const openKeeper = (
    images: FakeImages,
    change: Partial<ConstructorParameters<typeof ImageKeeper>[0]> = {},
  ) => {
    const stop = new AbortController()
    const keeper = new ImageKeeper({
      images,
      limits: {},
      pullTimeoutMs: 10_000,
      now: () => 10 * HOUR_MS,
      log: createSilentLogger(),
      signal: stop.signal,
      everyMs: 5,
      ...change,
    })
    return { keeper, stop: () => stop.abort(new Error('stopping')) }
  }

  test('collects now and again while it runs, and goes on after a failure', async () => {
    const images = createFakeImages(stored('old', { lastUsedAt: HOUR_MS }))
    const { list } = images
    let failures = 0
    images.list = async (signal) => {
      if (failures++ === 0) throw new Error('the disk is away')
      return await list(signal)
    }
    const { keeper, stop } = openKeeper(images, { limits: { maxAgeMs: HOUR_MS } })
    const running = keeper.run()
    await waitFor(() => expect(images.stored.size).toBe(0))
    stop()
    await running
    expect(failures).toBeGreaterThan(1)
  })

  test('without a limit it collects nothing, and a stop ends what it fetches', async () => {
    const images = createFakeImages(stored('old', { lastUsedAt: 0 }))
    images.before = (signal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    const { keeper, stop } = openKeeper(images)
    const { done } = keeper.pull({ uri: 'x', isShared: false })
    const outcome = expect(done).rejects.toThrow('stopping')
    stop()
    await Promise.all([keeper.run(), outcome])
    expect(images.stored.size).toBe(1)
  })

  test('fetches so many at once, and keeps so many failures', async () => {
    const images = createFakeImages()
    const opened = Promise.withResolvers<void>()
    images.before = () => opened.promise
    const { keeper } = openKeeper(images)
    const pulls = Array.from({ length: 16 }, (_, at) => keeper.pull({ uri: `x${at}`, isShared: false }).done)
    expect(() => keeper.pull({ uri: 'y', isShared: false })).toThrow('16 images are being pulled')
    opened.reject(new Error('no'))
    await Promise.allSettled(pulls)
    for (let at = 0; at < 60; at++)
      await keeper.pull({ uri: `z${at}`, isShared: false }).done.catch(() => undefined)
    await waitFor(() => expect(keeper.pulls()).toHaveLength(50))
    expect(keeper.pulls().at(-1)).toMatchObject({ uri: 'z59', state: 'Failed', message: 'no' })
  })
})
