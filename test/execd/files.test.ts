import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Daemon, until } from './daemon.ts'
import { codeOf, isRoot, useWorkplace } from './files/workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

const post = (path: string, body: unknown) =>
  execd.call(path, { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) })
const expectEmpty = async (response: Response) => {
  expect([response.status, response.headers.get('content-length'), await response.text()]).toEqual([
    200,
    '0',
    '',
  ])
}

type Part = [name: string, filename: string | undefined, content: string | Buffer]
function upload(parts: Part[], boundary = 'opensandbox_test'): Promise<Response> {
  const chunks: Buffer[] = []
  for (const [name, filename, content] of parts) {
    const file = filename === undefined ? '' : `; filename="${filename}"`
    chunks.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n\r\n`))
    chunks.push(Buffer.from(content), Buffer.from('\r\n'))
  }
  chunks.push(Buffer.from(`--${boundary}--\r\n`))
  return execd.call('/files/upload', {
    method: 'POST',
    headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` },
    body: Buffer.concat(chunks),
  })
}
const pair = (metadata: object, content: string | Buffer): Part[] => [
  ['metadata', 'metadata', JSON.stringify(metadata)],
  ['file', 'ignored', content],
]

describe('an upload', () => {
  test('writes several files with their parents, modes and owners', async () => {
    await expectEmpty(
      await upload([
        ...pair({ path: `${dir}/a/b/one.txt`, mode: 600, owner: null, group: null }, 'one'),
        ...pair({ path: `${dir}/two`, owner: 'root', group: 'root' }, Buffer.from([0, 255, 13, 10])),
        ...pair({ path: `${dir}/empty`, mode: 755 }, ''),
      ]),
    )
    expect(readFileSync(`${dir}/a/b/one.txt`, 'utf8')).toBe('one')
    expect(statSync(`${dir}/a/b/one.txt`).mode & 0o777).toBe(0o600)
    expect([...readFileSync(`${dir}/two`)]).toEqual([0, 255, 13, 10])
    expect(statSync(`${dir}/two`).mode & 0o777).toBe(0o755)
    expect(statSync(`${dir}/empty`).size).toBe(0)
    expect(readdirSync(dir).sort()).toEqual(['a', 'empty', 'two'])
  })

  test('resolves relative paths, variables and ~', async () => {
    const name = dir.slice(execd.workdir.length + 1)
    await expectEmpty(
      await upload([...pair({ path: `${name}/rel` }, 'r'), ...pair({ path: '~/home-file' }, 'h')]),
    )
    expect(readFileSync(`${dir}/rel`, 'utf8')).toBe('r')
    expect(readFileSync(join(execd.workdir, '../home-file'), 'utf8')).toBe('h')
  })

  test('over a file keeps its mode and owner, and goes through a link', async () => {
    writeFileSync(`${dir}/real`, 'old')
    chmodSync(`${dir}/real`, 0o640)
    if (isRoot) chownSync(`${dir}/real`, 1234, 1235)
    symlinkSync('real', `${dir}/link`)
    await expectEmpty(await upload(pair({ path: `${dir}/link` }, 'new')))
    const stat = statSync(`${dir}/real`)
    expect(readFileSync(`${dir}/real`, 'utf8')).toBe('new')
    expect([stat.mode & 0o777, stat.uid, stat.gid]).toEqual([
      0o640,
      ...(isRoot ? [1234, 1235] : [stat.uid, stat.gid]),
    ])
  })

  test('that is cut off leaves the old file and nothing beside it', async () => {
    writeFileSync(`${dir}/file`, 'old')
    const sent = request(`${execd.url}/files/upload`, {
      method: 'POST',
      headers: {
        'X-EXECD-ACCESS-TOKEN': 'secret-token',
        'Content-Type': 'multipart/form-data; boundary=b',
        'Transfer-Encoding': 'chunked',
      },
    })
    sent.on('error', () => {})
    sent.write(
      `--b\r\nContent-Disposition: form-data; name="metadata"; filename="m"\r\n\r\n{"path":"${dir}/file"}\r\n` +
        `--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n${'x'.repeat(100_000)}`,
    )
    await until(async () => readdirSync(dir).length === 2, 'the upload to begin')
    sent.destroy()
    await until(async () => readdirSync(dir).length === 1, 'the upload to be cleared away')
    expect(readFileSync(`${dir}/file`, 'utf8')).toBe('old')
  })

  test('stops at the first file that fails; those before it stay', async () => {
    const response = await upload([
      ...pair({ path: `${dir}/one` }, '1'),
      ...pair({ path: dir }, 'a directory'),
      ...pair({ path: `${dir}/three` }, '3'),
    ])
    expect(response.status).toBe(400)
    expect((await response.json()).message).toContain('it is a directory')
    expect(readdirSync(dir)).toEqual(['one'])
  })

  test.each<[string, () => Promise<Response>, string, string]>([
    ['no form', () => post('/files/upload', 'x'), 'INVALID_FILE', 'multipart/form-data'],
    [
      'no boundary',
      () =>
        execd.call('/files/upload', {
          method: 'POST',
          headers: { 'Content-Type': 'multipart/form-data' },
          body: 'x',
        }),
      'INVALID_FILE',
      'multipart/form-data',
    ],
    ['no parts', () => upload([]), 'INVALID_FILE', ''],
    ['no metadata', () => upload([['file', 'f', 'x']]), 'INVALID_FILE_METADATA', 'metadata'],
    [
      'a plain field',
      () =>
        upload([
          ['metadata', undefined, '{}'],
          ['file', 'f', 'x'],
        ]),
      'INVALID_FILE_METADATA',
      '',
    ],
    ['no file', () => upload([['metadata', 'm', '{"path":"x"}']]), 'INVALID_FILE_CONTENT', 'file'],
    [
      'no JSON',
      () =>
        upload([
          ['metadata', 'm', '{'],
          ['file', 'f', 'x'],
        ]),
      'INVALID_FILE_METADATA',
      'JSON',
    ],
    ['no path', () => upload(pair({}, 'x')), 'INVALID_FILE_METADATA', 'path'],
    ['a NUL', () => upload(pair({ path: '/a\0b' }, 'x')), 'INVALID_FILE_METADATA', 'NUL'],
    ['a bad mode', () => upload(pair({ path: '/tmp/x', mode: 999 }, 'x')), 'INVALID_FILE_METADATA', 'mode'],
    [
      'nobody',
      () => upload(pair({ path: '/tmp/x', owner: 'nobody-has-this' }, 'x')),
      'INVALID_FILE_METADATA',
      'no user',
    ],
    [
      'execd',
      () => upload(pair({ path: '/opt/opensandbox/x' }, 'x')),
      'INVALID_FILE_METADATA',
      'execd needs',
    ],
    [
      'one file too few',
      () => upload([...pair({ path: '/dev/null/x' }, 'x').slice(0, 1), ['metadata', 'm', '{"path":"y"}']]),
      'INVALID_FILE',
      '',
    ],
  ])('with %s is refused', async (_what, send, code, message) => {
    const response = await send()
    const body = await response.json()
    expect(response.status).toBe(400)
    expect(body.code).toMatch(code === 'INVALID_FILE' ? /^INVALID_FILE/ : code)
    expect(body.message).toContain(message)
  })

  test('of 64 MB goes up and down with equal checksums and in little memory', async () => {
    const chunk = Buffer.alloc(1 << 20)
    for (let at = 0; at < chunk.length; at += 4) chunk.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
    const hash = createHash('sha256')
    const body = async function* () {
      yield `--b\r\nContent-Disposition: form-data; name="metadata"; filename="m"\r\n\r\n{"path":"${dir}/big"}\r\n`
      yield '--b\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
      for (let at = 0; at < 64; at++) {
        chunk[0] = at
        hash.update(chunk)
        yield Buffer.from(chunk)
      }
      yield '\r\n--b--\r\n'
    }
    const encode = async function* () {
      for await (const piece of body()) yield typeof piece === 'string' ? Buffer.from(piece) : piece
    }
    const response = await execd.call('/files/upload', {
      method: 'POST',
      headers: { 'Content-Type': 'multipart/form-data; boundary=b' },
      body: encode() as unknown as BodyInit,
      duplex: 'half',
    } as RequestInit)
    await expectEmpty(response)
    const down = await execd.call(`/files/download?path=${dir}/big`)
    const back = createHash('sha256')
    for await (const piece of down.body ?? []) back.update(piece)
    expect(back.digest('hex')).toBe(hash.digest('hex'))
    const memory = Number(
      /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${execd.process.pid}/status`, 'utf8'))?.[1],
    )
    expect(memory).toBeLessThan(350_000)
  })
})

describe('a download', () => {
  const download = (path: string, headers: Record<string, string> = {}) =>
    execd.call(`/files/download?path=${encodeURIComponent(path)}`, { headers })

  test('gives the whole file with its name', async () => {
    writeFileSync(`${dir}/a "b".txt`, '0123456789')
    const response = await download(`${dir}/a "b".txt`)
    expect(response.status).toBe(200)
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-length': '10',
      'accept-ranges': 'bytes',
      'content-disposition': 'attachment; filename="a \\"b\\".txt"',
    })
    expect(await response.text()).toBe('0123456789')
    writeFileSync(`${dir}/ä.txt`, '')
    const named = await download(`${dir}/ä.txt`)
    expect(named.headers.get('content-disposition')).toBe(
      `attachment; filename="%C3%A4.txt"; filename*=UTF-8''%C3%A4.txt`,
    )
    expect(named.headers.get('content-length')).toBe('0')
  })

  test('gives a range of bytes', async () => {
    writeFileSync(`${dir}/f`, '0123456789')
    for (const [range, bytes, content] of [
      ['bytes=0-3', '0-3', '0123'],
      ['bytes=8-', '8-9', '89'],
      ['bytes=-2', '8-9', '89'],
      ['bytes=5-100', '5-9', '56789'],
    ] as const) {
      const response = await download(`${dir}/f`, { Range: range })
      expect([response.status, response.headers.get('content-range'), await response.text()]).toEqual([
        206,
        `bytes ${bytes}/10`,
        content,
      ])
    }
    const behind = await download(`${dir}/f`, { Range: 'bytes=10-' })
    expect([behind.status, behind.headers.get('content-range')]).toEqual([416, 'bytes */10'])
    expect(await codeOf(await download(`${dir}/f`, { Range: 'bytes=a' }))).toEqual([416, 'UNKNOWN'])
  })

  test('is not repeated for who has it', async () => {
    writeFileSync(`${dir}/f`, 'x')
    const etag = (await download(`${dir}/f`)).headers.get('etag') ?? ''
    expect((await download(`${dir}/f`, { 'If-None-Match': etag })).status).toBe(304)
    expect((await download(`${dir}/f`, { 'If-Range': '"other"', Range: 'bytes=0-0' })).status).toBe(200)
    expect((await download(`${dir}/f`, { 'If-Range': etag, Range: 'bytes=0-0' })).status).toBe(206)
  })

  test.each([
    ['', 'a\nb\nc\nd'],
    ['offset=2', 'b\nc\nd'],
    ['limit=1', 'a'],
    ['offset=2&limit=2', 'b\nc'],
    ['offset=9', ''],
  ])('gives lines: %s', async (query, text) => {
    writeFileSync(`${dir}/f`, 'a\r\nb\nc\nd\n')
    const response = await execd.call(`/files/download?path=${dir}/f&${query || 'offset=1'}`)
    expect([response.status, response.headers.get('content-type')?.startsWith('text/plain')]).toEqual([
      200,
      text === '' ? expect.anything() : true,
    ])
    expect(await response.text()).toBe(text)
  })

  test('of what is no file is refused', async () => {
    execFileSync('mkfifo', [`${dir}/fifo`])
    expect(await codeOf(await download(dir))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await download(`${dir}/fifo`))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await download('/dev/zero'))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await download(`${dir}/nope`))).toEqual([404, 'FILE_NOT_FOUND'])
    expect(await codeOf(await download(`${dir}/nope/x`))).toEqual([404, 'FILE_NOT_FOUND'])
    expect(await codeOf(await execd.call('/files/download'))).toEqual([400, 'MISSING_QUERY'])
    for (const query of ['offset=0', 'limit=0', 'offset=x', 'limit=-1'])
      expect(await codeOf(await execd.call(`/files/download?path=${dir}/fifo&${query}`))).toEqual([
        400,
        'INVALID_REQUEST_BODY',
      ])
    const both = await execd.call(`/files/download?path=${dir}&limit=1`, { headers: { Range: 'bytes=0-1' } })
    expect(both.status).toBe(400)
  })

  test('gives what is in a file of /proc, which says that it is empty', async () => {
    expect(await (await download('/proc/self/comm')).text()).not.toBe('')
  })
})

describe('files', () => {
  test('are described under the paths that were asked for', async () => {
    writeFileSync(`${dir}/f`, 'abc', { mode: 0o644 })
    symlinkSync('nowhere', `${dir}/l`)
    const response = await execd.call(`/files/info?path=${dir}/f&path=${dir}/../${dir.split('/').at(-1)}/l`)
    const info = await response.json()
    expect(Object.keys(info)).toEqual([`${dir}/f`, `${dir}/../${dir.split('/').at(-1)}/l`])
    expect(info[`${dir}/f`]).toEqual({
      uid: expect.any(Number),
      gid: expect.any(Number),
      path: `${dir}/f`,
      type: 'file',
      size: 3,
      mode: 644,
      owner: expect.any(String),
      group: expect.any(String),
      modified_at: expect.stringMatching(/^\d{4}-.*Z$/),
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
    })
    expect(Object.values(info)[1]).toMatchObject({ type: 'symlink', path: `${dir}/l`, target: 'nowhere' })
    expect(await (await execd.call('/files/info')).json()).toEqual({})
    expect(await codeOf(await execd.call(`/files/info?path=${dir}/f&path=/nope`))).toEqual([
      404,
      'FILE_NOT_FOUND',
    ])
  })

  test('are removed; missing ones are fine, directories are not', async () => {
    writeFileSync(`${dir}/f`, '')
    symlinkSync('nowhere', `${dir}/dangling`)
    const remove = (path: string) => execd.call(`/files?path=${path}`, { method: 'DELETE' })
    await expectEmpty(await remove(`${dir}/f&path=${dir}/nope&path=${dir}/dangling`))
    expect(readdirSync(dir)).toEqual([])
    expect(await codeOf(await remove(dir))).toEqual([500, 'RUNTIME_ERROR'])
  })

  test('are moved, with the parents of their new place, never over something', async () => {
    writeFileSync(`${dir}/f`, 'x')
    await expectEmpty(await post('/files/mv', [{ src: `${dir}/f`, dest: `${dir}/n/e/w` }]))
    expect(readFileSync(`${dir}/n/e/w`, 'utf8')).toBe('x')
    writeFileSync(`${dir}/f`, 'y')
    expect(await codeOf(await post('/files/mv', [{ src: `${dir}/f`, dest: `${dir}/n/e/w` }]))).toEqual([
      500,
      'RUNTIME_ERROR',
    ])
    expect(await codeOf(await post('/files/mv', [{ src: `${dir}/nope`, dest: `${dir}/x` }]))).toEqual([
      404,
      'FILE_NOT_FOUND',
    ])
    expect(await codeOf(await post('/files/mv', { src: 'a' }))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await post('/files/mv', [{ src: `${dir}/f` }]))).toEqual([
      400,
      'INVALID_REQUEST_BODY',
    ])
    // The home directory is the test's own; another file system is one with tmpfs.
    await expectEmpty(
      await post('/files/mv', [{ src: `${dir}/n`, dest: `/dev/shm/${dir.split('/').at(-3)}/n` }]),
    )
    await expectEmpty(
      await post('/files/mv', [{ src: `/dev/shm/${dir.split('/').at(-3)}/n`, dest: `${dir}/back` }]),
    )
    expect(readFileSync(`${dir}/back/e/w`, 'utf8')).toBe('x')
    await execd.call(`/directories?path=/dev/shm/${dir.split('/').at(-3)}`, { method: 'DELETE' })
  })

  test('get modes and owners', async () => {
    writeFileSync(`${dir}/f`, '')
    await expectEmpty(await post('/files/permissions', { [`${dir}/f`]: { mode: 4711, owner: null } }))
    expect(statSync(`${dir}/f`).mode & 0o7777).toBe(0o4711)
    if (isRoot) {
      await expectEmpty(
        await post('/files/permissions', { [`${dir}/f`]: { mode: 600, owner: '77', group: '78' } }),
      )
      expect([statSync(`${dir}/f`).uid, statSync(`${dir}/f`).gid]).toEqual([77, 78])
    }
    expect(await codeOf(await post('/files/permissions', { [`${dir}/nope`]: { mode: 600 } }))).toEqual([
      404,
      'FILE_NOT_FOUND',
    ])
    expect(await codeOf(await post('/files/permissions', { [`${dir}/f`]: 5 }))).toEqual([
      400,
      'INVALID_REQUEST_BODY',
    ])
  })

  test('have texts replaced, and are left alone without one', async () => {
    writeFileSync(`${dir}/f`, Buffer.from([0xff, ...Buffer.from('aXaXa')]), { mode: 0o750 })
    writeFileSync(`${dir}/g`, 'none')
    const before = statSync(`${dir}/g`).mtimeMs
    const wanted = { [`${dir}/f`]: { old: 'X', new: '$&' }, [`${dir}/g`]: { old: 'X', new: '' } }
    const response = await post('/files/replace?verbose=true', wanted)
    expect(await response.json()).toEqual({
      [`${dir}/f`]: { replacedCount: 2 },
      [`${dir}/g`]: { replacedCount: 0 },
    })
    expect(readFileSync(`${dir}/f`)).toEqual(Buffer.from([0xff, ...Buffer.from('a$&a$&a')]))
    expect(statSync(`${dir}/f`).mode & 0o777).toBe(0o750)
    expect(statSync(`${dir}/g`).mtimeMs).toBe(before)
    await expectEmpty(await post('/files/replace?verbose=false', { [`${dir}/f`]: { old: 'a', new: 'b' } }))
    expect(await codeOf(await post('/files/replace', { [`${dir}/f`]: { old: '', new: 'b' } }))).toEqual([
      400,
      'INVALID_REQUEST_BODY',
    ])
    expect(await codeOf(await post('/files/replace', { [`${dir}/nope`]: { old: 'a', new: 'b' } }))).toEqual([
      404,
      'FILE_NOT_FOUND',
    ])
  })

  test('are found by name, or by path when the pattern has a slash', async () => {
    for (const name of ['a.py', 'd/b.py', 'd/e/c.py', 'd/x.js', '.h.py']) {
      mkdirSync(join(dir, name, '..'), { recursive: true })
      writeFileSync(join(dir, name), '')
    }
    symlinkSync('/', `${dir}/d/loop`)
    const search = async (pattern: string) => {
      const response = await execd.call(`/files/search?path=${dir}&pattern=${encodeURIComponent(pattern)}`)
      return ((await response.json()) as { path: string }[]).map(({ path }) => path.slice(dir.length + 1))
    }
    expect(await search('*.py')).toEqual(['.h.py', 'a.py', 'd/b.py', 'd/e/c.py'])
    expect(await search('**/*.py')).toEqual(['.h.py', 'a.py', 'd/b.py', 'd/e/c.py'])
    expect(await search('d/*.py')).toEqual(['d/b.py'])
    expect(await search('')).toEqual(['.h.py', 'a.py', 'd/b.py', 'd/e/c.py', 'd/loop', 'd/x.js'])
    expect(await search('nothing')).toEqual([])
    expect(await codeOf(await execd.call('/files/search?path=/nope'))).toEqual([404, 'FILE_NOT_FOUND'])
    expect(await codeOf(await execd.call(`/files/search?path=${dir}&pattern=%5Ba`))).toEqual([
      400,
      'INVALID_REQUEST_BODY',
    ])
  })
})

describe('directories', () => {
  const list = (path: string, depth?: string) =>
    execd.call(`/directories/list?path=${path}${depth === undefined ? '' : `&depth=${depth}`}`)

  test('F11: are made with a mode, and an existing one is left as it is', async () => {
    await expectEmpty(await post('/directories', { [`${dir}/a/b`]: { mode: 644 }, [`${dir}/c`]: {} }))
    expect(statSync(`${dir}/a/b`).mode & 0o777).toBe(0o644)
    expect(statSync(`${dir}/c`).mode & 0o777).toBe(0o755)
    await expectEmpty(await post('/directories', { [`${dir}/a/b`]: { mode: 700 } }))
    expect(statSync(`${dir}/a/b`).mode & 0o777).toBe(0o644)
    expect((await post('/directories', { '/dev/null/x': {} })).status).toBe(500)
  })

  test('are listed in order, to a depth, without entering links', async () => {
    mkdirSync(`${dir}/b/c`, { recursive: true })
    writeFileSync(`${dir}/b/c/f`, '')
    writeFileSync(`${dir}/a`, '')
    writeFileSync(`${dir}/b.txt`, '')
    symlinkSync('b', `${dir}/z`)
    const names = async (depth?: string) =>
      ((await (await list(dir, depth)).json()) as { path: string }[]).map(({ path }) =>
        path.slice(dir.length + 1),
      )
    expect(await names()).toEqual(['a', 'b', 'b.txt', 'z'])
    expect(await names('0')).toEqual([])
    expect(await names('2')).toEqual(['a', 'b', 'b/c', 'b.txt', 'z'])
    expect(await names('9')).toEqual(['a', 'b', 'b/c', 'b/c/f', 'b.txt', 'z'])
    expect(await codeOf(await list(`${dir}/z`))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await list(`${dir}/a`))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await list(`${dir}/nope`))).toEqual([404, 'FILE_NOT_FOUND'])
    expect(await codeOf(await list(dir, '-1'))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await list(''))).toEqual([400, 'MISSING_QUERY'])
  })

  test('are removed whole, but never those that the sandbox cannot live without', async () => {
    mkdirSync(`${dir}/a/b`, { recursive: true })
    writeFileSync(`${dir}/a/b/f`, '')
    const remove = (path: string) =>
      execd.call(`/directories?path=${encodeURIComponent(path)}`, { method: 'DELETE' })
    await expectEmpty(await remove(`${dir}/a`))
    await expectEmpty(await remove(`${dir}/nope`))
    expect(existsSync(`${dir}/a`)).toBe(false)
    for (const path of ['/', '/../', '/proc', '/opt', '/opt/opensandbox', execd.dir, `${execd.dir}/pipes`])
      expect(await codeOf(await remove(path))).toEqual([400, 'INVALID_REQUEST_BODY'])
    // A variable that is not set must not make a path its own parent.
    writeFileSync(`${dir}/kept`, '')
    await remove(`${dir}/$1`)
    expect(await codeOf(await remove(`${dir}/$UNSET`))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(readdirSync(dir)).toEqual(['kept'])
  })
})
