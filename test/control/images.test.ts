// Images are fetched once for all who wait, for as long as somebody waits, and show how far they are.

import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { followSize, formatSize } from '../../control/image/follow-size.ts'
import { failureOfPull } from '../../control/image/pull.ts'
import { SharedWork } from '../../control/image/shared-work.ts'
import { ImageStore } from '../../control/image/store.ts'
import { createLogger, createSilentLogger } from '../../lib/log.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'

const NEVER = new AbortController().signal

function makeFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'images-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Shared work that the test ends, and what it was told. */
function openWork(ended = NEVER) {
  const result = Promise.withResolvers<string>()
  let tell: (message: string) => void = () => {}
  let signal = NEVER
  let begun = 0
  const work = new SharedWork<string>((given, progress) => {
    begun++
    signal = given
    tell = progress
    given.addEventListener('abort', () => result.reject(given.reason))
    return result.promise
  }, ended)
  return {
    work,
    result,
    tell: (message: string) => tell(message),
    isGivenUp: () => signal.aborted,
    begun: () => begun,
  }
}

test('P1: who waits for the same work shares one, with its progress and its end', async () => {
  const { work, result, tell, begun } = openWork()
  const heard: string[] = []
  const first = work.join(NEVER, (message) => heard.push(`first ${message}`))
  tell('half')
  const second = work.join(NEVER, (message) => heard.push(`second ${message}`))
  tell('nearly')
  result.resolve('image')
  expect(await Promise.all([first, second])).toEqual(['image', 'image'])
  expect(heard).toEqual(['first half', 'second half', 'first nearly', 'second nearly'])
  tell('too late')
  expect([heard.length, begun()]).toEqual([4, 1])
})

test('who leaves stops waiting at once, and the work goes on until the last has left', async () => {
  const { work, isGivenUp } = openWork()
  const [one, other] = [new AbortController(), new AbortController()]
  const first = work.join(one.signal, () => {})
  const second = work.join(other.signal, () => {})
  one.abort(new Error('deleted'))
  await expect(first).rejects.toThrow('deleted')
  expect([isGivenUp(), work.isAbandoned]).toEqual([false, false])
  other.abort(new Error('left'))
  await expect(second).rejects.toThrow('left')
  expect([isGivenUp(), work.isAbandoned]).toEqual([true, true])
  await work.settled()
})

test('a failure is told to all who wait, and a stop ends the work', async () => {
  const failing = openWork()
  const waiting = [1, 2].map(() => failing.work.join(NEVER, () => {}))
  failing.result.reject(new Error('no such image'))
  for (const outcome of await Promise.allSettled(waiting))
    expect(outcome).toMatchObject({ status: 'rejected' })
  const stop = new AbortController()
  const stopped = openWork(stop.signal)
  const last = stopped.work.join(NEVER, () => {})
  stop.abort(new Error('stopping'))
  await expect(last).rejects.toThrow('stopping')
  await expect(stopped.work.join(AbortSignal.abort(new Error('gone')), () => {})).rejects.toThrow('gone')
})

test.each([
  ['reading manifest 1 in docker.io/x: manifest unknown', 'image_not_found'],
  ['name unknown: repository name not known to registry', 'image_not_found'],
  ['open /srv/x.tar: no such file or directory', 'image_not_found'],
  ['unauthorized: authentication required', 'image_denied'],
  ['requested access to the resource is denied', 'image_denied'],
  ['pinging container registry x: Get "https://x/v2/": dial tcp: lookup x: no such host', 'registry_failed'],
  ['dial tcp 127.0.0.1:1: connect: connection refused', 'registry_failed'],
  ['net/http: TLS handshake timeout', 'registry_failed'],
  ['received unexpected HTTP status: 503 Service Unavailable', 'registry_failed'],
  ['something else', 'image_pull_failed'],
])('L8: failureOfPull(%j) is %s', (message, failure) => {
  expect(failureOfPull(new Error(message))).toBe(failure)
})

