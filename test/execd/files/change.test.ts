import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LATE_FAMILIES } from '../../../execd/app.ts'
import { startFairClock } from '../../support/fair-time.ts'
import type { Daemon } from '../daemon.ts'
import { codeOf, isRoot, useWorkplace } from './workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

const post = (path: string, body: unknown) => execd.call(path, { method: 'POST', body: JSON.stringify(body) })
const remove = (path: string) => execd.call(path, { method: 'DELETE' })
/** A directory on another file system. */
function elsewhere(): string {
  const path = mkdtempSync('/dev/shm/execd-test-')
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

describe('paths', () => {
  test('X1: what looks like a variable and is none is a name', async () => {
    for (const name of ['$1', '$', '$$', '$*', '${', '$#', '$!', '$?', '$-', '$@', 'a$', '\x24{1}', '$1x'])
      writeFileSync(join(dir, name), name)
    writeFileSync(join(dir, 'kept'), '')
    for (const name of ['$1', '${', '$*']) {
      const response = await execd.call(`/files/download?path=${encodeURIComponent(join(dir, name))}`)
      expect(await response.text()).toBe(name)
      expect((await remove(`/directories?path=${encodeURIComponent(join(dir, name))}`)).status).toBe(200)
      expect(existsSync(join(dir, 'kept'))).toBe(true)
      expect(existsSync(join(dir, name))).toBe(false)
    }
    expect(readdirSync(dir)).toHaveLength(11)
    // One that is not set is an error, and never nothing.
    for (const path of ['$UNSET', '\x24{UNSET}', 'a/$UNSET/b', '\x24{UNSET}\x24{HOME}'])
      expect(await codeOf(await remove(`/directories?path=${encodeURIComponent(join(dir, path))}`))).toEqual([
        400,
        'INVALID_REQUEST_BODY',
      ])
    expect(readdirSync(dir)).toHaveLength(11)
  })

  test('X13: what the sandbox needs is not removed, however it is called', async () => {
    symlinkSync('/', join(dir, 'root'))
    symlinkSync(execd.dir, join(dir, 'execd'))
    for (const path of [
      '/',
      '//',
      '/./',
      '/tmp/..',
      '/opt/opensandbox',
      '/opt',
      '/proc',
      '/sys',
      '/dev',
      execd.dir,
      join(execd.dir, '..'),
      join(dir, 'execd/pipes'),
      join(dir, 'root/opt/opensandbox'),
      join(dir, 'root/proc'),
    ]) {
      expect([
        path,
        ...(await codeOf(await remove(`/directories?path=${encodeURIComponent(path)}`))),
      ]).toEqual([path, 400, 'INVALID_REQUEST_BODY'])
      expect((await remove(`/files?path=${encodeURIComponent(path)}`)).status).toBe(400)
      expect((await post('/files/mv', [{ src: path, dest: join(dir, 'x') }])).status).toBe(400)
    }
    // The links themselves are nobody's.
    expect((await remove(`/directories?path=${dir}/root&path=${dir}/execd`)).status).toBe(200)
    expect(readdirSync(dir)).toEqual([])
  })

  test('a directory that the kernel lets nobody make is an error at once', async () => {
    using clock = startFairClock()
    for (const path of ['/proc/nothing', '/proc/nothing/below', '/dev/null/x'])
      expect((await post('/directories', { [path]: {} })).status).toBeGreaterThanOrEqual(400)
    expect((await execd.call('/ping')).status).toBe(200)
    expect(clock.elapsedMs()).toBeLessThan(5000)
  })
})

describe('a move', () => {
  test('F9: to another file system keeps everything', async () => {
    const other = elsewhere()
    mkdirSync(join(dir, 'tree/sub'), { recursive: true, mode: 0o750 })
    writeFileSync(join(dir, 'tree/sub/f'), 'content', { mode: 0o640 })
    writeFileSync(Buffer.concat([Buffer.from(`${dir}/tree/`), Buffer.of(0xff)]), 'odd')
    symlinkSync('../nowhere', join(dir, 'tree/link'))
    utimesSync(join(dir, 'tree/sub/f'), 1_600_000_000, 1_600_000_000)
    utimesSync(join(dir, 'tree/sub'), 1_600_000_001, 1_600_000_001)
    if (isRoot) execFileSync('chown', ['1234:2345', join(dir, 'tree/sub/f'), join(dir, 'tree/sub')])
    if (isRoot) execFileSync('chmod', ['4750', join(dir, 'tree/sub/f')])
    const before = ['tree/sub', 'tree/sub/f', 'tree/link'].map((path) => lstatSync(join(dir, path)))
    expect((await post('/files/mv', [{ src: join(dir, 'tree'), dest: join(other, 'a/tree') }])).status).toBe(
      200,
    )
    const after = ['tree/sub', 'tree/sub/f', 'tree/link'].map((path) => lstatSync(join(other, 'a', path)))
    const kept = ({ mode, uid, gid, mtimeMs }: (typeof after)[number]) => [
      mode,
      uid,
      gid,
      Math.round(mtimeMs),
    ]
    expect(after.map(kept)).toEqual(before.map(kept))
    expect(readFileSync(join(other, 'a/tree/sub/f'), 'utf8')).toBe('content')
    expect(readlinkSync(join(other, 'a/tree/link'))).toBe('../nowhere')
    expect(readdirSync(dir)).toEqual([])
    expect(readdirSync(join(other, 'a'))).toEqual(['tree'])
    expect(readdirSync(join(other, 'a/tree'), { encoding: 'buffer' })).toHaveLength(3)
  })

  test('F9: to another file system is done whole or not at all', async () => {
    const other = elsewhere()
    mkdirSync(join(dir, 'tree'))
    writeFileSync(join(dir, 'tree/a'), '')
    execFileSync('mkfifo', [join(dir, 'tree/pipe')])
    const response = await post('/files/mv', [{ src: join(dir, 'tree'), dest: join(other, 'tree') }])
    expect(response.status).toBe(500)
    expect((await response.json()).message).toContain('pipe')
    expect([readdirSync(join(dir, 'tree')), readdirSync(other)]).toEqual([['a', 'pipe'], []])
  })

  test('F9: never takes the place of something, unless it is told to', async () => {
    for (const place of [dir, elsewhere()]) {
      writeFileSync(join(dir, 'src'), 'new')
      writeFileSync(join(place, 'dest'), 'old')
      const move = { src: join(dir, 'src'), dest: join(place, 'dest') }
      expect(await codeOf(await post('/files/mv', [move]))).toEqual([500, 'RUNTIME_ERROR'])
      expect(readFileSync(move.dest, 'utf8')).toBe('old')
      expect((await post('/files/mv', [{ ...move, overwrite: true }])).status).toBe(200)
      expect([readFileSync(move.dest, 'utf8'), existsSync(move.src)]).toEqual(['new', false])
      symlinkSync('nothing', join(place, 'dangling'))
      writeFileSync(join(dir, 'src'), '')
      expect((await post('/files/mv', [{ ...move, dest: join(place, 'dangling') }])).status).toBe(500)
      mkdirSync(join(place, 'full/x'), { recursive: true })
      expect(
        (await post('/files/mv', [{ ...move, dest: join(place, 'full'), overwrite: true }])).status,
      ).toBe(500)
      rmSync(join(place, 'dest'))
      rmSync(join(place, 'dangling'))
    }
  })

  test('F9: is won by one of many to the same place', async () => {
    for (let at = 0; at < 20; at++) writeFileSync(join(dir, `f${at}`), String(at))
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        post('/files/mv', [{ src: join(dir, `f${at}`), dest: join(dir, 'to') }]),
      ),
    )
    const statuses = answers.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(readFileSync(join(dir, 'to'), 'utf8')).toBe(String(statuses.indexOf(200)))
    expect(readdirSync(dir)).toHaveLength(20)
  })

  test('F9: takes links that lead nowhere, and directories', async () => {
    symlinkSync('nowhere', join(dir, 'link'))
    mkdirSync(join(dir, 'd/e'), { recursive: true })
    const moves = [
      { src: join(dir, 'link'), dest: join(dir, 'x/link') },
      { src: join(dir, 'd'), dest: join(dir, 'x/d') },
    ]
    expect((await post('/files/mv', moves)).status).toBe(200)
    expect(readdirSync(join(dir, 'x'))).toEqual(['d', 'link'])
    // Not into itself.
    expect((await post('/files/mv', [{ src: join(dir, 'x'), dest: join(dir, 'x/y') }])).status).toBe(500)
  })
})

