import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { type ClientRequest, request } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { formBody, type Part, pair, upload } from './form.ts'
import { codeOf, isRoot, useWorkplace } from './workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

const hashOf = (content: string | Buffer) => createHash('sha256').update(content).digest('hex')

/** A request whose body is written by hand. */
function open(headers: Record<string, string | number> = {}): ClientRequest {
  const sent = request(`${execd.url}/files/upload`, {
    method: 'POST',
    headers: {
      'X-EXECD-ACCESS-TOKEN': 'secret-token',
      'Content-Type': 'multipart/form-data; boundary=b',
      ...headers,
    },
  })
  sent.on('error', () => {})
  return sent
}

describe('an upload', () => {
  test('whose metadata came as a form field is told so', async () => {
    const form = new FormData()
    form.append('metadata', '{"path":"/tmp/x"}')
    form.append('file', new Blob(['x']), 'x')
    const answer = await execd.call('/files/upload', { method: 'POST', body: form })
    expect([answer.status, ((await answer.json()) as { message: string }).message]).toEqual([
      400,
      expect.stringMatching(
        /^(The upload has no "metadata" part with a file name: a form field|File part 1 has no)/,
      ),
    ])
  })

  test.each([
    ['with its length', true],
    ['without it', false],
  ])('is taken %s', async (_how, isKnown) => {
    const body = formBody(pair({ path: `${dir}/f`, mode: 640 }, 'content'), 'b')
    const sent = open(isKnown ? { 'Content-Length': body.length } : { 'Transfer-Encoding': 'chunked' })
    const status = new Promise((resolve) => sent.once('response', (response) => resolve(response.statusCode)))
    for (const byte of body) sent.write(Buffer.of(byte))
    sent.end()
    expect(await status).toBe(200)
    expect([readFileSync(`${dir}/f`, 'utf8'), statSync(`${dir}/f`).mode & 0o7777]).toEqual(['content', 0o640])
  })

  test('X10, F7: keeps setuid, setgid and sticky, and tells them', async () => {
    for (const mode of [4755, 2711, 1700, 7777]) {
      expect((await upload(execd, pair({ path: `${dir}/f${mode}`, mode }, ''))).status).toBe(200)
      expect((statSync(`${dir}/f${mode}`).mode & 0o7777).toString(8)).toBe(String(mode))
      const info = await (await execd.call(`/files/info?path=${dir}/f${mode}`)).json()
      expect(info[`${dir}/f${mode}`]).toMatchObject({ mode: mode % 1000, full_mode: mode })
    }
  })

  test.runIf(isRoot)('is owned by who it names, and keeps its mode with it', async () => {
    const metadata = { path: `${dir}/f`, owner: 'nobody', group: 'nogroup', mode: 4755 }
    expect((await upload(execd, pair(metadata, 'x'))).status).toBe(200)
    const info = await (await execd.call(`/files/info?path=${dir}/f`)).json()
    expect(info[`${dir}/f`]).toMatchObject({ owner: 'nobody', group: 'nogroup', mode: 755, full_mode: 4755 })
  })

  test('takes files before their metadata, and pairs by number', async () => {
    const [metaA, fileA] = pair({ path: `${dir}/a` }, 'A'.repeat(100_000)) as [Part, Part]
    const [metaB, fileB] = pair({ path: `${dir}/b` }, 'B') as [Part, Part]
    expect((await upload(execd, [fileA, metaA, fileB, metaB])).status).toBe(200)
    expect((await upload(execd, [metaA, metaB, fileB, fileA])).status).toBe(200)
    // The first metadata goes with the first file, whatever they are called.
    expect(readFileSync(`${dir}/a`, 'utf8')).toBe('B')
    expect(readFileSync(`${dir}/b`, 'utf8')).toBe('A'.repeat(100_000))
    expect(await codeOf(await upload(execd, [fileA, fileB, metaA]))).toEqual([400, 'INVALID_FILE'])
    expect(readdirSync(dir).sort()).toEqual(['a', 'b'])
  })

  test('S6: is neither kept in memory nor stored twice', async () => {
    const sent = open({ 'Transfer-Encoding': 'chunked' })
    const status = new Promise((resolve) => sent.once('response', (response) => resolve(response.statusCode)))
    const [head = '', tail = ''] = formBody(pair({ path: `${dir}/big` }, 'CONTENT'), 'b')
      .toString()
      .split('CONTENT')
    sent.write(head)
    const piece = Buffer.alloc(1 << 20, 'x')
    for (let at = 0; at < 256; at++)
      if (!sent.write(piece)) await new Promise((resolve) => sent.once('drain', resolve))
    // Everything that has arrived is beside its place already.
    await until(async () => {
      const [name = ''] = readdirSync(dir)
      return statSync(join(dir, name)).size > 200 << 20
    }, 'the file to grow')
    expect(readdirSync(dir)).toHaveLength(1)
    const opened = readdirSync(`/proc/${execd.pid()}/fd`).map((fd) => {
      try {
        return readlinkSync(`/proc/${execd.pid()}/fd/${fd}`)
      } catch {
        return '' // closed meanwhile
      }
    })
    expect(opened.filter((path) => path.startsWith(`${dir}/`))).toHaveLength(1)
    expect(
      opened.filter((path) => path.startsWith(tmpdir()) && !path.startsWith(dirname(execd.dir))),
    ).toEqual([])
    sent.end(tail)
    expect(await status).toBe(200)
    expect(statSync(`${dir}/big`).size).toBe(256 << 20)
    const memory = Number(
      /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${execd.process.pid}/status`, 'utf8'))?.[1],
    )
    expect(memory).toBeLessThan(300_000)
  })

  test('R13: is never seen half, and never mixed with another', async () => {
    writeFileSync(`${dir}/f`, 'a'.repeat(100_000))
    const seen = new Set<string>()
    let isOver = false
    const reader = (async () => {
      while (!isOver) {
        const text = await (await execd.call(`/files/download?path=${dir}/f`)).text()
        seen.add(`${text[0]}${text.length}${new Set(text).size}`)
      }
    })()
    await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        upload(execd, pair({ path: `${dir}/f` }, 'bc'[index % 2]?.repeat(100_000 + index) ?? '')),
      ),
    )
    isOver = true
    await reader
    for (const one of seen) expect(one).toMatch(/^[abc]1000\d\d1$/)
    expect(readdirSync(dir)).toEqual(['f'])
  })

  test('goes through links to where nothing is yet, and lets other names of a file be', async () => {
    symlinkSync('made/by/link', `${dir}/one`)
    symlinkSync('one', `${dir}/two`)
    expect((await upload(execd, pair({ path: `${dir}/two` }, 'x'))).status).toBe(200)
    expect(readFileSync(`${dir}/made/by/link`, 'utf8')).toBe('x')
    linkSync(`${dir}/made/by/link`, `${dir}/other`)
    await upload(execd, pair({ path: `${dir}/two` }, 'y'))
    expect([readFileSync(`${dir}/two`, 'utf8'), readFileSync(`${dir}/other`, 'utf8')]).toEqual(['y', 'x'])
    symlinkSync('loop', `${dir}/loop`)
    expect((await upload(execd, pair({ path: `${dir}/loop` }, 'x'))).status).toBe(400)
  })

  test('X13: does not reach what execd needs, through a link either', async () => {
    symlinkSync(execd.dir, `${dir}/link`)
    symlinkSync(`${execd.dir}/planted`, `${dir}/file`)
    for (const path of [`${execd.dir}/x`, `${dir}/link/x`, `${dir}/link/new/x`, `${dir}/file`]) {
      const response = await upload(execd, pair({ path }, 'x'))
      expect([path, response.status]).toEqual([path, 400])
      expect((await response.json()).message).toContain('execd needs')
    }
    expect(existsSync(`${execd.dir}/planted`)).toBe(false)
  })
})

describe('a conditional upload', () => {
  const store = (metadata: object, content = 'new') => upload(execd, pair(metadata, content))

  test('replaces what it expects, and nothing else', async () => {
    writeFileSync(`${dir}/f`, 'old')
    const wrong = await store({ path: `${dir}/f`, if_sha256: hashOf('other') })
    expect(await codeOf(wrong)).toEqual([412, 'CONFLICT'])
    expect(readFileSync(`${dir}/f`, 'utf8')).toBe('old')
    expect((await store({ path: `${dir}/f`, if_sha256: hashOf('old').toUpperCase() })).status).toBe(200)
    expect(readFileSync(`${dir}/f`, 'utf8')).toBe('new')
    expect(await codeOf(await store({ path: `${dir}/nope`, if_sha256: hashOf('') }))).toEqual([
      412,
      'CONFLICT',
    ])
    expect(readdirSync(dir)).toEqual(['f'])
  })

  test('makes what is not there, and nothing else', async () => {
    expect((await store({ path: `${dir}/a/f`, if_absent: true }, '1')).status).toBe(200)
    expect(await codeOf(await store({ path: `${dir}/a/f`, if_absent: true }, '2'))).toEqual([412, 'CONFLICT'])
    symlinkSync('nowhere', `${dir}/dangling`)
    expect((await store({ path: `${dir}/dangling`, if_absent: true }, '3')).status).toBe(200)
    expect(readFileSync(`${dir}/a/f`, 'utf8')).toBe('1')
  })

  test('is won by one of many, whoever it is', async () => {
    writeFileSync(`${dir}/f`, 'start')
    for (const metadata of [
      { path: `${dir}/new`, if_absent: true },
      { path: `${dir}/f`, if_sha256: hashOf('start') },
    ]) {
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, index) => store(metadata, String(index)).then(({ status }) => status)),
      )
      expect(answers.filter((status) => status === 200)).toHaveLength(1)
      expect(answers.filter((status) => status === 412)).toHaveLength(11)
      expect(readFileSync(metadata.path, 'utf8')).toBe(String(answers.indexOf(200)))
    }
    expect(readdirSync(dir).sort()).toEqual(['f', 'new'])
  })

  test.each([
    [{ if_sha256: 'abc' }, 'if_sha256'],
    [{ if_sha256: 5 }, 'if_sha256'],
    [{ if_absent: 'yes' }, 'if_absent'],
    [{ if_absent: true, if_sha256: hashOf('') }, 'cannot both'],
  ])('that says %j is refused', async (condition, message) => {
    const response = await store({ path: `${dir}/f`, ...condition })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      code: 'INVALID_FILE_METADATA',
      message: expect.stringContaining(message),
    })
    expect(readdirSync(dir)).toEqual([])
  })
})

describe('a client that leaves', () => {
  const whole = () =>
    formBody([...pair({ path: `${dir}/a` }, 'A'.repeat(50_000)), ...pair({ path: `${dir}/b` }, 'B')], 'b')

  test.each([0, 10, 100, 250, 20_000, 50_200, 50_330, 50_480, -3])(
    'after %i bytes leaves whole files and nothing else',
    async (at) => {
      writeFileSync(`${dir}/kept`, 'kept')
      const body = whole()
      const sent = open({ 'Content-Length': body.length })
      await new Promise((resolve) =>
        sent.write(body.subarray(0, at < 0 ? body.length + at : at || 1), resolve),
      )
      await until(async () => (await execd.call('/ping')).ok, 'execd to have taken what was sent')
      sent.destroy()
      const names = () => readdirSync(dir).filter((name) => name !== 'kept')
      await until(
        async () => names().every((name) => !name.endsWith('.new')),
        'what was begun to be cleared away',
      )
      for (const name of names())
        expect(['A'.repeat(50_000), 'B']).toContain(readFileSync(join(dir, name), 'utf8'))
      expect(readFileSync(`${dir}/kept`, 'utf8')).toBe('kept')
      expect((await execd.call('/ping')).status).toBe(200)
    },
  )

  test('while execd itself ends leaves nothing half made', async () => {
    const other = await startDaemon()
    onTestFinished(() => other[Symbol.asyncDispose]())
    const sent = request(`${other.url}/files/upload`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token', 'Content-Type': 'multipart/form-data; boundary=b' },
    })
    sent.on('error', () => {})
    sent.write(formBody(pair({ path: `${other.workdir}/f` }, 'x'.repeat(100_000)), 'b').subarray(0, 50_000))
    await until(async () => readdirSync(other.workdir).length === 1, 'the upload to begin')
    await other.stop()
    expect(readdirSync(other.workdir)).toEqual([])
  })
})

describe.runIf(isRoot)('a full disk', () => {
  let mounted = ''
  beforeEach(() => {
    mounted = join(dir, 'mounted')
    mkdirSync(mounted)
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', mounted])
    onTestFinished(() => void execFileSync('umount', [mounted]))
  })

  test('refuses what does not fit, and leaves what was there', async () => {
    expect((await upload(execd, pair({ path: `${mounted}/f` }, 'old'))).status).toBe(200)
    const response = await upload(execd, pair({ path: `${mounted}/f` }, 'x'.repeat(2 << 20)))
    expect(response.status).toBe(500)
    expect(await response.json()).toMatchObject({
      code: 'RUNTIME_ERROR',
      message: expect.stringContaining('ENOSPC'),
    })
    expect([readdirSync(mounted), readFileSync(`${mounted}/f`, 'utf8')]).toEqual([['f'], 'old'])
    const replaced = await execd.call('/files/replace', {
      method: 'POST',
      body: JSON.stringify({ [`${mounted}/f`]: { old: 'o', new: 'y'.repeat(2 << 20) } }),
    })
    expect(replaced.status).toBe(500)
    expect([readdirSync(mounted), readFileSync(`${mounted}/f`, 'utf8')]).toEqual([['f'], 'old'])
  })

  test('does not take a file that comes from another', async () => {
    writeFileSync(`${dir}/large`, 'x'.repeat(2 << 20))
    const moved = await execd.call('/files/mv', {
      method: 'POST',
      body: JSON.stringify([{ src: `${dir}/large`, dest: `${mounted}/large` }]),
    })
    expect(moved.status).toBe(500)
    expect([readdirSync(mounted), statSync(`${dir}/large`).size]).toEqual([[], 2 << 20])
  })
})

test('a file that is a mount point is written in place', async () => {
  if (!isRoot) return expect(isRoot).toBe(false)
  writeFileSync(`${dir}/f`, 'a longer text')
  writeFileSync(`${dir}/source`, 'a longer text', { mode: 0o640 })
  execFileSync('mount', ['--bind', `${dir}/source`, `${dir}/f`])
  onTestFinished(() => void execFileSync('umount', [`${dir}/f`]))
  expect((await upload(execd, pair({ path: `${dir}/f` }, 'short'))).status).toBe(200)
  expect([readFileSync(`${dir}/source`, 'utf8'), statSync(`${dir}/source`).mode & 0o777]).toEqual([
    'short',
    0o640,
  ])
  expect(readdirSync(dir).sort()).toEqual(['f', 'source'])
})

test('a directory that nothing can be made in is told', async () => {
  mkdirSync(`${dir}/closed`)
  chmodSync(`${dir}/closed`, 0o555)
  const response = await upload(execd, pair({ path: '/proc/nothing/here' }, 'x'))
  expect([400, 404, 500]).toContain(response.status)
  expect((await response.json()).message).toContain('/proc')
})

test('bodies that are damaged are refused or stored, and execd goes on', async () => {
  const change = fc.record({ at: fc.nat(400), drop: fc.nat(20), insert: fc.string({ maxLength: 6 }) })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { maxLength: 3 }), async (changes) => {
      let body = formBody(
        [...pair({ path: `${dir}/x` }, 'one'), ...pair({ path: `${dir}/y`, mode: 600 }, 'two')],
        'b',
      )
      for (const { at, drop, insert } of changes)
        body = Buffer.concat([body.subarray(0, at), Buffer.from(insert), body.subarray(at + drop)])
      const response = await execd.call('/files/upload', {
        method: 'POST',
        headers: { 'Content-Type': 'multipart/form-data; boundary=b' },
        body: new Uint8Array(body),
      })
      const text = await response.text()
      if (response.status !== 200) {
        expect([400, 404, 500]).toContain(response.status)
        expect(JSON.parse(text)).toEqual({ code: expect.any(String), message: expect.any(String) })
        expect(text).not.toContain('Internal error')
      }
      expect(readdirSync(dir).filter((name) => name.endsWith('.new'))).toEqual([])
    }),
    { numRuns: 200 },
  )
})

test('many uploads at once take little memory together', async () => {
  const total = 40
  const piece = Buffer.alloc(1 << 20, 'x')
  const uploads = Array.from({ length: total }, async (_, at) => {
    const [head = '', tail = ''] = formBody(pair({ path: `${dir}/f${at}` }, 'CONTENT'), 'b')
      .toString()
      .split('CONTENT')
    const sent = open({ 'Transfer-Encoding': 'chunked' })
    const status = new Promise((resolve) => sent.once('response', (response) => resolve(response.statusCode)))
    sent.write(head)
    for (let part = 0; part < 8; part++)
      if (!sent.write(piece)) await new Promise((resolve) => sent.once('drain', resolve))
    sent.end(tail)
    return status
  })
  expect(new Set(await Promise.all(uploads))).toEqual(new Set([200]))
  expect(readdirSync(dir).every((name) => statSync(join(dir, name)).size === 8 << 20)).toBe(true)
  const memory = Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${execd.process.pid}/status`, 'utf8'))?.[1])
  expect(memory).toBeLessThan(350_000)
})

test('an upload of more files than anyone needs is refused', async () => {
  const [metadata] = pair({ path: `${dir}/f` }, '') as [Part]
  const response = await upload(
    execd,
    Array.from({ length: 20_001 }, () => metadata),
  )
  expect([response.status, (await response.json()).message]).toEqual([
    400,
    expect.stringContaining('more than 20000 files'),
  ])
})
