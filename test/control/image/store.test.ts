// The store of the local runtime: made once, used by who may, kept while it is needed. Needs root, to give files to the users of
// sandboxes, and skopeo and umoci.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { ImageRequest } from '../../../control/runtime/images.ts'
import { makeFolder, NEVER, openStore } from '../../support/image-store.ts'
import { imageOf, imageSaying, serveRegistry } from '../../support/registry.ts'
import { tarOf } from '../../support/tar.ts'
import { waitFor } from '../../support/wait-for.ts'

const isRoot = process.getuid?.() === 0

describe.skipIf(!isRoot)('archives (as root: what is unpacked has owners)', () => {
  async function openWithArchive() {
    const folder = makeFolder()
    const tool = (...args: [string, ...string[]]) =>
      execFileSync(args[0], args.slice(1), { stdio: 'pipe', cwd: folder, timeout: 60_000 })
    writeFileSync(join(folder, 'file'), Buffer.alloc(5_000_000, 'some text that can be compressed'))
    tool('tar', '-cf', 'layer.tar', 'file')
    tool('umoci', 'init', '--layout', 'layout')
    tool('umoci', 'new', '--image', 'layout:test')
    tool('umoci', 'raw', 'add-layer', '--image', 'layout:test', 'layer.tar')
    tool('skopeo', 'copy', '--quiet', '--insecure-policy', 'oci:layout:test', 'oci-archive:image.tar')
    const aliases = { mine: join(folder, 'image.tar'), absent: join(folder, 'absent.tar') }
    return await openStore({ aliases, insecureRegistries: ['127.0.0.1:1'] })
  }

  test('an image with the name of something that every object has is no alias', async () => {
    const { store, left } = await openStore()
    const abandoned = AbortSignal.abort(new Error('left'))
    for (const uri of ['constructor', 'tostring', 'hasownproperty'])
      await expect(store.lease({ uri }, abandoned)).rejects.toThrow('left')
    expect(left()).toEqual([])
  })

  test('P1: makes an image once for all who ask at the same time, and again only when nobody has it', async () => {
    const { store, left, made } = await openWithArchive()
    const heard: string[] = []
    const leases = await Promise.all(
      Array.from({ length: 5 }, () =>
        store.lease({ uri: 'mine' }, NEVER, (message) => void heard.push(message)),
      ),
    )
    expect(new Set(leases.map(({ image }) => image.rootfs)).size).toBe(1)
    expect(made()).toBe(1)
    expect(heard.filter((message) => message === 'Unpacking image "mine"')).toHaveLength(5)
    await store.lease({ uri: 'mine' }, NEVER)
    expect([made(), left().length]).toEqual([1, 1])
    expect(await store.list()).toMatchObject(
      [{ references: ['mine'], origin: 'archive', users: 6, isKept: true, digest: /^sha256:/ }].map(
        (image) => ({ ...image, digest: expect.stringMatching(image.digest) }),
      ),
    )
  })

  test('gives a build up when nobody waits any more, and begins anew for the next', async () => {
    const { store, left, made } = await openWithArchive()
    const caller = new AbortController()
    const leaving = store.lease({ uri: 'mine' }, caller.signal, (message) => {
      if (message.startsWith('Reading')) caller.abort(new Error('deleted'))
    })
    await expect(leaving).rejects.toThrow('deleted')
    expect((await store.lease({ uri: 'mine' }, NEVER)).image.rootfs).toContain('rootfs')
    expect(made()).toBe(1)
    await waitFor(() => expect(left()).toHaveLength(1))
  })

  test('L8: says which image failed, and why', async () => {
    const { store, left } = await openWithArchive()
    await expect(store.lease({ uri: 'absent' }, NEVER)).rejects.toMatchObject({
      failure: 'image_not_found',
      message: expect.stringMatching(/Image "absent" .*ENOENT/),
    })
    await expect(store.lease({ uri: '127.0.0.1:1/team/x:1' }, NEVER)).rejects.toMatchObject({
      failure: 'registry_failed',
      message: expect.stringMatching(/Cannot pull image "127.0.0.1:1\/team\/x:1": .*refused/),
    })
    expect(left()).toEqual([])
  })
})

