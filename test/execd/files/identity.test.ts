import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { Agent, get, type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { BootFile } from '../../../lib/api/guest.ts'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { formBody, pair, upload } from './form.ts'

const isRoot = process.getuid?.() === 0
const UID = 54321
const GID = 54322

let execd: Daemon
let dir: string
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd?.[Symbol.asyncDispose]())
beforeEach(() => {
  // Where others may come: that of execd is its own.
  dir = mkdtempSync('/var/tmp/execd-test-')
  chmodSync(dir, 0o777)
  return () => rmSync(dir, { recursive: true, force: true })
})

const prefix = `/v1/filesystem/${UID}/${GID}`
const call = (path: string, init: RequestInit = {}) => execd.call(`${prefix}${path}`, init)
const post = (path: string, body: unknown) => call(path, { method: 'POST', body: JSON.stringify(body) })
const codeOf = async (response: Response) => [response.status, (await response.json()).code]
/** Processes of that user. */
const processes = () =>
  execFileSync('sh', ['-c', `ps -U ${UID} -o pid= || true`], { encoding: 'utf8' })
    .split('\n')
    .map((line) => line.trim())
    .filter(Boolean)

describe.runIf(isRoot)('files as another user', () => {
  test('belong to that user', async () => {
    expect((await upload(execd, pair({ path: `${dir}/a/f`, mode: 640 }, 'content'), { prefix })).status).toBe(
      200,
    )
    expect((await post('/directories', { [`${dir}/d`]: {} })).status).toBe(200)
    for (const path of ['a', 'a/f', 'd']) {
      const { uid, gid } = statSync(join(dir, path))
      expect([path, uid, gid]).toEqual([path, UID, GID])
    }
    expect(await (await call(`/files/download?path=${dir}/a/f`)).text()).toBe('content')
    const found = (await (await call(`/files/search?path=${dir}`)).json()) as {
      path: string
      owner: string
    }[]
    expect(found.map(({ path, owner }) => [path, owner])).toEqual([[`${dir}/a/f`, String(UID)]])
    const range = await call(`/files/download?path=${dir}/a/f`, { headers: { Range: 'bytes=1-2' } })
    expect([range.status, await range.text()]).toEqual([206, 'on'])
    expect((await post('/files/mv', [{ src: `${dir}/a/f`, dest: `${dir}/g` }])).status).toBe(200)
    const replaced = await post('/files/replace?verbose=true', { [`${dir}/g`]: { old: 'n', new: 'N' } })
    expect(await replaced.json()).toEqual({ [`${dir}/g`]: { replacedCount: 2 } })
    expect((await call(`/directories?path=${dir}/a`, { method: 'DELETE' })).status).toBe(200)
    const archive = await (await call(`/directories/archive?path=${dir}`)).arrayBuffer()
    const unpacked = await call(`/directories/archive?path=${dir}/to`, { method: 'POST', body: archive })
    expect([unpacked.status, statSync(`${dir}/to/g`).uid]).toEqual([200, UID])
    expect(
      (await call(`/files/download?path=${dir}/g`, { method: 'HEAD' })).headers.get('content-length'),
    ).toBe('7')
  })

  test('are those that the user may reach, and no others', async () => {
    writeFileSync(join(dir, 'secret'), 'secret', { mode: 0o600 })
    mkdirSync(join(dir, 'closed'), { mode: 0o700 })
    writeFileSync(join(dir, 'readable'), 'readable', { mode: 0o644 })
    for (const path of [
      `/files/download?path=${dir}/secret`,
      `/directories/list?path=${dir}/closed`,
      `/files/search?path=${dir}/closed`,
      `/files/info?path=${dir}/closed/f`,
      `/directories/list?path=${execd.dir}`,
      `/files/download?path=${execd.dir}/env`,
      `/files/download?path=/proc/${execd.process.pid}/environ`,
    ])
      expect([path, ...(await codeOf(await call(path)))]).toEqual([path, 500, 'RUNTIME_ERROR'])
    expect((await upload(execd, pair({ path: `${dir}/readable` }, 'x'), { prefix })).status).toBe(500)
    expect((await upload(execd, pair({ path: `${dir}/closed/f` }, 'x'), { prefix })).status).toBe(500)
    expect((await post('/files/permissions', { [`${dir}/readable`]: { mode: 777 } })).status).toBe(500)
    expect((await post('/files/permissions', { [`${dir}/readable`]: { owner: 'root' } })).status).toBe(500)
    expect((await upload(execd, pair({ path: `${dir}/mine`, owner: 'root' }, 'x'), { prefix })).status).toBe(
      500,
    )
    expect(await (await call(`/files/download?path=${dir}/readable`)).text()).toBe('readable')
    expect(readdirSync(dir).sort()).toEqual(['closed', 'readable', 'secret'])
  })

  test('of someone else that the user may write stay whose they are', async () => {
    mkdirSync(join(dir, 'fixed'), { mode: 0o755 })
    for (const [path, mode] of [
      ['shared', 0o666],
      ['fixed/shared', 0o646],
    ] as const) {
      writeFileSync(join(dir, path), 'a longer text')
      chmodSync(join(dir, path), mode)
      chownSync(join(dir, path), 1111, 2222)
      // In a directory that takes no other file as well.
      expect((await upload(execd, pair({ path: join(dir, path) }, 'short'), { prefix })).status).toBe(200)
      const after = statSync(join(dir, path))
      expect([readFileSync(join(dir, path), 'utf8'), after.uid, after.gid, after.mode & 0o777]).toEqual([
        'short',
        1111,
        2222,
        mode,
      ])
    }
    expect(readdirSync(join(dir, 'fixed'))).toEqual(['shared'])
  })

  test('are reached with the groups of the account', async () => {
    const line = readFileSync('/etc/group', 'utf8')
      .split('\n')
      .map((text) => text.split(':'))
      .find(([, , , members]) => members)
    const user = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .map((text) => text.split(':'))
      .find(([name, , uid]) => uid !== '0' && name && line?.[3]?.split(',').includes(name))
    // Not every machine has a user with groups; the next one is made up of what every one has.
    const [uid, gid, group] = user ? [user[2], user[3], Number(line?.[2])] : ['65534', '65534', 65534]
    writeFileSync(join(dir, 'f'), 'for the group', { mode: 0o640 })
    chownSync(join(dir, 'f'), 0, group)
    const response = await execd.call(`/v1/filesystem/${uid}/${gid}/files/download?path=${dir}/f`)
    expect(await response.text()).toBe('for the group')
  })

  test('begin at the root, and at the home of the account', async () => {
    const root = await (await execd.call('/v1/filesystem/0/0/files/info?path=etc/passwd&path=~')).json()
    expect([root['etc/passwd'].path, root['~'].path]).toEqual(['/etc/passwd', '/root'])
    expect((await execd.call('/v1/filesystem/4294967294/4294967294/files/info?path=/')).status).toBe(200)
    const other = await (await call('/files/info?path=~&path=.')).json()
    expect([other['~'].path, other['.'].path]).toEqual(['/', '/'])
    const nobody = readFileSync('/etc/passwd', 'utf8').match(/^nobody:[^:]*:(\d+):(\d+):[^:]*:([^:]*):/m)
    if (nobody && existsSync(nobody[3] ?? '')) {
      const info = await (
        await execd.call(`/v1/filesystem/${nobody[1]}/${nobody[2]}/files/info?path=~`)
      ).json()
      expect(info['~'].path).toBe(nobody[3])
    }
  })

  test('are not reached at all by who does not exist, cannot be become, or is no number', async () => {
    for (const ids of [
      'x/0',
      '-1/0',
      '0/-1',
      '4294967295/0',
      '0/4294967295',
      '1.5/0',
      '0x1/0',
      '%20/0',
      '/0',
      '99999999999/0',
    ])
      expect([ids, ...(await codeOf(await execd.call(`/v1/filesystem/${ids}/files/info?path=/`)))]).toEqual([
        ids,
        400,
        'INVALID_REQUEST_BODY',
      ])
    for (const path of ['/files', '/command', '/files/infox', '', '/', '/v1/filesystem/1/1/files/info'])
      expect([path, (await execd.call(`/v1/filesystem/1/1${path}`)).status]).toEqual([path, 404])
    expect((await execd.call(`${prefix}/files/info?path=/`, { method: 'PUT' })).status).toBe(404)
    const token = await fetch(`${execd.url}${prefix}/files/info?path=/`)
    expect(token.status).toBe(401)
  })

  test('what goes wrong is said as it is elsewhere', async () => {
    expect(await codeOf(await call('/files/download'))).toEqual([400, 'MISSING_QUERY'])
    expect(await codeOf(await call(`/files/info?path=${dir}/nope`))).toEqual([404, 'FILE_NOT_FOUND'])
    expect(await codeOf(await call(`/files/info?path=$UNSET`))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await call('/directories?path=/', { method: 'DELETE' }))).toEqual([
      400,
      'INVALID_REQUEST_BODY',
    ])
    expect(await codeOf(await call('/files/upload', { method: 'POST', body: 'x' }))).toEqual([
      400,
      'INVALID_FILE',
    ])
  })

  test('a process ends with its request, and with a client that leaves', async () => {
    await (await call(`/directories/list?path=${dir}`)).text()
    await until(async () => processes().length === 0, 'the process to end')

    const sent = request(`${execd.url}${prefix}/files/upload`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token', 'Content-Type': 'multipart/form-data; boundary=b' },
    })
    sent.on('error', () => {})
    sent.write(formBody(pair({ path: `${dir}/f` }, 'x'.repeat(200_000)), 'b').subarray(0, 100_000))
    await until(async () => readdirSync(dir).length === 1, 'the upload to begin')
    expect(processes()).toHaveLength(1)
    sent.destroy()
    await until(async () => readdirSync(dir).length === 0, 'what was begun to be removed')
    await until(async () => processes().length === 0, 'the process to end')

    writeFileSync(join(dir, 'big'), Buffer.alloc(64 << 20))
    const response = await new Promise<IncomingMessage>((resolve) =>
      get(
        `${execd.url}${prefix}/files/download?path=${dir}/big`,
        { headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' } },
        resolve,
      ),
    )
    await new Promise<void>((resolve) => response.once('readable', resolve))
    response.destroy()
    await until(async () => processes().length === 0, 'the process to end')
  })

  test('a process that is killed is a failure, and no other one', async () => {
    const sent = request(`${execd.url}${prefix}/files/upload`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token', 'Content-Type': 'multipart/form-data; boundary=b' },
    })
    const answered = new Promise<IncomingMessage>((resolve, reject) => {
      sent.once('response', resolve)
      sent.once('error', reject)
    })
    sent.write(formBody(pair({ path: `${dir}/f` }, 'x'.repeat(200_000)), 'b').subarray(0, 100_000))
    await until(async () => readdirSync(dir).length === 1, 'the upload to begin')
    execFileSync('kill', ['-KILL', ...processes()])
    sent.end()
    expect((await answered).statusCode).toBe(500)
    expect((await call(`/files/info?path=${dir}`)).status).toBe(200)
  })

  test('a large body that is refused is taken to its end, and its connection is good for the next', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    const body = formBody(pair({ path: '/root/not-here' }, 'x'.repeat(10 << 20)), 'b')
    const ask = async (path: string, content?: Buffer) => {
      const sent = request(`${execd.url}${prefix}${path}`, {
        method: content ? 'POST' : 'GET',
        agent,
        headers: {
          'X-EXECD-ACCESS-TOKEN': 'secret-token',
          ...(content ? { 'Content-Type': 'multipart/form-data; boundary=b' } : {}),
        },
      }).end(content)
      const [answer] = (await once(sent, 'response')) as [IncomingMessage]
      return [answer.statusCode, (await answer.toArray()).join('').slice(0, 12)]
    }
    for (let round = 0; round < 2; round++) {
      expect(await ask('/files/upload', body)).toEqual([500, '{"code":"RUN'])
      expect(await ask(`/files/info?path=${dir}`)).toEqual([200, `{"${dir}`.slice(0, 12)])
    }
  })

  test('many at once are answered one after the other', async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => call(`/files/info?path=${dir}`)))
    expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 12 }, () => 200))
  })

  test('changes are watched as that user', async () => {
    const response = await call(`/files/watch?path=${dir}&recursive=true`)
    const reader = response.body?.getReader()
    const read = async () => new TextDecoder().decode((await reader?.read())?.value)
    expect(await read()).toContain('"watching"')
    writeFileSync(join(dir, 'f'), '')
    expect(await read()).toContain(`"created","path":"${dir}/f"`)
    await reader?.cancel()
    await until(async () => processes().length === 0, 'the process to end')
    mkdirSync(join(dir, 'closed'), { mode: 0o700 })
    expect((await call(`/files/watch?path=${dir}/closed`)).status).toBeGreaterThanOrEqual(400)
  })

  test('64 MB go both ways as they are', async () => {
    const content = Buffer.alloc(64 << 20)
    for (let at = 0; at < content.length; at += 4) content.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
    expect((await upload(execd, pair({ path: `${dir}/big` }, content), { prefix })).status).toBe(200)
    const back = Buffer.from(await (await call(`/files/download?path=${dir}/big`)).arrayBuffer())
    expect(back.equals(content)).toBe(true)
  })
})

