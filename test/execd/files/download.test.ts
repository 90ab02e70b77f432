import { execFileSync } from 'node:child_process'
import { openSync, truncateSync, unlinkSync, utimesSync, writeFileSync, writeSync } from 'node:fs'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Daemon } from '../daemon.ts'
import { codeOf, useWorkplace } from './workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

const download = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
  execd.call(`/files/download?path=${encodeURIComponent(path)}`, { method, headers })

describe('ranges', () => {
  test('F3: several go out together, each with its place', async () => {
    writeFileSync(`${dir}/f`, '0123456789')
    const response = await download(`${dir}/f`, { Range: 'bytes=0-1, 4-5,-1' })
    expect(response.status).toBe(206)
    const boundary = /^multipart\/byteranges; boundary=(\S+)$/.exec(
      response.headers.get('content-type') ?? '',
    )?.[1]
    const text = await response.text()
    expect(response.headers.get('content-length')).toBe(String(text.length))
    const part = (range: string, content: string) =>
      `\r\n--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${range}/10\r\n\r\n${content}`
    expect(text).toBe(`${part('0-1', '01')}${part('4-5', '45')}${part('9-9', '9')}\r\n--${boundary}--\r\n`)
    // One that is left of several is an answer of one.
    const one = await download(`${dir}/f`, { Range: 'bytes=3-4,50-60' })
    expect([one.status, one.headers.get('content-range'), await one.text()]).toEqual([
      206,
      'bytes 3-4/10',
      '34',
    ])
    const silly = await download(`${dir}/f`, { Range: `bytes=${'0-,'.repeat(50)}` })
    expect([silly.status, await silly.text()]).toEqual([200, '0123456789'])
  })

  test('of a large file are exact wherever they begin and end', async () => {
    const content = Buffer.alloc(3 << 20)
    for (let at = 0; at < content.length; at += 4) content.writeUInt32LE((at * 2_654_435_761) >>> 0, at)
    writeFileSync(`${dir}/f`, content)
    const place = fc.integer({ min: 0, max: content.length - 1 })
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(place, place), { minLength: 1, maxLength: 1 }),
        async ([[a, b] = [0, 0]]) => {
          const [start, end] = a < b ? [a, b] : [b, a]
          const response = await download(`${dir}/f`, { Range: `bytes=${start}-${end}` })
          const got = Buffer.from(await response.arrayBuffer())
          expect([response.status, got.equals(content.subarray(start, end + 1))]).toEqual([206, true])
        },
      ),
      { numRuns: 30 },
    )
  })

  test('F1: a malformed or impossible one is refused with a whole answer', async () => {
    writeFileSync(`${dir}/f`, 'x'.repeat(100_000))
    for (const range of ['bytes=a-b', 'lines=1-2', 'bytes=9-5', 'bytes', 'bytes=0-1,x']) {
      const response = await download(`${dir}/f`, { Range: range })
      const body = await response.text()
      expect([response.status, response.headers.get('content-length')]).toEqual([416, String(body.length)])
      expect(JSON.parse(body)).toMatchObject({ code: 'UNKNOWN', message: expect.stringContaining(range) })
    }
    const behind = await download(`${dir}/f`, { Range: 'bytes=100000-' })
    expect([behind.status, behind.headers.get('content-range')]).toEqual([416, 'bytes */100000'])
    expect((await behind.json()).code).toBe('UNKNOWN')
  })

  test('tens of thousands of them bring the whole file', async () => {
    writeFileSync(`${dir}/f`, '0123456789')
    const response = await download(`${dir}/f`, { Range: `bytes=0-0${',5-4'.repeat(10_000)}` })
    expect([response.status, await response.text()]).toEqual([200, '0123456789'])
  })

  test('any header at all is answered whole, in part, or refused', async () => {
    writeFileSync(`${dir}/f`, '0123456789')
    const header = fc.string({ unit: fc.constantFrom(...'bytes=-,0123456789 a'.split('')), maxLength: 30 })
    await fc.assert(
      fc.asyncProperty(header, fc.boolean(), async (text, isPlausible) => {
        const range = isPlausible ? `bytes=${text}` : text
        const response = await download(`${dir}/f`, { Range: range })
        const body = await response.text()
        expect([200, 206, 416]).toContain(response.status)
        expect(response.headers.get('content-length')).toBe(String(body.length))
      }),
      { numRuns: 150 },
    )
  })
})

describe('conditions', () => {
  test('are kept', async () => {
    writeFileSync(`${dir}/f`, '0123456789')
    utimesSync(`${dir}/f`, 1_700_000_000, 1_700_000_000)
    const { headers } = await download(`${dir}/f`)
    const etag = headers.get('etag') ?? ''
    const modified = headers.get('last-modified') ?? ''
    const before = new Date(1_600_000_000_000).toUTCString()
    for (const [given, status] of [
      [{ 'If-None-Match': etag }, 304],
      [{ 'If-None-Match': `"x", W/${etag}` }, 304],
      [{ 'If-None-Match': '*' }, 304],
      [{ 'If-None-Match': '"x"' }, 200],
      [{ 'If-Modified-Since': modified }, 304],
      [{ 'If-Modified-Since': before }, 200],
      [{ 'If-None-Match': '"x"', 'If-Modified-Since': modified }, 200],
      [{ 'If-Match': etag }, 200],
      [{ 'If-Match': '"x"' }, 412],
      [{ 'If-Unmodified-Since': modified }, 200],
      [{ 'If-Unmodified-Since': before }, 412],
      [{ 'If-Range': etag, Range: 'bytes=0-0' }, 206],
      [{ 'If-Range': modified, Range: 'bytes=0-0' }, 206],
      [{ 'If-Range': '"x"', Range: 'bytes=0-0' }, 200],
      [{ 'If-Range': before, Range: 'bytes=0-0' }, 200],
    ] as [Record<string, string>, number][])
      expect([given, (await download(`${dir}/f`, given)).status]).toEqual([given, status])
    writeFileSync(`${dir}/f`, '012345678X')
    expect((await download(`${dir}/f`, { 'If-Match': etag })).status).toBe(412)
  })
})

