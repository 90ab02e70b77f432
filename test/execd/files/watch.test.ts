import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { EventBursts } from '../../../execd/files/event-bursts.ts'
import type { WatchEvent } from '../../../lib/api/execd-files.ts'
import { type Daemon, until } from '../daemon.ts'
import { useWorkplace } from './workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

type Watch = {
  response: IncomingMessage
  events: WatchEvent[]
  /** `type name` of each event so far, without the first. */
  told(): string[]
  /** Waits until these are among what was told. */
  tells(...wanted: string[]): Promise<void>
}

async function watch(path: string, query = '&recursive=true', isReading = true): Promise<Watch> {
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const sent = get(
      `${execd.url}/files/watch?path=${encodeURIComponent(path)}${query}`,
      { headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' } },
      resolve,
    )
    sent.on('error', reject)
  })
  onTestFinished(() => void response.destroy())
  expect([response.statusCode, response.headers['content-type']]).toEqual([200, 'text/event-stream'])
  const events: WatchEvent[] = []
  let text = ''
  response.setEncoding('utf8')
  response.on('error', () => {})
  const take = (piece: string) => {
    text += piece
    for (let end = text.indexOf('\n\n'); end >= 0; end = text.indexOf('\n\n')) {
      const frame = text.slice(0, end)
      text = text.slice(end + 2)
      if (frame !== ': ping') events.push(JSON.parse(frame.replace(/^data: /, '')) as WatchEvent)
    }
  }
  if (isReading) response.on('data', take)
  const told = () =>
    events
      .filter((event) => event.type !== 'watching')
      .map((event) => ('path' in event ? `${event.type} ${event.path.slice(path.length + 1)}` : event.type))
  if (isReading) await until(async () => events.length > 0, 'the first event')
  return {
    response,
    events,
    told,
    tells: async (...wanted) => {
      await until(async () => wanted.every((one) => told().includes(one)), `"${wanted}" in ${told()}`).catch(
        () => {},
      )
      expect(told()).toEqual(expect.arrayContaining(wanted))
    },
  }
}

describe('a watched directory', () => {
  test('tells what happens in it, from its first event on', async () => {
    writeFileSync(join(dir, 'old'), '')
    mkdirSync(join(dir, 'sub'))
    const watching = await watch(dir, '')
    expect(watching.events).toEqual([{ type: 'watching', path: dir, recursive: false }])
    writeFileSync(join(dir, 'new'), '')
    await watching.tells('created new')
    writeFileSync(join(dir, 'old'), 'x')
    await watching.tells('modified old')
    chmodSync(join(dir, 'new'), 0o600)
    await watching.tells('modified new')
    renameSync(join(dir, 'old'), join(dir, 'moved'))
    await watching.tells('removed old', 'created moved')
    rmSync(join(dir, 'new'))
    await watching.tells('removed new')
    // Not what is in its directories.
    writeFileSync(join(dir, 'sub/inner'), '')
    symlinkSync('nowhere', join(dir, 'last'))
    await watching.tells('created last')
    expect(watching.told().filter((one) => one.includes('inner'))).toEqual([])
    expect(watching.events.at(-1)).toEqual({ type: 'created', path: join(dir, 'last'), file_type: 'symlink' })
  })

  test('tells of everything below it, directories that come and go included', async () => {
    mkdirSync(join(dir, 'a/b'), { recursive: true })
    const watching = await watch(dir)
    writeFileSync(join(dir, 'a/b/f'), '')
    await watching.tells('created a/b/f')
    // All at once: what is in a new directory is not missed.
    mkdirSync(join(dir, 'new/deep/er'), { recursive: true })
    writeFileSync(join(dir, 'new/deep/er/f'), '')
    await watching.tells('created new', 'created new/deep', 'created new/deep/er', 'created new/deep/er/f')
    writeFileSync(join(dir, 'new/deep/er/f'), 'x')
    await watching.tells('modified new/deep/er/f')
    renameSync(join(dir, 'new'), join(dir, 'a/moved'))
    await watching.tells('removed new', 'created a/moved', 'created a/moved/deep/er/f')
    writeFileSync(join(dir, 'a/moved/deep/er/g'), '')
    await watching.tells('created a/moved/deep/er/g')
    rmSync(join(dir, 'a'), { recursive: true })
    await watching.tells('removed a')
    mkdirSync(join(dir, 'a'))
    await watching.tells('created a')
    writeFileSync(join(dir, 'a/again'), '')
    await watching.tells('created a/again')
    // A directory, and a file in it of the same name.
    mkdirSync(join(dir, 'same'))
    await watching.tells('created same')
    writeFileSync(join(dir, 'same/same'), '')
    await watching.tells('created same/same')
    rmSync(join(dir, 'same/same'))
    await watching.tells('removed same/same')
  })

  test('that is removed or moved away ends its stream', async () => {
    for (const act of [
      () => rmSync(join(dir, 'd'), { recursive: true }),
      () => renameSync(join(dir, 'd'), join(dir, 'other')),
    ]) {
      mkdirSync(join(dir, 'd'))
      const watching = await watch(join(dir, 'd'))
      const ended = new Promise((resolve) => watching.response.once('end', resolve))
      act()
      await ended
      expect(watching.events.slice(-2)).toEqual([
        { type: 'removed', path: join(dir, 'd') },
        { type: 'end', reason: `"${join(dir, 'd')}" was removed` },
      ])
    }
  })

  test('is reached through a link, and told of as it was asked for', async () => {
    mkdirSync(join(dir, 'real/sub'), { recursive: true })
    symlinkSync('real', join(dir, 'link'))
    const watching = await watch(join(dir, 'link'))
    expect(watching.events).toEqual([{ type: 'watching', path: join(dir, 'link'), recursive: true }])
    writeFileSync(join(dir, 'real/sub/f'), '')
    await watching.tells('created sub/f')
    rmSync(join(dir, 'real'), { recursive: true })
    await until(async () => watching.events.at(-1)?.type === 'end', 'the end')
  })

  test('tells of names that are not UTF-8', async () => {
    const watching = await watch(dir)
    const path = Buffer.concat([Buffer.from(`${dir}/`), Buffer.of(0xff)])
    writeFileSync(path, '')
    await watching.tells('created \ufffd')
    expect(watching.events[1]).toMatchObject({ path_base64: path.toString('base64') })
  })
})