describe('a removal', () => {
  test('F10: removes links, wherever they lead', async () => {
    mkdirSync(join(dir, 'd'))
    writeFileSync(join(dir, 'd/kept'), '')
    symlinkSync('d', join(dir, 'to-directory'))
    symlinkSync('nothing', join(dir, 'dangling'))
    symlinkSync('d', join(dir, 'other'))
    expect((await remove(`/files?path=${dir}/to-directory&path=${dir}/dangling`)).status).toBe(200)
    expect((await remove(`/directories?path=${dir}/other`)).status).toBe(200)
    expect([readdirSync(dir), readdirSync(join(dir, 'd'))]).toEqual([['d'], ['kept']])
    expect((await remove(`/files?path=${dir}/d/kept/below`)).status).toBe(200)
    expect(await codeOf(await remove(`/files?path=${dir}/d`))).toEqual([500, 'RUNTIME_ERROR'])
  })

  test('of a directory goes on past what cannot be removed, and says what', async () => {
    mkdirSync(join(dir, 'd/mounted'), { recursive: true })
    writeFileSync(join(dir, 'd/a'), '')
    writeFileSync(join(dir, 'd/z'), '')
    if (!isRoot) return expect(isRoot).toBe(false)
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(dir, 'd/mounted')])
    onTestFinished(() => void execFileSync('umount', [join(dir, 'd/mounted')]))
    const response = await remove(`/directories?path=${dir}/d`)
    expect(response.status).toBe(500)
    expect((await response.json()).message).toContain('EBUSY')
    expect(readdirSync(join(dir, 'd'))).toEqual(['mounted'])
  })
})

