import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test, vi } from 'vitest'
import { followSize, formatSize } from '../../control/image/follow-size.ts'
import { failureOfPull } from '../../control/image/registry.ts'
import { SharedWork } from '../../control/image/shared-work.ts'
import { createControlApp, MINIMAL } from '../support/control-app.ts'
import { waitFor } from '../support/wait-for.ts'

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
  ['Requesting bearer token: invalid status code from registry 502', 'registry_failed'],
  ['no image found in manifest list for architecture amd64', 'platform_mismatch'],
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
  const following = followSize(layout, {
    signal: NEVER,
    progress: (text) => told.push(text),
    everyMs: 5,
  })
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true })
  writeFileSync(join(layout, 'oci-put-blob1'), Buffer.alloc(300_000))
  await waitFor(() => expect(told.at(-1)).toBe('300 kB'))
  writeFileSync(join(layout, 'blobs/sha256/aa'), Buffer.alloc(700_000))
  await waitFor(() => expect(told.at(-1)).toBe('1.0 MB'))
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
  // Told every second to everybody who waits for the same pull: nothing is written for it, and nobody woken.
  const heard = vi.fn()
  const stop = control.store.watch(heard)
  tell?.('Unpacking image "debian"')
  expect(heard).not.toHaveBeenCalled()
  stop()
  expect(await messageOf()).toBe('Unpacking image "debian"')
  const { items } = (await control.call('GET', '/sandboxes')).body as { items: { status: object }[] }
  expect(items[0]?.status).toMatchObject({ message: 'Unpacking image "debian"' })
  opened.resolve()
  await waitFor(() => expect(control.store.get(String(body.id))?.state).toBe('Running'))
  tell?.('too late')
  expect(await messageOf()).toBeUndefined()
  expect(control.store.history(String(body.id), 9).map(({ state }) => state)).toEqual(['Pending', 'Running'])
})
