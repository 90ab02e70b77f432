import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { get } from 'node:http'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import type { FoundFile } from '../../../lib/api/execd-files.ts'
import { processorMsOf } from '../../support/fair-time.ts'
import { type Daemon, until } from '../daemon.ts'
import { isRoot, useWorkplace } from './workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

/** Directories within each other, beyond the length of a path. */
function makeDeep(path: string, depth: number): void {
  const script = `for (let at = 0; at < ${depth}; at++) {
    fs.mkdirSync('d'.repeat(200))
    process.chdir('d'.repeat(200))
  }`
  execFileSync(process.execPath, ['-e', script], { cwd: path })
}

function put(path: string, content: string | Buffer = ''): void {
  mkdirSync(join(dir, path, '..'), { recursive: true })
  writeFileSync(join(dir, path), content)
}
async function search(query: Record<string, string | string[]>): Promise<FoundFile[]> {
  const parameters = new URLSearchParams({ path: dir })
  for (const [name, value] of Object.entries(query))
    for (const one of [value].flat()) parameters.append(name, one)
  const response = await execd.call(`/files/search?${parameters}`)
  expect([response.status, response.headers.get('content-type')]).toEqual([
    200,
    'application/json; charset=utf-8',
  ])
  return (await response.json()) as FoundFile[]
}
const namesOf = (found: FoundFile[]) => found.map(({ path }) => path.slice(dir.length + 1))

describe('a search by name', () => {
  test('is narrowed by kind, excluded names and a limit', async () => {
    for (const path of ['a.ts', 'node_modules/x/a.ts', 'src/a.ts', 'src/deep/b.ts', 'src/c.js']) put(path)
    symlinkSync('a.ts', join(dir, 'link.ts'))
    execFileSync('mkfifo', [join(dir, 'pipe.ts')])
    const found = async (query: Record<string, string | string[]>) => namesOf(await search(query))
    expect(await found({ pattern: '*.ts', exclude: 'node_modules' })).toEqual([
      'a.ts',
      'link.ts',
      'pipe.ts',
      'src/a.ts',
      'src/deep/b.ts',
    ])
    expect(await found({ type: 'directory' })).toEqual(['node_modules', 'node_modules/x', 'src', 'src/deep'])
    expect(await found({ type: 'symlink,other' })).toEqual(['link.ts', 'pipe.ts'])
    expect(await found({ type: ['directory', 'symlink'], exclude: ['node_*', 'deep'] })).toEqual([
      'link.ts',
      'src',
    ])
    expect(await found({ pattern: '**/b.ts' })).toEqual(['src/deep/b.ts'])
    expect(await found({ limit: '2', exclude: 'node_modules' })).toEqual(['a.ts', 'link.ts'])
    const link = (await search({ pattern: 'link.ts' }))[0]
    expect(link).toMatchObject({ type: 'symlink', target: 'a.ts', uid: process.getuid?.() })
  })

  test.each([
    ['type=folder', '"type" must be one of file, directory, symlink, other'],
    ['limit=0', '"limit" must be an integer from 1 on'],
    ['exclude=%5Ba', 'The pattern'],
    ['content=a%0Ab', '"content" must be a part of one line'],
    [`content=${'x'.repeat(501)}`, 'at most 500 characters'],
    ['content=x&ignore_case=maybe', '"ignore_case" must be true or false'],
    ['exclude=a&'.repeat(33), '"exclude" must be given at most 32 times'],
  ])('with %s is refused', async (query, message) => {
    const response = await execd.call(`/files/search?path=${dir}&${query}`)
    expect(response.status).toBe(400)
    expect((await response.json()).message).toContain(message)
  })

  test('of what is no directory is refused', async () => {
    put('f')
    symlinkSync('f', join(dir, 'to-file'))
    symlinkSync('nothing', join(dir, 'to-nothing'))
    for (const [name, status] of [
      ['f', 400],
      ['to-file', 400],
      ['to-nothing', 404],
      ['nope', 404],
      ['f/x', 404],
    ] as const)
      expect([name, (await execd.call(`/files/search?path=${dir}/${name}`)).status]).toEqual([name, status])
  })

  test('F6: tells how many directories it could not read, and goes on', async () => {
    for (const path of ['a/f', 'b/f', 'c/f']) put(path)
    // Whoever may read everything still cannot read what has no end.
    makeDeep(join(dir, 'b'), 30)
    const response = await execd.call(`/files/search?path=${dir}`)
    expect(namesOf((await response.json()) as FoundFile[])).toEqual(['a/f', 'b/f', 'c/f'])
    expect(response.headers.get('execd-unreadable-directories')).toBe('1')
  })
})