describe('permissions', () => {
  test('X9: what nobody asks for stays', async () => {
    writeFileSync(join(dir, 'f'), '', { mode: 0o640 })
    if (isRoot) execFileSync('chown', ['1234:2345', join(dir, 'f')])
    const { uid, gid } = statSync(join(dir, 'f'))
    expect(
      (await post('/files/permissions', { [join(dir, 'f')]: { mode: 600, owner: null, group: '' } })).status,
    ).toBe(200)
    expect((await post('/files/permissions', { [join(dir, 'f')]: { mode: 0 } })).status).toBe(200)
    const after = statSync(join(dir, 'f'))
    expect([after.uid, after.gid, after.mode & 0o7777]).toEqual([uid, gid, 0o600])
    for (const owner of ['nobody-has-this', '-1', '4294967295'])
      expect(await codeOf(await post('/files/permissions', { [join(dir, 'f')]: { owner } }))).toEqual([
        400,
        'INVALID_REQUEST_BODY',
      ])
  })

  test('of everything below a directory are set at once', async () => {
    mkdirSync(join(dir, 'd/e'), { recursive: true })
    writeFileSync(join(dir, 'd/e/f'), '')
    writeFileSync(join(dir, 'outside'), '', { mode: 0o644 })
    symlinkSync('../outside', join(dir, 'd/link'))
    const wanted = { mode: 2750, ...(isRoot ? { owner: '77', group: '78' } : {}), recursive: true }
    expect((await post('/files/permissions', { [join(dir, 'd')]: wanted })).status).toBe(200)
    for (const path of ['d', 'd/e', 'd/e/f']) {
      const { mode, uid, gid } = statSync(join(dir, path))
      expect([mode & 0o7777, ...(isRoot ? [uid, gid] : [])]).toEqual([0o2750, ...(isRoot ? [77, 78] : [])])
    }
    expect(statSync(join(dir, 'outside')).mode & 0o7777).toBe(0o644)
    if (isRoot)
      expect([lstatSync(join(dir, 'd/link')).uid, statSync(join(dir, 'outside')).uid]).toEqual([77, 0])
    for (const path of ['/', '/opt'])
      expect((await post('/files/permissions', { [path]: { mode: 700, recursive: true } })).status).toBe(400)
  })
})

