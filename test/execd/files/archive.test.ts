import { execFileSync, spawn } from 'node:child_process'
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { get, request } from 'node:http'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import { leadsOut, splitEntryName } from '../../../execd/files/archive/entry.ts'
import { formatTarHead, padding, type TarHead, tarEnd } from '../../../execd/files/archive/tar-format.ts'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { isRoot, useWorkplace } from './workplace.ts'

let execd: Daemon
let dir: string
useWorkplace((place) => {
  execd = place.execd
  dir = place.dir
})

const pack = (path: string, format?: string) =>
  execd.call(`/directories/archive?path=${path}${format ? `&format=${format}` : ''}`)
const unpack = (path: string, body: Buffer, query = '') =>
  execd.call(`/directories/archive?path=${path}${query}`, { method: 'POST', body: new Uint8Array(body) })
const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer())
const messageOf = async (response: Response) => {
  const { code, message } = (await response.json()) as { code: string; message: string }
  return [response.status, code, message]
}

/** A tree with one of everything that an archive can hold. */
function makeTree(root: string): void {
  mkdirSync(join(root, 'a/b'), { recursive: true })
  mkdirSync(join(root, 'empty'))
  writeFileSync(join(root, 'a/small'), 'small', { mode: 0o640 })
  writeFileSync(join(root, 'a/b/large'), Buffer.alloc(1_500_000, 'large '))
  writeFileSync(join(root, 'nothing'), '')
  writeFileSync(join(root, 'ünï ☃'), 'unicode')
  writeFileSync(Buffer.concat([Buffer.from(`${root}/odd`), Buffer.of(0xff)]), 'odd')
  const long = 'n'.repeat(180)
  mkdirSync(join(root, long, long), { recursive: true })
  writeFileSync(join(root, long, long, 'f'), 'deep')
  symlinkSync('a/small', join(root, 'link'))
  symlinkSync(`${long}/${long}/f`, join(root, 'long-link'))
  execFileSync('chmod', ['4750', join(root, 'a/small')])
  execFileSync('chmod', ['1777', join(root, 'empty')])
  utimesSync(join(root, 'a/small'), 1_600_000_000, 1_600_000_000)
  utimesSync(join(root, 'a/b'), 1_500_000_000, 1_500_000_000)
  execFileSync('mkfifo', [join(root, 'a/pipe')])
}
/** What there is of a tree, as texts that can be compared. */
function describeTree(root: string): string[] {
  const list = execFileSync('find', ['.', '!', '-type', 'p', '-printf', '%p %y %m %T@ %s %l\\n'], {
    cwd: root,
    encoding: 'latin1',
  })
  return (
    list
      .split('\n')
      // The size of a directory says nothing; times are whole seconds in an archive, and that of the top is its own.
      .map((line) =>
        line.replace(
          /(\d+)\.\d+ (\d+) /,
          (_all, time, size) => `${time} ${/^\S+ d /.test(line) ? '' : size} `,
        ),
      )
      .filter((line) => !/^\. /.test(line))
      .sort()
  )
}