test.each([
  [1, '1 kB'],
  [999_999, '1000 kB'],
  [34_500_000, '34.5 MB'],
  [1_234_000_000, '1.23 GB'],
])('formatSize(%i) is %s', (bytes, text) => {
  expect(formatSize(bytes)).toBe(text)
})

test('followSize() tells what has come, complete or not, once for each size, until it is stopped', async () => {
  const layout = join(makeFolder(), 'layout')
  const told: string[] = []
  const following = followSize(layout, NEVER, (text) => told.push(text), 5)
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
  writeFileSync(join(layout, 'oci-put-blob1'), Buffer.alloc(300_000))
  await vi.waitFor(() => expect(told.at(-1)).toBe('300 kB'))
  writeFileSync(join(layout, 'blobs/sha256/aa'), Buffer.alloc(700_000))
  await vi.waitFor(() => expect(told.at(-1)).toBe('1.0 MB'))
  following.stop()
  expect(new Set(told).size).toBe(told.length)
})

test('L8: while a sandbox is pending its message tells how far its image is, and none is left once it runs', async () => {
  const control = createControlApp({ life: { createAnswerMs: 20 } })
  onTestFinished(control.close)
  const opened = Promise.withResolvers<void>()
  const { create } = control.runtime
  let tell: ((message: string) => void) | undefined
  control.runtime.create = async (spec, signal, watch) => {
    tell = (message) => watch?.progress?.(message)
    tell('Pulling image "debian": 1.0 MB')
    await opened.promise
    return await create(spec, signal)
  }
  const { body } = await control.call('POST', '/sandboxes', MINIMAL)
  const messageOf = async () => {
    const answer = await control.call('GET', `/sandboxes/${body.id}`)
    return (answer.body.status as { message?: string }).message
  }
  expect(body.status).toMatchObject({ state: 'Pending', message: 'Pulling image "debian": 1.0 MB' })
  tell?.('Unpacking image "debian"')
  expect(await messageOf()).toBe('Unpacking image "debian"')
  opened.resolve()
  await vi.waitFor(() => expect(control.store.get(String(body.id))?.state).toBe('Running'))
  tell?.('too late')
  expect(await messageOf()).toBeUndefined()
  expect(control.store.history(String(body.id), 9).map(({ state }) => state)).toEqual(['Pending', 'Running'])
})