describe('names that are not UTF-8', () => {
  const odd = () => Buffer.concat([Buffer.from(`${dir}/odd-`), Buffer.of(0xff, 0xc3)])
  const raw = (path: Buffer) => [...path].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')

  test('are found, listed, read, moved and removed by their bytes', async () => {
    writeFileSync(odd(), 'content')
    put('plain')
    const [found] = await search({ pattern: 'odd-*' })
    expect(found).toMatchObject({ path: `${dir}/odd-\ufffd\ufffd`, path_base64: odd().toString('base64') })
    const list = (await (await execd.call(`/directories/list?path=${dir}`)).json()) as FoundFile[]
    expect(list.map(({ path_base64 }) => path_base64)).toEqual([odd().toString('base64'), undefined])
    expect(await (await execd.call(`/files/download?path=${raw(odd())}`)).text()).toBe('content')
    const info = await (await execd.call(`/files/info?path=${raw(odd())}`)).json()
    expect(Object.values(info)).toEqual([
      expect.objectContaining({ size: 7, path_base64: expect.any(String) }),
    ])
    expect((await search({ content: 'content' }))[0]).toMatchObject({ path_base64: odd().toString('base64') })
    // What it is called is not what it is.
    expect((await execd.call(`/files/download?path=${encodeURIComponent(found?.path ?? '')}`)).status).toBe(
      404,
    )
    const moved = await execd.call('/files/mv', {
      method: 'POST',
      body: `[{"src": "${dir}/odd-\\udcff\\udcc3", "dest": "${dir}/new-\\udcff/x"}]`,
    })
    expect(moved.status).toBe(200)
    const inside = Buffer.concat([Buffer.from(`${dir}/new-`), Buffer.of(0xff), Buffer.from('/x')])
    expect(readFileSync(inside, 'utf8')).toBe('content')
    expect(
      (await execd.call(`/directories?path=${raw(inside.subarray(0, -2))}`, { method: 'DELETE' })).status,
    ).toBe(200)
    expect(readdirSync(dir)).toEqual(['plain'])
  })

  test('do not keep a directory from being removed', async () => {
    mkdirSync(join(dir, 'd'))
    for (let byte = 0x80; byte < 0x100; byte++)
      writeFileSync(Buffer.concat([Buffer.from(`${dir}/d/`), Buffer.of(byte)]), '')
    expect((await execd.call(`/directories?path=${dir}/d`, { method: 'DELETE' })).status).toBe(200)
    expect(existsSync(join(dir, 'd'))).toBe(false)
  })

  test('with half a character are refused', async () => {
    const response = await execd.call('/directories', { method: 'POST', body: `{"${dir}/\\ud800x": {}}` })
    expect(response.status).toBe(400)
    expect((await response.json()).message).toContain('half of a character')
  })
})

test('files from any time are described', async () => {
  put('old')
  put('new')
  utimesSync(join(dir, 'old'), -1_000_000_000, -1_000_000_000)
  utimesSync(join(dir, 'new'), 9_999_999_999, 9_999_999_999)
  for (const { modified_at } of await search({})) expect(modified_at).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
})

describe('a search by content', () => {
  test('tells the lines', async () => {
    put('a.txt', 'one\ntwo needle\r\nthree\nneedle needle\n')
    put('b.txt', 'nothing\n')
    put('c/d.txt', 'last needle')
    put('e.md', 'needle')
    put('bin', Buffer.concat([Buffer.from('needle'), Buffer.of(0, 1, 2)]))
    symlinkSync('a.txt', join(dir, 'link'))
    execFileSync('mkfifo', [join(dir, 'pipe')])
    const found = await search({ content: 'needle' })
    expect(found.map(({ path, matches, binary }) => [path.slice(dir.length + 1), binary ?? matches])).toEqual(
      [
        [
          'a.txt',
          [
            { line: 2, text: 'two needle' },
            { line: 4, text: 'needle needle' },
          ],
        ],
        ['bin', true],
        ['c/d.txt', [{ line: 1, text: 'last needle' }]],
        ['e.md', [{ line: 1, text: 'needle' }]],
      ],
    )
    expect(found[0]).toMatchObject({ type: 'file', size: 36, mode: 644 })
    expect(namesOf(await search({ content: 'needle', pattern: '*.txt' }))).toEqual(['a.txt', 'c/d.txt'])
    expect(namesOf(await search({ content: 'needle', limit: '1' }))).toEqual(['a.txt'])
    expect(await search({ content: 'NEEDLE' })).toEqual([])
    expect(namesOf(await search({ content: 'NeedLE', ignore_case: 'true' }))).toHaveLength(4)
    put('umlaut', 'GRÖSSE\n')
    expect(namesOf(await search({ content: 'größe', ignore_case: 'true' }))).toEqual([])
    expect(namesOf(await search({ content: 'grösse', ignore_case: 'true' }))).toEqual(['umlaut'])
  })

  test('finds what lies across the pieces that are read, in files of any size', async () => {
    const piece = 32 << 10
    for (const shift of [-7, -6, -3, -1, 0, 1]) {
      const before = `${'x'.repeat(99)}\n`.repeat(Math.ceil(piece / 100)).slice(0, piece + shift - 1)
      put(`f${shift}`, `${before}\nneedle\n${'y'.repeat(piece * 2)}needle${'z'.repeat(piece)}\nneedle`)
    }
    const found = await search({ content: 'needle' })
    expect(found).toHaveLength(6)
    for (const { path, matches } of found) {
      const lines = readFileSync(path, 'utf8').split('\n')
      const expected = lines.flatMap((line, index) => (line.includes('needle') ? [index + 1] : []))
      expect(matches?.map(({ line }) => line)).toEqual(expected)
    }
  })

  test('is bounded in what it tells of a file', async () => {
    put('many', 'needle\n'.repeat(1000))
    put('long', `${'ä'.repeat(5000)}needle`)
    const [long, many] = await search({ content: 'needle' })
    expect([many?.matches?.length, many?.truncated]).toEqual([100, true])
    expect(long?.matches?.[0]?.text).toBe('ä'.repeat(256))
  })
})