describe('an archive', () => {
  test.each(['tar', 'tar.gz', 'zip'])('%s goes out and comes in again as it was', async (format) => {
    mkdirSync(join(dir, 'tree'))
    makeTree(join(dir, 'tree'))
    const response = await pack(join(dir, 'tree'), format)
    expect([response.status, response.headers.get('content-disposition')]).toEqual([
      200,
      `attachment; filename="tree.${format}"`,
    ])
    const archive = await bytesOf(response)
    // What it is shows in it.
    expect(await (await unpack(join(dir, 'back/again'), archive)).text()).toBe('')
    expect(describeTree(join(dir, 'back/again'))).toEqual(describeTree(join(dir, 'tree')))
    execFileSync('diff', ['-r', '--no-dereference', '-x', 'pipe', join(dir, 'tree'), join(dir, 'back/again')])
  })

  test('is read by the programs that everyone has', async () => {
    mkdirSync(join(dir, 'tree'))
    makeTree(join(dir, 'tree'))
    for (const format of ['tar', 'tar.gz']) {
      mkdirSync(join(dir, format))
      const archive = await bytesOf(await pack(join(dir, 'tree'), format))
      execFileSync('tar', [format === 'tar' ? '-xpf' : '-xzpf', '-', '-C', join(dir, format)], {
        input: archive,
      })
      expect(describeTree(join(dir, format))).toEqual(describeTree(join(dir, 'tree')))
    }
    writeFileSync(join(dir, 'f.zip'), await bytesOf(await pack(join(dir, 'tree'), 'zip')))
    const script = `
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
print(sorted(i.filename for i in archive.infolist() if i.filename.isascii() and len(i.filename) < 50))
assert archive.read('a/small') == b'small' and archive.getinfo('a/small').external_attr >> 16 == 0o104750
assert len(archive.read('a/b/large')) == 1500000 and archive.read('ünï ☃') == b'unicode'`
    expect(execFileSync('python3', ['-c', script, join(dir, 'f.zip')], { encoding: 'utf8' }).trim()).toBe(
      "['a/', 'a/b/', 'a/b/large', 'a/small', 'empty/', 'link', 'long-link', 'nothing']",
    )
  })

  test.each([
    ['gnu', ['--format=gnu']],
    ['pax', ['--format=pax']],
    ['ustar', ['--format=ustar']],
    ['v7', ['--format=v7']],
    ['compressed', ['-z']],
  ])('of tar itself is unpacked: %s', async (_name, flags) => {
    mkdirSync(join(dir, 'tree/a'), { recursive: true })
    writeFileSync(join(dir, 'tree/a/f'), 'content', { mode: 0o600 })
    execFileSync('ln', [join(dir, 'tree/a/f'), join(dir, 'tree/hard')])
    symlinkSync('a/f', join(dir, 'tree/link'))
    if (flags[0] !== '--format=v7') {
      // Longer than a head has room for.
      mkdirSync(join(dir, 'tree', 'n'.repeat(80), 'm'.repeat(80)), { recursive: true })
      writeFileSync(join(dir, 'tree', 'n'.repeat(80), 'm'.repeat(80), 'f'), 'deep')
    }
    const archive = execFileSync('tar', [...flags, '-cf', '-', '-C', join(dir, 'tree'), '.'])
    expect((await unpack(join(dir, 'back'), archive)).status).toBe(200)
    expect(describeTree(join(dir, 'back'))).toEqual(describeTree(join(dir, 'tree')))
    expect(statSync(join(dir, 'back/hard')).ino).toBe(statSync(join(dir, 'back/a/f')).ino)
  })

  test('of a zip program is unpacked, and one from elsewhere', async () => {
    const script = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w', zipfile.ZIP_DEFLATED) as archive:
    archive.writestr('d/f.txt', 'content' * 1000)
    foreign = zipfile.ZipInfo('other.txt')
    foreign.create_system = 0
    archive.writestr(foreign, 'other')`
    execFileSync('python3', ['-c', script, join(dir, 'f.zip')])
    expect((await unpack(join(dir, 'back'), readFileSync(join(dir, 'f.zip')))).status).toBe(200)
    expect(readFileSync(join(dir, 'back/d/f.txt'), 'utf8')).toBe('content'.repeat(1000))
    expect(statSync(join(dir, 'back/other.txt')).mode & 0o777).toBe(0o644)
  })

  test('goes into what is there: files are replaced, directories stay', async () => {
    mkdirSync(join(dir, 'tree/d'), { recursive: true })
    writeFileSync(join(dir, 'tree/d/f'), 'new')
    symlinkSync('f', join(dir, 'tree/d/l'))
    const archive = await bytesOf(await pack(join(dir, 'tree')))
    mkdirSync(join(dir, 'to/d'), { recursive: true, mode: 0o711 })
    writeFileSync(join(dir, 'to/d/f'), 'old')
    writeFileSync(join(dir, 'to/d/kept'), '')
    writeFileSync(join(dir, 'to/d/l'), 'a file')
    symlinkSync('to', join(dir, 'by-link'))
    expect((await unpack(join(dir, 'by-link'), archive)).status).toBe(200)
    expect(readdirSync(join(dir, 'to/d'))).toEqual(['f', 'kept', 'l'])
    expect([readFileSync(join(dir, 'to/d/f'), 'utf8'), readlinkSync(join(dir, 'to/d/l'))]).toEqual([
      'new',
      'f',
    ])
    expect(statSync(join(dir, 'to/d')).mode & 0o777).toBe(0o711)
  })

  test('of what is no directory is refused', async () => {
    writeFileSync(join(dir, 'f'), '')
    expect((await pack(join(dir, 'f'))).status).toBe(400)
    expect((await pack(join(dir, 'nope'))).status).toBe(404)
    expect((await pack(dir, 'rar')).status).toBe(400)
    expect((await unpack(join(dir, 'f'), tarEnd())).status).toBe(400)
    expect((await unpack(join(dir, 'x'), tarEnd(), '&links=all')).status).toBe(400)
    expect((await execd.call('/directories/archive', { method: 'POST', body: '' })).status).toBe(400)
  })
})

const file = (name: string, content = 'x', more: Partial<TarHead> = {}): Buffer => {
  const head: TarHead = {
    name,
    type: 'file',
    mode: 0o644,
    size: content.length,
    mtimeMs: 0,
    target: '',
    uid: 0,
    gid: 0,
    owner: '',
    group: '',
    ...more,
  }
  return Buffer.concat([formatTarHead(head), Buffer.from(content), padding(content.length)])
}
const link = (name: string, target: string, type: 'symlink' | 'hardlink' = 'symlink') =>
  file(name, '', { type, target, size: 0 })
/** An entry of a kind that programs write before the one that it is about. */
function tarBlock(flag: string, content: string): Buffer {
  const block = file('x', content)
  block.write(flag, 156, 'latin1')
  block.fill(' ', 148, 156)
  const sum = block.subarray(0, 512).reduce((all, byte) => all + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

const tar = (...entries: Buffer[]) => Buffer.concat([...entries, tarEnd()])

describe('what leads out of the directory', () => {
  test.each<[string, Buffer, string]>([
    ['an absolute name', tar(file('/etc/evil')), 'absolute path'],
    ['a name with ..', tar(file('a/../../evil')), 'leads out'],
    ['.. alone', tar(file('..')), 'leads out'],
    ['an absolute link', tar(link('l', '/etc')), 'leads out of the directory, to "/etc"'],
    ['a link upwards', tar(link('a/l', '../../x')), 'leads out'],
    ['a link upwards behind a name', tar(link('a', 'b'), link('b', '.'), link('c', 'a/..')), 'leads out'],
    ['a file through a link', tar(link('l', 'd'), file('l/f')), 'in the way of "l"'],
    ['a directory through a file', tar(file('f'), file('f/g')), 'in the way of "f"'],
    ['a hard link upwards', tar(link('h', '../secret', 'hardlink')), 'leads out'],
    ['an absolute hard link', tar(link('h', '/etc/passwd', 'hardlink')), 'absolute path'],
    ['a hard link to nothing', tar(link('h', 'nothing', 'hardlink')), 'no file of it'],
    ['a hard link through a link', tar(link('l', '.'), link('h', 'l/x', 'hardlink')), 'in the way'],
    ['a device', tar(file('d', '', { type: 'other', size: 0 })), 'neither a file'],
    ['an empty name', tar(file('', 'x')), 'without a name'],
    ['a deep name', tar(file('d/'.repeat(300))), 'more than 256 directories'],
  ])('is refused: %s', async (_what, archive, message) => {
    writeFileSync(join(dir, 'secret'), 'secret')
    for (const place of ['fresh', 'there']) {
      if (place === 'there') mkdirSync(join(dir, place))
      const answer = await messageOf(await unpack(join(dir, place), archive))
      expect(answer).toEqual([400, 'INVALID_FILE_CONTENT', expect.stringContaining(message)])
    }
    expect(readdirSync(dir)).toEqual(['secret', 'there'])
    expect([readFileSync(join(dir, 'secret'), 'utf8'), existsSync('/etc/evil')]).toEqual(['secret', false])
  })

  test('is made as a link when asked, and never written through', async () => {
    mkdirSync(join(dir, 'outside'))
    const archive = tar(link('l', '../outside'), link('abs', '/usr/bin/python3'))
    expect((await unpack(join(dir, 'to'), archive, '&links=keep')).status).toBe(200)
    expect([readlinkSync(join(dir, 'to/l')), readlinkSync(join(dir, 'to/abs'))]).toEqual([
      '../outside',
      '/usr/bin/python3',
    ])
    // Neither with the next archive, nor with one that says that it is a directory.
    for (const entries of [
      tar(file('l/f')),
      tar(file('l/', '', { type: 'directory', size: 0 }), file('l/f')),
    ])
      expect((await unpack(join(dir, 'to'), entries, '&links=keep')).status).toBe(400)
    expect(readdirSync(join(dir, 'outside'))).toEqual([])
    // A link itself is replaced like a file.
    expect((await unpack(join(dir, 'to'), tar(file('l', 'now a file')))).status).toBe(200)
    expect(lstatSync(join(dir, 'to/l')).isFile()).toBe(true)
  })

  test('does not reach what execd needs', async () => {
    const name = `${execd.dir.slice(1)}/planted`
    expect(await messageOf(await unpack('/', tar(file(name))))).toEqual([
      400,
      'INVALID_FILE_CONTENT',
      expect.stringContaining('execd needs'),
    ])
    symlinkSync(execd.dir, join(dir, 'l'))
    expect((await unpack(join(dir, 'l'), tar(file('planted')))).status).toBe(400)
    expect(existsSync(join(execd.dir, 'planted'))).toBe(false)
  })

  test('in a zip is refused as well', async () => {
    const script = `
import sys, zipfile
def write(path, name, mode=0o100644, data='x'):
    with zipfile.ZipFile(path, 'w') as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        info.create_system = 3
        archive.writestr(info, data)
write(sys.argv[1] + '/up.zip', '../evil')
write(sys.argv[1] + '/abs.zip', '/tmp/evil')
write(sys.argv[1] + '/link.zip', 'l', 0o120777, '../..')
write(sys.argv[1] + '/device.zip', 'd', 0o020644, '')`
    execFileSync('python3', ['-c', script, dir])
    for (const [name, message] of [
      ['up', 'leads out'],
      ['abs', 'absolute'],
      ['link', 'leads out'],
      ['device', 'neither'],
    ])
      expect(await messageOf(await unpack(join(dir, 'to'), readFileSync(join(dir, `${name}.zip`))))).toEqual([
        400,
        'INVALID_FILE_CONTENT',
        expect.stringContaining(message ?? ''),
      ])
    expect(existsSync(join(dir, 'to'))).toBe(false)
  })
})

describe('a bomb', () => {
  test('is stopped before it is unpacked', async () => {
    const claimed = formatTarHead({
      name: 'huge',
      type: 'file',
      mode: 0o644,
      size: 2 ** 45,
      mtimeMs: 0,
      target: '',
      uid: 0,
      gid: 0,
      owner: '',
      group: '',
    })
    expect(await messageOf(await unpack(join(dir, 'a'), claimed))).toEqual([
      400,
      'INVALID_FILE_CONTENT',
      expect.stringContaining('more than 17179869184 bytes'),
    ])
    const zeros = gzipSync(tar(file('a', '0'.repeat(5_000_000)), file('b', '0'.repeat(5_000_000))))
    expect((await unpack(join(dir, 'b'), zeros, '&max_bytes=9000000')).status).toBe(400)
    expect((await unpack(join(dir, 'b'), zeros, '&max_bytes=10000000')).status).toBe(200)
    const zip = await bytesOf(await pack(join(dir, 'b'), 'zip'))
    expect((await unpack(join(dir, 'c'), zip, '&max_bytes=9000000')).status).toBe(400)
    expect(readdirSync(dir)).toEqual(['b'])
  })

  test('that hides behind its end is stopped', async () => {
    const archive = gzipSync(Buffer.concat([tar(file('f')), Buffer.alloc(70 << 20)]), { level: 1 })
    expect((await messageOf(await unpack(join(dir, 'a'), archive)))[2]).toContain('after its end')
  })

  test('of records that belong to no file is stopped before it takes memory', async () => {
    const heads = (flag: string, content: string) => {
      const head = tarBlock(flag, content)
      return gzipSync(Buffer.concat(Array.from({ length: 17 }, () => head)))
    }
    for (const flag of ['x', 'g', 'L', 'K'])
      expect((await messageOf(await unpack(join(dir, 'a'), heads(flag, '6 a=b\n'))))[2]).toContain(
        'more than 16 records before a file',
      )
    const many = Buffer.concat([tarBlock('g', '6 a=b\n'.repeat(5001)), tar(file('f'))])
    expect((await messageOf(await unpack(join(dir, 'a'), many)))[2]).toContain('too many of them')
    const enough = Buffer.concat([tarBlock('x', `6 a=b\n${'13 path=name\n'.repeat(100)}`), tar(file('f'))])
    expect((await unpack(join(dir, 'a'), enough)).status).toBe(200)
    expect(readdirSync(join(dir, 'a'))).toEqual(['name'])
  })

  test('of a size that is a lie is stopped', async () => {
    mkdirSync(join(dir, 'tree'))
    writeFileSync(join(dir, 'tree/f'), 'A'.repeat(100_000))
    const zip = await bytesOf(await pack(join(dir, 'tree'), 'zip'))
    // The size in the list is what is believed.
    const list = zip.lastIndexOf(Buffer.from('PK\x01\x02', 'latin1'))
    zip.writeUInt32LE(10, list + 24)
    expect((await unpack(join(dir, 'a'), zip)).status).toBe(400)
    const wrong = Buffer.from(zip)
    wrong.writeUInt32LE(100_000, list + 24)
    wrong.writeUInt32LE(12345, list + 16)
    expect((await messageOf(await unpack(join(dir, 'a'), wrong)))[2]).toContain('damaged')
    expect(readdirSync(dir)).toEqual(['tree'])
  })
})

describe('what breaks on the way', () => {
  test('a client that leaves while it sends leaves nothing of a new directory', async () => {
    const sent = request(`${execd.url}/directories/archive?path=${dir}/to&format=tar`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    })
    sent.on('error', () => {})
    sent.write(Buffer.concat([file('a'), file('b', 'y'.repeat(1_000_000)).subarray(0, 500_000)]))
    await until(async () => readdirSync(dir).length === 1, 'the unpacking to begin')
    sent.destroy()
    await until(async () => readdirSync(dir).length === 0, 'what was begun to be removed')
    expect((await execd.call('/ping')).status).toBe(200)
  })

  test('execd that ends while it unpacks leaves nothing of a new directory', async () => {
    const other = await startDaemon()
    onTestFinished(() => other[Symbol.asyncDispose]())
    const sent = request(`${other.url}/directories/archive?path=${other.workdir}/to&format=tar`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    })
    sent.on('error', () => {})
    sent.write(Buffer.concat([file('a'), file('b', 'y'.repeat(1_000_000)).subarray(0, 500_000)]))
    await until(async () => readdirSync(other.workdir).length === 1, 'the unpacking to begin')
    await other.stop()
    expect(readdirSync(other.workdir)).toEqual([])
  })

  test('a client that leaves while it reads ends the packing', async () => {
    for (let at = 0; at < 20; at++) writeFileSync(join(dir, `f${at}`), Buffer.alloc(1 << 20, at))
    for (const format of ['tar', 'tar.gz', 'zip'])
      await new Promise<void>((resolve) =>
        get(
          `${execd.url}/directories/archive?path=${dir}&format=${format}`,
          { headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' } },
          (response) => {
            response.once('readable', () => {
              response.destroy()
              resolve()
            })
          },
        ),
      )
    const open = async () =>
      execFileSync('sh', ['-c', `ls -l /proc/${execd.process.pid}/fd | grep -c '${dir}' || true`], {
        encoding: 'utf8',
      }).trim()
    await expect.poll(open).toBe('0')
  })

  test('a file that becomes shorter breaks the connection', async () => {
    writeFileSync(join(dir, 'f'), Buffer.alloc(64 << 20))
    const response = await new Promise<import('node:http').IncomingMessage>((resolve) =>
      get(
        `${execd.url}/directories/archive?path=${dir}&format=tar`,
        { headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' } },
        resolve,
      ),
    )
    await new Promise<void>((resolve) => response.once('readable', resolve))
    execFileSync('truncate', ['-s', '0', join(dir, 'f')])
    const readAll = async () => {
      for await (const _piece of response);
    }
    await expect(readAll()).rejects.toThrow()
  })

  test.each(['tar', 'tar.gz', 'zip'])(
    'a %s that was damaged is refused or unpacked, and never hangs',
    async (format) => {
      mkdirSync(join(dir, 'tree/d'), { recursive: true })
      writeFileSync(join(dir, 'tree/d/f'), 'content')
      writeFileSync(join(dir, 'tree/g'), 'x'.repeat(3000))
      symlinkSync('g', join(dir, 'tree/l'))
      const whole = await bytesOf(await pack(join(dir, 'tree'), format))
      const change = fc.record({
        at: fc.nat(whole.length),
        drop: fc.nat(30),
        insert: fc.uint8Array({ maxLength: 20 }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
          let archive: Buffer = whole
          for (const { at, drop, insert } of changes)
            archive = Buffer.concat([archive.subarray(0, at), insert, archive.subarray(at + drop)])
          const response = await unpack(join(dir, 'back/x'), archive, `&format=${format}`)
          const text = await response.text()
          expect(text).not.toContain('Internal error')
          expect([200, 400, 500]).toContain(response.status)
          expect(readdirSync(dir).filter((name) => name !== 'tree' && name !== 'back')).toEqual([])
          await execd.call(`/directories?path=${dir}/back`, { method: 'DELETE' })
        }),
        { numRuns: 100 },
      )
    },
  )
})

test('names and links are judged by what they say', () => {
  expect(splitEntryName('./a//b/./c/')).toEqual(['a', 'b', 'c'])
  expect(splitEntryName('.')).toEqual([])
  expect(splitEntryName('a\\..\\b')).toEqual(['a\\..\\b'])
  expect(splitEntryName('..a/b..')).toEqual(['..a', 'b..'])
  for (const [path, target, out] of [
    ['l', 'x', false],
    ['l', '..', true],
    ['a/l', '..', false],
    ['a/l', '../..', true],
    ['a/b/l', '../../x', false],
    ['a/b/l', './../x/./y', false],
    ['a/b/l', 'x/../y', true],
    ['l', '/x', true],
    ['l', '', false],
  ] as const)
    expect([path, target, leadsOut(path.split('/'), target)]).toEqual([path, target, out])
})

test('a compressed tar is as small as compression makes it', async () => {
  writeFileSync(join(dir, 'f'), 'x'.repeat(10_000_000))
  const archive = await bytesOf(await pack(dir))
  expect(archive.length).toBeLessThan(100_000)
  expect(gunzipSync(archive).length).toBeGreaterThan(10_000_000)
})

test.runIf(isRoot)('what is unpacked belongs to the user of the sandbox', async () => {
  const other = await startDaemon({ uid: 65534, gid: 65534 })
  try {
    const body = new Uint8Array(tar(file('d/f', 'x', { uid: 12, gid: 13 }), link('d/l', 'f')))
    const response = await other.call(`/directories/archive?path=${other.workdir}/to`, {
      method: 'POST',
      body,
    })
    expect(response.status).toBe(200)
    for (const path of ['to', 'to/d', 'to/d/f', 'to/d/l'])
      expect([path, lstatSync(join(other.workdir, path)).uid]).toEqual([path, 65534])
  } finally {
    await other[Symbol.asyncDispose]()
  }
})

test('an archive can be piped from one program to the other', async () => {
  mkdirSync(join(dir, 'tree'))
  writeFileSync(join(dir, 'tree/f'), 'content')
  const url = (path: string) => `${execd.url}/directories/archive?path=${path}`
  const header = 'X-EXECD-ACCESS-TOKEN: secret-token'
  const script = `curl -sf -H '${header}' '${url(join(dir, 'tree'))}' | curl -sf -H '${header}' -T - -X POST '${url(join(dir, 'back'))}'`
  const child = spawn('sh', ['-c', script])
  expect(await new Promise((resolve) => child.once('exit', resolve))).toBe(0)
  expect(readFileSync(join(dir, 'back/f'), 'utf8')).toBe('content')
})