test.runIf(isRoot)('who cannot be become is refused, and never someone else instead', async () => {
  // In this namespace there is one user, and no other to become.
  const exchange = mkdtempSync(join(tmpdir(), 'execd-test-'))
  const boot: BootFile = {
    token: 'secret-token',
    host: '127.0.0.1',
    port: 0,
    entrypoint: ['sleep', '1000'],
    env: { PATH: '/usr/bin:/bin' },
    workdir: join(exchange, 'work'),
    stopGraceMs: 500,
  }
  writeFileSync(join(exchange, 'boot.json'), JSON.stringify(boot))
  const main = join(import.meta.dirname, '../../../execd/main.ts')
  const child = spawn(
    'unshare',
    ['--user', '--map-root-user', process.execPath, main, '--exchange-dir', exchange],
    { stdio: 'ignore' },
  )
  const exited = new Promise((resolve) => child.once('exit', resolve))
  try {
    const port = await until(async () => {
      if (!existsSync(join(exchange, 'ready.json'))) return undefined
      return (JSON.parse(readFileSync(join(exchange, 'ready.json'), 'utf8')) as { port: number }).port
    }, 'execd to be ready')
    const info = (ids: string) =>
      fetch(`http://127.0.0.1:${port}/v1/filesystem/${ids}/files/info?path=/`, {
        headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
      })
    expect((await info('0/0')).status).toBe(200)
    for (const ids of [`${UID}/${GID}`, '0/1', '1/0', '65534/65534', '4294967294/4294967294'])
      expect([ids, ...(await codeOf(await info(ids)))]).toEqual([ids, 503, 'SERVICE_UNAVAILABLE'])
  } finally {
    child.kill('SIGTERM')
    await exited
    rmSync(exchange, { recursive: true, force: true })
  }
})