describe.skipIf(!isRoot)('a registry (as root: what is unpacked has owners)', () => {
  async function openWithRegistry(options: Parameters<typeof openStore>[0] = {}) {
    const registry = await serveRegistry({ 'team/x:1': imageSaying('first') })
    const opened = await openStore({ insecureRegistries: [registry.host], ...options })
    const request = (change: Partial<ImageRequest> & { isShared?: boolean } = {}) => ({
      uri: `${registry.host}/team/x:1`,
      ...change,
    })
    const as = (login: string) => {
      const [username = '', password = ''] = login.split(':')
      return { auth: { username, password } }
    }
    return { registry, request, as, ...opened }
  }

  test('an image is pulled by its digest, which is shown, and asked for no more', async () => {
    const { registry, request, read, store } = await openWithRegistry()
    const { digest } = registry.images.get('team/x:1') ?? {}
    expect(await read(request())).toBe('first')
    expect(registry.requests).toContain(`GET /v2/team/x/manifests/${digest}`)
    expect(await store.list()).toMatchObject([
      {
        references: [`${registry.host}/team/x:1`],
        digest,
        origin: 'registry',
        isShared: true,
        users: 0,
        isKept: false,
      },
    ])
    expect((await store.list())[0]?.sizeBytes).toBeGreaterThan(4096)
    const asked = registry.requests.length
    using lease = await store.lease(request(), NEVER)
    expect([lease.image.digest, registry.requests.length]).toEqual([digest, asked])
  })

  test('S7: a tag that has moved is fetched anew by "Always" alone, and "Never" asks nobody', async () => {
    const { registry, request, read, left } = await openWithRegistry()
    await expect(read(request({ policy: 'Never' }))).rejects.toMatchObject({ failure: 'image_not_found' })
    expect(registry.requests).toEqual([])
    expect(await read(request())).toBe('first')
    registry.images.set('team/x:1', imageSaying('second'))
    const asked = registry.requests.length
    expect([await read(request()), await read(request({ policy: 'Never' }))]).toEqual(['first', 'first'])
    expect(registry.requests).toHaveLength(asked)
    expect(await read(request({ policy: 'Always' }))).toBe('second')
    expect([await read(request()), left().length]).toEqual(['second', 2])
  })

  test('"Never" of the configuration is for all, and "Always" is what a request can leave', async () => {
    const never = await openWithRegistry({ policy: 'Never' })
    await expect(never.read(never.request({ policy: 'Always' }))).rejects.toThrow('"Never" forbids')
    const always = await openWithRegistry({ policy: 'Always' })
    await always.read(always.request())
    const asked = always.registry.requests.length
    await always.read(always.request())
    expect(always.registry.requests.length).toBeGreaterThan(asked)
    const again = always.registry.requests.length
    await always.read(always.request({ policy: 'IfNotPresent' }))
    expect(always.registry.requests).toHaveLength(again)
  })

  test('a digest gets that content and no other, whatever tag stands before it', async () => {
    const { registry, request, read } = await openWithRegistry()
    const first = registry.images.get('team/x:1')?.digest
    const second = imageSaying('second')
    registry.images.set('team/x:2', second)
    const uri = (digest?: string) => `${registry.host}/team/x:1@${digest}`
    expect(await read(request({ uri: uri(second.digest) }))).toBe('second')
    expect(await read(request({ uri: uri(first) }))).toBe('first')
    const none = `sha256:${'0'.repeat(64)}`
    await expect(read(request({ uri: uri(none) }))).rejects.toMatchObject({ failure: 'image_not_found' })
  })

  test("S7: an image that came by one login is nobody else's, who has to show that the registry lets them", async () => {
    const { registry, request, as, store, made, read } = await openWithRegistry()
    registry.logins.set('team/x', 'it:sesame')
    const lease = await store.lease(request(as('it:sesame')), NEVER)
    for (const other of [{}, as('it:wrong'), as('other:sesame')])
      await expect(store.lease(request(other), NEVER)).rejects.toMatchObject({ failure: 'image_denied' })
    const again = await store.lease(request(as('it:sesame')), NEVER)
    expect([again.image.rootfs, made()]).toEqual([lease.image.rootfs, 1])
    expect(await store.list()).toMatchObject([{ isShared: false }])
    for (const policy of ['Never', 'Always'] as const)
      await expect(read(request({ policy }))).rejects.toThrow(/denied|unauthorized|required|"Never"/)
    await expect(read(request({ ...as('it:sesame'), policy: 'Never' }))).rejects.toThrow('"Never" forbids')
  })

  test('S7: while the registry does not answer, an image that came by a login is for nobody', async () => {
    const { registry, request, as, read } = await openWithRegistry()
    registry.logins.set('team/x', 'it:sesame')
    await read(request(as('it:sesame')))
    registry.fault = (_request, response) => {
      response.writeHead(503).end()
      return true
    }
    for (const who of [{}, as('it:sesame')])
      await expect(read(request(who))).rejects.toMatchObject({ failure: 'registry_failed' })
  })

  test('S7: what lies here of a tag is not for whoever may have only what came after it', async () => {
    const { registry, request, as, read } = await openWithRegistry()
    registry.logins.set('team/x', 'it:sesame')
    expect(await read(request(as('it:sesame')))).toBe('first')
    // The secret was taken out, and the repository opened.
    registry.logins.clear()
    registry.images.set('team/x:1', imageSaying('without the secret'))
    expect(await read(request())).toBe('without the secret')
  })

  test('S7: who may have it by a login keeps what lies here, also when the tag has moved on', async () => {
    const { registry, request, as, read } = await openWithRegistry()
    registry.logins.set('team/x', 'it:sesame')
    const first = registry.images.get('team/x:1')
    expect(await read(request(as('it:sesame')))).toBe('first')
    registry.images.set('team/x:1', imageSaying('second'))
    if (first) registry.images.set('team/x:old', first)
    expect(await read(request(as('it:sesame')))).toBe('first')
    expect(await read(request({ ...as('it:sesame'), policy: 'Always' }))).toBe('second')
  })

  test("S7: who knows another's manifest and serves it from a registry of their own gets nothing of it", async () => {
    const { registry, request, as, read, left } = await openWithRegistry()
    registry.logins.set('team/x', 'it:sesame')
    await read(request(as('it:sesame')))
    const { manifest, digest } = registry.images.get('team/x:1') ?? imageSaying('')
    registry.images.set('thief/x:1', { manifest, digest, blobs: new Map(), layers: [] })
    await expect(read({ uri: `${registry.host}/thief/x:1` })).rejects.toMatchObject({
      failure: expect.stringMatching(/image_not_found|image_pull_failed|registry_failed/),
    })
    expect(left()).toHaveLength(1)
  })

  test('S26: no login is left on the disk, in the names of files or in the ledger', async () => {
    const { registry, request, as, read, dataDir } = await openWithRegistry()
    registry.logins.set('team/x', 'it:open-sesame')
    await read(request(as('it:open-sesame')))
    await expect(read(request(as('it:wrong-sesame')))).rejects.toThrow()
    const encoded = Buffer.from('it:open-sesame').toString('base64').replace(/=+$/, '')
    const found = execFileSync('sh', ['-c', `grep -rlE 'sesame|${encoded}' "$0" || true`, dataDir]).toString()
    expect(found).toBe('')
    expect(existsSync(join(dataDir, 'images/ledger.json'))).toBe(true)
  })

  test('what an operator has opened to everybody needs no login, and keeps its name', async () => {
    const { registry, request, as, read, store } = await openWithRegistry()
    registry.logins.set('team/x', 'it:sesame')
    const pulled = await store.pull(request({ ...as('it:sesame'), isShared: true }), NEVER)
    expect(pulled).toMatchObject({ isShared: true, users: 0, references: [request().uri] })
    expect([await read(request()), await read(request({ policy: 'Never' }))]).toEqual(['first', 'first'])
  })

  test('what asks the same at the same time is asked once', async () => {
    const { registry, request, store, made } = await openWithRegistry()
    await Promise.all(Array.from({ length: 6 }, () => store.lease(request({ policy: 'Always' }), NEVER)))
    const { digest } = registry.images.get('team/x:1') ?? {}
    const asked = (end: string) =>
      registry.requests.filter((line) => line === `GET /v2/team/x/manifests/${end}`)
    expect([asked('1').length, asked(`${digest}`).length, made()]).toEqual([1, 1, 1])
  })

  test('an image for another machine is refused as such', async () => {
    const { registry, request, read, left } = await openWithRegistry()
    registry.images.set('team/x:1', imageOf([tarOf([{ name: 'a' }])], { arch: 's390x' }))
    await expect(read(request())).rejects.toMatchObject({
      failure: 'platform_mismatch',
      message: expect.stringContaining('s390x'),
    })
    expect(left()).toEqual([])
  })

  test('an image is not removed while a start holds it or something says that it needs it', async () => {
    const { request, store, left } = await openWithRegistry()
    const needed: string[] = []
    let asked = async () => {}
    store.keepFor(async () => {
      await asked()
      return needed
    })
    const lease = await store.lease(request(), NEVER)
    const { id } = lease.image
    expect(await store.remove(id)).toBe('in_use')
    needed.push(id)
    lease[Symbol.dispose]()
    expect([await store.remove(id), (await store.list())[0]?.users]).toEqual(['in_use', 1])
    needed.pop()
    // Somebody comes and goes while it is looked who needs it.
    asked = async () => (await store.lease(request(), NEVER))[Symbol.dispose]()
    expect(await store.remove(id)).toBe('in_use')
    asked = async () => {}
    expect(await store.remove(id)).toBe('removed')
    expect([await store.remove(id), await store.remove('../x'), left()]).toEqual(['absent', 'absent', []])
    using again = await store.lease(request(), NEVER)
    expect(readFileSync(join(again.image.rootfs, 'etc/says'), 'utf8')).toBe('first')
  })

  test('what is known of images, and when each was used, is known after a start', async () => {
    let now = 1_000_000
    const { registry, request, dataDir, store, read } = await openWithRegistry({ now: () => now })
    await read(request())
    now += 1000
    await read(request())
    await store.close()
    registry.images.clear()
    const again = await openStore({ dataDir, insecureRegistries: [registry.host] })
    expect((await again.store.list())[0]?.lastUsedAt).toBe(now)
    expect(await again.read(request())).toBe('first')
  })

  test('what an earlier version has pulled is used, but not what it has pulled by a login', async () => {
    const { request, dataDir, store, read } = await openWithRegistry()
    await read(request())
    const [{ id = '' } = {}] = await store.list()
    const hash = (key: string) => createHash('sha256').update(key).digest('hex').slice(0, 32)
    const old = makeFolder()
    mkdirSync(join(old, 'images'))
    const asBefore = (name: string) => {
      execFileSync('cp', ['-a', join(dataDir, 'images', id), join(old, 'images', name)])
      const { config } = JSON.parse(
        readFileSync(join(dataDir, 'images', id, 'image.json'), 'utf8'),
      ) as object & {
        config: unknown
      }
      const path = join(old, 'images', name, 'image.json')
      writeFileSync(path, JSON.stringify({ reference: request().uri, config, hostDirs: [] }))
    }
    asBefore(hash(`registry ${request().uri} as it:sesame`))
    const guarded = await openStore({ dataDir: old, policy: 'Never' })
    await expect(guarded.read(request())).rejects.toMatchObject({ failure: 'image_not_found' })
    asBefore(hash(`registry ${request().uri}`))
    const open = await openStore({ dataDir: old, policy: 'Never' })
    expect(await open.read(request())).toBe('first')
    const sizes = (await open.store.list()).map(({ sizeBytes }) => sizeBytes > 4096)
    expect(sizes).toEqual([true, true])
  })
})