describe('a large tree', () => {
  beforeAll(() => {
    for (let a = 0; a < 60; a++) {
      mkdirSync(join(execd.workdir, `large/d${a}`), { recursive: true })
      for (let b = 0; b < 100; b++) writeFileSync(join(execd.workdir, `large/d${a}/f${b}`), `${a} ${b}`)
    }
    mkdirSync(join(execd.workdir, 'flat'))
    for (let at = 0; at < 8000; at++)
      writeFileSync(join(execd.workdir, `flat/${'n'.repeat(40)}${(at * 7919) % 8000}`), '')
  })

  test('S8: is walked with others answered meanwhile, and in the order of the bytes', async () => {
    const query = `/files/search?path=${execd.workdir}/large&content=none`
    const searches = Array.from({ length: 4 }, () => execd.call(query).then((response) => response.json()))
    let isOver = false
    void Promise.all(searches).then(() => {
      isOver = true
    })
    let worst = 0
    let pings = 0
    while (!isOver) {
      // What execd has worked before it had time for it.
      const before = processorMsOf(execd.pid())
      await execd.call('/ping')
      worst = Math.max(worst, processorMsOf(execd.pid()) - before)
      pings++
    }
    expect(await Promise.all(searches)).toEqual([[], [], [], []])
    expect(pings).toBeGreaterThan(3)
    expect(worst).toBeLessThan(1000)
    const list = async () => {
      const response = await execd.call(`/directories/list?path=${execd.workdir}/flat`)
      const paths = ((await response.json()) as FoundFile[]).map((one) =>
        Buffer.from(one.path_base64 ?? one.path, one.path_base64 ? 'base64' : 'utf8'),
      )
      expect(paths).toEqual([...paths].sort(Buffer.compare))
      return paths.length
    }
    expect(await list()).toBe(8000)
    // In UTF-16 these are the other way round, and the last is no UTF-8 at all.
    for (const name of ['\uff5e', '😀']) writeFileSync(join(execd.workdir, 'flat', name), '')
    expect(await list()).toBe(8002)
    writeFileSync(Buffer.concat([Buffer.from(`${execd.workdir}/flat/`), Buffer.of(0xff)]), '')
    expect(await list()).toBe(8003)
  })

  test('S8: is not walked on when the client has left', async () => {
    const worked = () => processorMsOf(execd.pid())
    const before = worked()
    const sent = get(`${execd.url}/files/search?path=/&content=${'x'.repeat(500)}`, {
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    })
    sent.on('error', () => {})
    await until(async () => worked() - before > 200, 'the search to be under way')
    sent.destroy()
    // A search keeps a core busy: 500 ms of 500.
    const seen: { at: number; worked: number }[] = []
    await until(async () => {
      seen.push({ at: performance.now(), worked: worked() })
      const earlier = seen.findLast(({ at }) => at < performance.now() - 500)
      return earlier && worked() - earlier.worked < 100
    }, 'execd to be idle')
  })

  test('that is nested beyond the length of a path is removed', async () => {
    mkdirSync(join(execd.workdir, 'deep'))
    makeDeep(join(execd.workdir, 'deep'), 200)
    const removed = await execd.call(`/directories?path=${execd.workdir}/deep`, { method: 'DELETE' })
    expect([removed.status, existsSync(join(execd.workdir, 'deep'))]).toEqual([200, false])
  })

  test('is removed without keeping others waiting', async () => {
    const removed = execd.call(`/directories?path=${execd.workdir}/flat`, { method: 'DELETE' })
    let worst = 0
    let isOver = false
    void removed.then(() => {
      isOver = true
    })
    while (!isOver) {
      const before = processorMsOf(execd.pid())
      await execd.call('/ping')
      worst = Math.max(worst, processorMsOf(execd.pid()) - before)
    }
    expect((await removed).status).toBe(200)
    expect(existsSync(join(execd.workdir, 'flat'))).toBe(false)
    expect(worst).toBeLessThan(1000)
  })
})

test('a directory that is not ours to read is an error, and no empty list', async (context) => {
  if (isRoot) return context.skip('root reads every directory')
  put('closed/f')
  chmodSync(join(dir, 'closed'), 0)
  expect((await execd.call(`/directories/list?path=${dir}/closed`)).status).toBe(500)
})