// To give files to the users of sandboxes, and skopeo and umoci.
const isRoot = process.getuid?.() === 0
describe.skipIf(!isRoot)('ImageStore', () => {
  async function openStore() {
    const folder = makeFolder()
    const tool = (...args: [string, ...string[]]) =>
      execFileSync(args[0], args.slice(1), { stdio: 'pipe', cwd: folder, timeout: 60_000 })
    writeFileSync(join(folder, 'file'), Buffer.alloc(5_000_000, 'some text that can be compressed'))
    tool('tar', '-cf', 'layer.tar', 'file')
    tool('umoci', 'init', '--layout', 'layout')
    tool('umoci', 'new', '--image', 'layout:test')
    tool('umoci', 'raw', 'add-layer', '--image', 'layout:test', 'layer.tar')
    tool('skopeo', 'copy', '--quiet', '--insecure-policy', 'oci:layout:test', 'oci-archive:image.tar')
    const lines: string[] = []
    const store = await ImageStore.open({
      dataDir: folder,
      aliases: { mine: join(folder, 'image.tar'), absent: join(folder, 'absent.tar') },
      insecureRegistries: ['127.0.0.1:1'],
      pullTimeoutMs: 30_000,
      log: createLogger({ program: 'control', level: 'info', write: (line) => void lines.push(line) }),
      signal: NEVER,
    })
    const left = () => readdirSync(join(folder, 'images'))
    return {
      store,
      left,
      layout: join(folder, 'layout'),
      made: () => lines.filter((line) => line.includes('image is there')).length,
    }
  }

  test('an image with the name of something that every object has is no alias', async () => {
    const { store, left } = await openStore()
    const abandoned = AbortSignal.abort(new Error('left'))
    for (const name of ['constructor', 'toString', 'hasOwnProperty'])
      await expect(store.resolve(name, undefined, abandoned)).rejects.toThrow('left')
    expect(left()).toEqual([])
  })

  test('makes an image once for all who ask at the same time, and again only when nobody has it', async () => {
    const { store, left, made } = await openStore()
    const heard: string[] = []
    const images = await Promise.all(
      Array.from({ length: 5 }, () =>
        store.resolve('mine', undefined, NEVER, (message) => void heard.push(message)),
      ),
    )
    expect(new Set(images.map(({ rootfs }) => rootfs)).size).toBe(1)
    expect(made()).toBe(1)
    expect(heard.filter((message) => message === 'Unpacking image "mine"')).toHaveLength(5)
    await store.resolve('mine', undefined, NEVER)
    expect([made(), left().length]).toEqual([1, 1])
  })

  test('gives a build up when nobody waits any more, and begins anew for the next', async () => {
    const { store, left, made } = await openStore()
    const caller = new AbortController()
    const leaving = store.resolve('mine', undefined, caller.signal, (message) => {
      if (message.startsWith('Reading')) caller.abort(new Error('deleted'))
    })
    await expect(leaving).rejects.toThrow('deleted')
    expect((await store.resolve('mine', undefined, NEVER)).rootfs).toContain('rootfs')
    expect(made()).toBe(1)
    await vi.waitFor(() => expect(left()).toHaveLength(1), 5000)
  })

  test("S7: an image that came by one login is nobody else's, who has to show that the registry lets them", async () => {
    const folder = makeFolder()
    const { layout } = await openStore()
    const registry = await serveLayout(layout, 'it:sesame')
    const store = await ImageStore.open({
      dataDir: folder,
      aliases: {},
      insecureRegistries: [registry],
      pullTimeoutMs: 30_000,
      log: createSilentLogger(),
      signal: NEVER,
    })
    const pull = (password?: string) =>
      store.resolve(`${registry}/team/x:test`, password ? { username: 'it', password } : undefined, NEVER)
    const { rootfs } = await pull('sesame')
    for (const password of [undefined, 'wrong'])
      await expect(pull(password)).rejects.toMatchObject({ failure: 'image_denied' })
    expect((await pull('sesame')).rootfs).toBe(rootfs)
  })

  test('says which image failed, and why', async () => {
    const { store, left } = await openStore()
    await expect(store.resolve('absent', undefined, NEVER)).rejects.toMatchObject({
      failure: 'image_not_found',
      message: expect.stringMatching(/Image "absent" .*ENOENT/),
    })
    await expect(store.resolve('127.0.0.1:1/team/x:1', undefined, NEVER)).rejects.toMatchObject({
      failure: 'registry_failed',
      message: expect.stringMatching(/Cannot pull image "127.0.0.1:1\/team\/x:1": .*refused/),
    })
    expect(left()).toEqual([])
  })
})

/** A registry of one image for whoever has the login. Gives its host and port. */
async function serveLayout(layout: string, login: string): Promise<string> {
  const blob = (digest: string) => readFileSync(join(layout, 'blobs', digest.replace(':', '/')))
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: [{ digest: string; mediaType: string }]
  }
  const [manifest] = index.manifests
  const server = createServer((request, response) => {
    const wanted = `Basic ${Buffer.from(login).toString('base64')}`
    if (request.headers.authorization !== wanted)
      return response.writeHead(401, { 'www-authenticate': 'Basic realm="test"' }).end()
    const [, kind, name = ''] = /\/(manifests|blobs)\/(.+)$/.exec(request.url ?? '') ?? []
    if (kind === 'manifests') response.setHeader('content-type', manifest.mediaType)
    if (!kind) return response.end('{}')
    response.end(blob(kind === 'manifests' && name === 'test' ? manifest.digest : name))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}