test('HEAD says what GET would, and sends nothing', async () => {
  writeFileSync(`${dir}/f`, 'x'.repeat(200_000))
  const head = await download(`${dir}/f`, { Range: 'bytes=0-0' }, 'HEAD')
  const whole = await download(`${dir}/f`)
  expect([head.status, await head.text()]).toEqual([200, ''])
  for (const name of ['content-length', 'etag', 'last-modified', 'content-disposition', 'accept-ranges'])
    expect([name, head.headers.get(name)]).toEqual([name, whole.headers.get(name)])
  expect((await download(`${dir}/nope`, {}, 'HEAD')).status).toBe(404)
  expect((await execd.call(`/files/download?path=${dir}/f&limit=1`, { method: 'HEAD' })).status).toBe(200)
})

describe('what is no file', () => {
  test('F2: a directory is refused before anything is sent', async () => {
    const response = await download(dir)
    expect(response.headers.get('content-type')).toContain('json')
    expect(await codeOf(response)).toEqual([400, 'INVALID_REQUEST_BODY'])
  })

  test('F4: nobody is waited for at a pipe or device', async () => {
    execFileSync('mkfifo', [`${dir}/fifo`])
    for (const path of [`${dir}/fifo`, '/dev/zero', '/dev/null', '/dev/tty'])
      expect([400, 500]).toContain((await download(path)).status)
    expect(await codeOf(await download(`${dir}/fifo`))).toEqual([400, 'INVALID_REQUEST_BODY'])
  })

  test('a name that is too long is a bad request', async () => {
    expect(await codeOf(await download(`${dir}/${'x'.repeat(300)}`))).toEqual([400, 'INVALID_REQUEST_BODY'])
    expect(await codeOf(await download(`/${'x/'.repeat(3000)}`))).toEqual([400, 'INVALID_REQUEST_BODY'])
  })
})

test('F4: files of the kernel come with what is in them, whatever size they claim', async () => {
  for (const path of [
    '/proc/self/status',
    '/proc/sys/kernel/ostype',
    '/sys/kernel/mm/transparent_hugepage/enabled',
  ]) {
    const response = await download(path)
    const text = await response.text()
    expect([path, text.length > 3, response.headers.get('content-length')]).toEqual([
      path,
      true,
      String(text.length),
    ])
  }
  // More than what is read before the size is told.
  const text = await (await download('/proc/kallsyms')).text()
  expect(text.length).toBeGreaterThan(100_000)
})

describe('a file that changes while it is sent', () => {
  /** Begins to read a file of 64 MB, and lets the rest wait. */
  async function begin(): Promise<IncomingMessage> {
    const fd = openSync(`${dir}/f`, 'w')
    for (let at = 0; at < 64; at++) writeSync(fd, Buffer.alloc(1 << 20, at))
    const response = await new Promise<IncomingMessage>((resolve) =>
      get(
        `${execd.url}/files/download?path=${dir}/f`,
        { headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' } },
        resolve,
      ),
    )
    await new Promise<void>((resolve) => response.once('readable', resolve))
    return response
  }
  async function readAll(response: IncomingMessage): Promise<number> {
    let bytes = 0
    for await (const piece of response) bytes += (piece as Buffer).length
    return bytes
  }

  test('comes whole when it is removed', async () => {
    const response = await begin()
    unlinkSync(`${dir}/f`)
    expect(await readAll(response)).toBe(64 << 20)
  })

  test('breaks the connection when it becomes shorter', async () => {
    const response = await begin()
    truncateSync(`${dir}/f`, 1 << 20)
    await expect(readAll(response)).rejects.toThrow(/aborted|socket/)
    expect((await execd.call('/ping')).status).toBe(200)
  })

  test('is let go when its client leaves', async () => {
    const response = await begin()
    response.destroy()
    const open = async () =>
      execFileSync('sh', ['-c', `ls -l /proc/${execd.process.pid}/fd | grep -c '${dir}/f' || true`], {
        encoding: 'utf8',
      }).trim()
    await expect.poll(open).toBe('0')
  })
})

test('F5: a name in the header cannot break out of it', async () => {
  for (const [name, expected] of [
    ['a"b\\c', 'attachment; filename="a\\"b\\\\c"'],
    ['a\r\nX: y', 'attachment; filename="a%0D%0AX%3A%20y"; filename*=UTF-8\'\'a%0D%0AX%3A%20y'],
  ] as const) {
    writeFileSync(join(dir, name), 'x')
    expect((await download(join(dir, name))).headers.get('content-disposition')).toBe(expected)
  }
})