test('a file is watched through all that takes its place', async () => {
  writeFileSync(join(dir, 'f'), '')
  writeFileSync(join(dir, 'other'), '')
  const watching = await watch(join(dir, 'f'))
  expect(watching.events).toEqual([{ type: 'watching', path: join(dir, 'f'), recursive: false }])
  const told = () => watching.events.slice(1).map((event) => event.type)
  writeFileSync(join(dir, 'other'), 'x')
  writeFileSync(join(dir, 'f'), 'x')
  await until(async () => told().includes('modified'), 'the change')
  renameSync(join(dir, 'other'), join(dir, 'f'))
  await until(async () => told().includes('created'), 'the replacement')
  rmSync(join(dir, 'f'))
  await until(async () => told().includes('removed'), 'the removal')
  writeFileSync(join(dir, 'f'), '')
  await until(async () => told().at(-1) === 'created', 'the new file')
  expect(watching.events.every((event) => !('path' in event) || event.path === join(dir, 'f'))).toBe(true)
})

describe('what is too much', () => {
  test('a tree of too many directories is refused', async () => {
    const script = `for (let at = 0; at < 10_001; at++) fs.mkdirSync(String(at))`
    execFileSync(process.execPath, ['-e', script], { cwd: dir })
    const response = await execd.call(`/files/watch?path=${dir}&recursive=true`)
    expect(response.status).toBe(429)
    expect(await response.json()).toMatchObject({
      code: 'TOO_MANY',
      message: expect.stringContaining('more than 10000 directories'),
    })
    // Not recursive, it is one.
    expect((await watch(dir, '')).events).toHaveLength(1)
  })

  test('too many streams are refused', async () => {
    const streams = await Promise.all(Array.from({ length: 64 }, () => watch(dir)))
    expect((await execd.call(`/files/watch?path=${dir}`)).status).toBe(429)
    for (const { response } of streams) response.destroy()
    await until(async () => {
      const response = await execd.call(`/files/watch?path=${dir}`)
      await response.body?.cancel()
      return response.status === 200
    }, 'their places to be free')
  })

  test('a client that does not read is told that it has missed something, and is up to date again', async () => {
    const watching = await watch(dir, '&recursive=true', false)
    // More than the sockets between us hold, and than is kept for who does not read.
    const name = 'n'.repeat(200)
    const script = `
      for (let at = 0; at < 30_000; at++) fs.writeFileSync('${name}' + at, '')
      fs.mkdirSync('made/meanwhile', { recursive: true })`
    execFileSync(process.execPath, ['-e', script], { cwd: dir })
    await until(async () => (await execd.call('/ping')).ok, 'execd to have seen that')
    let text = ''
    watching.response.on('data', (piece) => {
      text += piece
    })
    await until(async () => text.includes('"overflow"'), 'the overflow')
    writeFileSync(join(dir, 'made/meanwhile/f'), '')
    await until(async () => text.includes('made/meanwhile/f'), 'what happens afterwards')
  })

  test('a full queue of the kernel is noticed', async () => {
    const bursts = new EventBursts(20)
    let losses = 0
    const leave = bursts.onLoss(() => losses++)
    const turn = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
    for (let at = 0; at < 9; at++) bursts.count()
    await turn()
    expect(losses).toBe(0)
    for (let at = 0; at < 10; at++) bursts.count()
    await turn()
    expect(losses).toBe(1)
    leave()
    for (let at = 0; at < 10; at++) bursts.count()
    await turn()
    expect(losses).toBe(1)
  })
})

test('a watch ends with its client', async () => {
  for (let at = 0; at < 50; at++) mkdirSync(join(dir, `d${at}`))
  const watches = async () =>
    Number(
      execFileSync('sh', ['-c', `cat /proc/${execd.process.pid}/fdinfo/* | grep -c '^inotify wd' || true`], {
        encoding: 'utf8',
      }),
    )
  await until(async () => (await watches()) === 0, 'those of other tests to end')
  const { response } = await watch(dir)
  expect(await watches()).toBe(51)
  response.destroy()
  await until(async () => (await watches()) === 0, 'the watches to end')
})

test('what is not there cannot be watched', async () => {
  expect((await execd.call(`/files/watch?path=${dir}/nope`)).status).toBe(404)
  expect((await execd.call('/files/watch')).status).toBe(400)
  expect((await execd.call(`/files/watch?path=${dir}&recursive=yes`)).status).toBe(400)
})