describe('a replacement', () => {
  const replace = (body: object) => post('/files/replace?verbose=true', body)

  test('F8: of several files happens in all of them or in none', async () => {
    writeFileSync(join(dir, 'a'), 'x')
    writeFileSync(join(dir, 'b'), 'x x')
    const both = (count: number) => ({
      [join(dir, 'a')]: { old: 'x', new: 'y' },
      [join(dir, 'b')]: { old: 'x', new: 'y', expected_count: count },
    })
    const response = await replace(both(1))
    expect(response.status).toBe(412)
    expect(await response.json()).toMatchObject({
      code: 'CONFLICT',
      message: expect.stringContaining('is there 2 times, and not 1 times'),
    })
    expect([readFileSync(join(dir, 'a'), 'utf8'), readdirSync(dir)]).toEqual(['x', ['a', 'b']])
    expect((await replace(both(2))).status).toBe(200)
    expect([readFileSync(join(dir, 'a'), 'utf8'), readFileSync(join(dir, 'b'), 'utf8')]).toEqual(['y', 'y y'])
    const hash = createHash('sha256').update('y').digest('hex')
    const byHash = (if_sha256: string) => replace({ [join(dir, 'a')]: { old: 'y', new: 'z', if_sha256 } })
    expect((await byHash(hash.replace(/^./, (digit) => (digit === '0' ? '1' : '0')))).status).toBe(412)
    expect((await byHash(hash)).status).toBe(200)
  })

  test('R13: none of many at the same time gets lost', async () => {
    writeFileSync(join(dir, 'f'), Array.from({ length: 30 }, (_, at) => `<${at}>`).join(''))
    const answers = await Promise.all(
      Array.from({ length: 30 }, (_, at) =>
        replace({ [join(dir, 'f')]: { old: `<${at}>`, new: `[${at}]` } }),
      ),
    )
    expect(answers.every(({ status }) => status === 200)).toBe(true)
    expect(readFileSync(join(dir, 'f'), 'utf8')).toBe(
      Array.from({ length: 30 }, (_, at) => `[${at}]`).join(''),
    )
  })

  test('S9: leaves a file without the text alone, and any bytes as they are', async () => {
    const bytes = Buffer.from([0xff, 0x41, 0xc3, 0x41, 0, 0x41])
    writeFileSync(join(dir, 'f'), bytes)
    const before = statSync(join(dir, 'f'))
    expect(await (await replace({ [join(dir, 'f')]: { old: 'B', new: '' } })).json()).toEqual({
      [join(dir, 'f')]: { replacedCount: 0 },
    })
    expect([statSync(join(dir, 'f')).ino, statSync(join(dir, 'f')).mtimeMs]).toEqual([
      before.ino,
      before.mtimeMs,
    ])
    await replace({ [join(dir, 'f')]: { old: 'A', new: 'ä' } })
    expect([...readFileSync(join(dir, 'f'))]).toEqual([0xff, 0xc3, 0xa4, 0xc3, 0xc3, 0xa4, 0, 0xc3, 0xa4])
  })
})

describe('a replacement in a large file', () => {
  test('of what is there millions of times takes little memory, and nobody waits for it', async () => {
    writeFileSync(join(dir, 'large'), Buffer.alloc(3 << 20, 'a'))
    const change = { [join(dir, 'large')]: { old: 'a', new: 'bb' } }
    let isDone = false
    const done = post('/files/replace?verbose=true', change).finally(() => {
      isDone = true
    })
    let answers = 0
    while (!isDone) if ((await execd.call('/ping')).status === 200) answers++
    expect(await (await done).json()).toEqual({ [join(dir, 'large')]: { replacedCount: 3 << 20 } })
    expect(readFileSync(join(dir, 'large')).equals(Buffer.alloc(6 << 20, 'b'))).toBe(true)
    expect(answers).toBeGreaterThan(10)
    const peak = /^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${execd.pid()}/status`, 'utf8'))?.[1]
    expect(Number(peak)).toBeLessThan(400 << 10)
  })

  test('finds what lies across any border', async () => {
    const text = Array.from({ length: 40_000 }, (_, at) => 'xab'.slice(at % 3) + 'abaab'.slice(at % 7)).join(
      '',
    )
    for (const old of ['ab', 'aab', 'abxab', text.slice(1000, 90_000)]) {
      writeFileSync(join(dir, 'text'), text)
      expect((await post('/files/replace', { [join(dir, 'text')]: { old, new: '<->' } })).status).toBe(200)
      expect(readFileSync(join(dir, 'text'), 'utf8') === text.replaceAll(old, '<->'), old.slice(0, 9)).toBe(
        true,
      )
    }
  })

  test('is refused when the file would become too large', async () => {
    writeFileSync(join(dir, 'growing'), Buffer.alloc(2000, 'a'))
    const change = { [join(dir, 'growing')]: { old: 'a', new: 'b'.repeat(1 << 20) } }
    const response = await post('/files/replace', change)
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining('become larger')])
    expect(statSync(join(dir, 'growing')).size).toBe(2000)
  })
})

test('F13: the sum of a file is told when asked', async () => {
  writeFileSync(join(dir, 'f'), 'content')
  mkdirSync(join(dir, 'd'))
  const info = await (await execd.call(`/files/info?path=${dir}/f&path=${dir}/d&hash=sha256`)).json()
  expect(info[`${dir}/f`].sha256).toBe(createHash('sha256').update('content').digest('hex'))
  expect(info[`${dir}/d`].sha256).toBe(undefined)
  expect((await execd.call(`/files/info?path=${dir}/f&hash=md5`)).status).toBe(400)
  expect(await (await execd.call('/files/info?path=__proto__')).json()).toMatchObject({
    code: 'FILE_NOT_FOUND',
  })
})

test('any JSON at all is answered, refused, or an error that says why', async () => {
  const value = fc.jsonValue({ maxDepth: 2, stringUnit: 'binary' })
  const odd = fc.oneof(
    value,
    fc.constantFrom<unknown>('', 'x', '\0', '../x', 'a/b', '~nobody', '$UNSET', 755, -1, 1e99),
  )
  // Where it may do as it likes.
  const path = fc
    .oneof(fc.string({ maxLength: 8, unit: 'binary' }), fc.constantFrom('f', 'd', 'd/f', 'link', ''))
    .map((name) => `${dir}/${name.replaceAll('/..', '').replaceAll('..', '')}`)
  const names = [
    'path',
    'src',
    'dest',
    'mode',
    'owner',
    'group',
    'old',
    'new',
    'overwrite',
    'recursive',
    'if_sha256',
    'expected_count',
  ]
  const item = fc.dictionary(fc.constantFrom(...names), fc.oneof(odd, path), { maxKeys: 5 })
  const body = fc.oneof(
    value,
    item,
    fc.array(item, { maxLength: 3 }),
    fc.dictionary(path, fc.oneof(item, odd), { maxKeys: 3 }),
  )
  const routes =
    LATE_FAMILIES.files?.names.filter((name) => name.startsWith('POST ') && !/upload|archive/.test(name)) ??
    []
  expect(routes).toHaveLength(4)
  writeFileSync(join(dir, 'f'), 'text')
  mkdirSync(join(dir, 'd'))
  symlinkSync('f', join(dir, 'link'))
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...routes), body, fc.boolean(), async (route, json, isDamaged) => {
      const text = JSON.stringify(json)
      const response = await execd.call(route.slice(5), {
        method: 'POST',
        body: isDamaged ? text.slice(0, -1) : text,
      })
      const answer = await response.text()
      expect(answer).not.toContain('Internal error')
      if (response.status !== 200) {
        expect([400, 404, 412, 500]).toContain(response.status)
        expect(JSON.parse(answer)).toEqual({ code: expect.any(String), message: expect.any(String) })
      }
    }),
    { numRuns: 400 },
  )
  expect((await execd.call('/ping')).status).toBe(200)
})

test('any query at all is answered, refused, or an error that says why', async () => {
  const names = [
    'path',
    'pattern',
    'depth',
    'limit',
    'offset',
    'type',
    'exclude',
    'content',
    'hash',
    'format',
    'recursive',
  ]
  const text = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      '**',
      '*.txt',
      '[',
      '{a,b}',
      '1',
      '-1',
      '999999999999999999',
      'true',
      'file',
      '%FF%00',
      '%',
      'sha256',
      'tar',
      'zip',
    ),
  )
  const query = fc.array(fc.tuple(fc.constantFrom(...names), text, fc.boolean()), { maxLength: 5 })
  const routes = [
    'GET /files/info',
    'GET /files/search',
    'GET /files/download',
    'GET /directories/list',
    'GET /directories/archive',
  ]
  writeFileSync(join(dir, 'f.txt'), 'text')
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...routes), query, async (route, pairs) => {
      const parameters = pairs.map(([name, value, isRaw]) => {
        const given = name === 'path' ? `${dir}/${value.replaceAll('..', '')}` : value
        return `${name}=${isRaw ? given.replace(/[^\x21-\x7e]|[#&]/g, '_') : encodeURIComponent(given)}`
      })
      const response = await execd.call(`${route.slice(4)}?path=${dir}&${parameters.join('&')}`)
      const answer = await response.text()
      expect(answer).not.toContain('Internal error')
      expect([200, 400, 404, 500]).toContain(response.status)
    }),
    { numRuns: 400 },
  )
})
