// Layers copied in passes, beside what changes them: each pass brings the copy to what is there, reading only what has changed, and
// no link leads out. Needs root, as layers have owners and devices.

import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, onTestFinished, test } from 'vitest'
import { writtenThroughMemory } from '../../control/runtime/local/hold.ts'
import { LayerCopy, TreeRefused } from '../../control/runtime/local/layer/copy.ts'
import { digestOf } from '../../control/runtime/local/layer/digest.ts'
import { AT_FDCWD, Libc } from '../../control/runtime/local/layer/libc.ts'

const isRoot = process.getuid?.() === 0
/** Longer than the kernel's clock for files may take for a tick. */
const SETTLED_MS = 25

function open(leaveOut: string[] = []) {
  const folder = mkdtempSync(join(tmpdir(), 'layer-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const [from, to] = ['from', 'to'].map((name) => {
    mkdirSync(join(folder, name))
    return join(folder, name)
  }) as [string, string]
  const libc = new Libc()
  const directory = (path: string): number => {
    const fd = libc.openDirectory(AT_FDCWD, Buffer.from(`${path}\0`))
    if (fd === undefined) throw new Error(`There is no "${path}"`)
    onTestFinished(() => libc.close(fd))
    return fd
  }
  const copy = new LayerCopy(libc, { from: directory(from), to: directory(to), leaveOut: new Set(leaveOut) })
  const write = (name: string, text: string) => {
    mkdirSync(join(from, name, '..'), { recursive: true })
    writeFileSync(join(from, name), text)
  }
  return {
    copy,
    from,
    to,
    write,
    at: (name: string) => join(from, name),
    copied: (name: string) => readFileSync(join(to, name), 'utf8'),
    digest: (path: string) => digestOf(libc, directory(path), 0),
  }
}

/** Both sides, as a list of names with what they are. */
const listing = (path: string) =>
  execFileSync('find', ['.', '-printf', '%P %y %m %U:%G %s %l %n %T@\\n'], { cwd: path, encoding: 'utf8' })
    .split('\n')
    .sort()

describe.skipIf(!isRoot)('a copy (as root: layers have owners and devices)', () => {
  test('is the same, with owners, modes, times, links, holes, pipes, sockets and whiteouts', () => {
    const { copy, from, to, write, at, digest } = open()
    write('a/b/f', 'text')
    linkSync(at('a/b/f'), at('a/hard'))
    symlinkSync('../nowhere', at('a/link'))
    execFileSync('mkfifo', [at('pipe')])
    execFileSync('mknod', [at('whiteout'), 'c', '0', '0'])
    write('sparse', '')
    truncateSync(at('sparse'), 1 << 30)
    appendFileSync(at('sparse'), 'end')
    execFileSync('chown', ['-R', '1000005:1000006', at('a')])
    execFileSync('chmod', ['4750', at('a/b/f')])
    execFileSync('python3', [
      '-c',
      'import os,sys; os.setxattr(sys.argv[1], "trusted.overlay.opaque", b"y"); os.setxattr(sys.argv[1], "trusted.overlay.origin", b"x")',
      at('a'),
    ])
    writeFileSync(Buffer.concat([Buffer.from(`${from}/`), Buffer.from([0xff, 0xfe])]), 'x')
    utimesSync(from, 1, 2)
    copy.pass({ isLive: true })
    expect(listing(to)).toEqual(listing(from))
    expect(statSync(join(to, 'sparse')).blocks).toBeLessThan(64)
    const kept = execFileSync('python3', [
      '-c',
      'import os,sys; print(os.listxattr(sys.argv[1]))',
      join(to, 'a'),
    ])
    expect(kept.toString().trim()).toBe("['trusted.overlay.opaque']")
    expect(copy.sizeBytes()).toBeLessThan(1 << 20)
    execFileSync('python3', [
      '-c',
      'import os,sys; os.removexattr(sys.argv[1], "trusted.overlay.origin")',
      at('a'),
    ])
    expect(digest(to)).toBe(digest(from))
  })

  test('reads only what has changed since the pass before', async () => {
    const { copy, from, to, write } = open()
    for (let file = 0; file < 20; file++) write(`d/${file}`, String(file))
    await delay(SETTLED_MS)
    expect(copy.pass({ isLive: true })).toMatchObject({ entries: 21, changed: 21 })
    expect(copy.pass({ isLive: false })).toMatchObject({ entries: 21, changed: 0, bytes: 0 })
    write('d/7', 'seven')
    expect(copy.pass({ isLive: false })).toMatchObject({ changed: 1, bytes: 5 })
    expect(listing(to)).toEqual(listing(from))
  })

  test('follows what is renamed, removed and put in its place', async () => {
    const { copy, from, to, write, at, copied } = open()
    write('one/f', '1')
    write('two/f', '2')
    write('gone/deep/f', '3')
    write('becomes', 'a file')
    linkSync(at('one/f'), at('one/g'))
    await delay(SETTLED_MS)
    copy.pass({ isLive: true })
    renameSync(at('one'), at('t'))
    renameSync(at('two'), at('one'))
    renameSync(at('t'), at('two'))
    rmSync(at('gone'), { recursive: true })
    rmSync(at('becomes'))
    write('becomes/a/directory', 'x')
    copy.pass({ isLive: false })
    expect(listing(to)).toEqual(listing(from))
    expect([copied('one/f'), copied('two/f'), copied('two/g')]).toEqual(['2', '1', '1'])
  })

  test('reads anew what is written through memory, whatever its times say, and what was changed a moment ago', async () => {
    const { copy, write, at, copied } = open()
    write('f', 'before')
    await delay(SETTLED_MS)
    copy.pass({ isLive: true })
    expect(copy.pass({ isLive: false, forced: new Set(['f']) })).toMatchObject({ changed: 1 })
    write('g', 'just now')
    copy.pass({ isLive: true })
    expect(copy.pass({ isLive: false })).toMatchObject({ changed: 1 })
    expect([copied('f'), copied('g'), existsSync(at('g'))]).toEqual(['before', 'just now', true])
  })

  test('leaves out what it is told to, and refuses what is nested too deep', () => {
    const { copy, to, write, from } = open(['etc/hosts'])
    write('etc/hosts', 'secret')
    write('etc/other', 'x')
    copy.pass({ isLive: true })
    expect(execFileSync('ls', [join(to, 'etc')], { encoding: 'utf8' })).toBe('other\n')
    execFileSync('sh', ['-c', 'for i in $(seq 600); do mkdir d && cd -P d; done'], { cwd: from })
    expect(() => copy.pass({ isLive: false })).toThrow(TreeRefused)
  })
})

test.each([
  ['7f00-7f01 rw-s 00000000 fe:00 123    /workspace/db', ['workspace/db']],
  ['7f00-7f01 rw-s 00000000 fe:00 123    /a b (deleted)', ['a b (deleted)']],
  ['7f00-7f01 rw-s 00000000 fe:00 123    /a\\012b', ['a\nb']],
  ['7f00-7f01 rw-p 00000000 fe:00 123    /usr/lib/x.so', []],
  ['7f00-7f01 r--s 00000000 fe:00 123    /usr/share/cache', []],
  ['7f00-7f01 rw-s 00000000 00:01 0 ', []],
  ['7f00-7f01 rw-p 00000000 00:00 0      [heap]', []],
])('writtenThroughMemory() finds in %j: %j', (line, paths) => {
  expect(writtenThroughMemory(`${line}\n`)).toEqual(paths)
})

describe.skipIf(!isRoot)('one layer of several (as root: layers have owners and devices)', () => {
  const shell = (folder: string, script: string) =>
    execFileSync('bash', ['-ec', script], { cwd: folder, encoding: 'utf8' })
  /** Everything that is seen: kinds, modes, owners, times, links, content. */
  const seen = (root: string) =>
    shell(
      root,
      'find . -mindepth 1 -printf "%p %y %m %U:%G %T@ %l\\n" | sort; find . -type f -exec sha256sum {} + | sort',
    )

  function openStack() {
    const folder = mkdtempSync(join(tmpdir(), 'layers-'))
    const mounted: string[] = []
    onTestFinished(() => {
      for (const point of mounted.reverse()) execFileSync('umount', [point])
      rmSync(folder, { recursive: true, force: true })
    })
    shell(
      folder,
      'mkdir base && cd base && mkdir -p a/b c d && echo 0 | tee a/f a/b/f c/f d/f top >/dev/null',
    )
    const mount = (name: string, lowers: string[], isWritten: boolean) => {
      const at = (each: string) => join(folder, each)
      shell(folder, `mkdir ${name}.seen`)
      if (isWritten) shell(folder, `mkdir ${name} ${name}.work`)
      const upper = isWritten ? `,upperdir=${at(name)},workdir=${at(`${name}.work`)}` : ''
      execFileSync('mount', [
        '-t',
        'overlay',
        'o',
        '-o',
        `lowerdir=${lowers.map(at).join(':')}${upper}`,
        at(`${name}.seen`),
      ])
      mounted.push(at(`${name}.seen`))
      return at(`${name}.seen`)
    }
    return { folder, mount }
  }

  test('shows what they have shown, whatever was removed and put in its place', () => {
    const { folder, mount } = openStack()
    const layers: string[] = []
    for (const [at, script] of [
      'rm -r a && mkdir a && echo 1 > a/new; rm c/f; ln -s nowhere link; mkdir deep && echo 1 > deep/f && ln deep/f deep/g && ln deep/f hard; mkdir k && echo 1 > k/one && ln k/one other',
      'echo 2 > a/f; rm -r deep; echo 2 > deep; rm top; mkdir top && echo 2 > top/f; chmod 700 d; touch -d @5 d/f',
      'rm link; echo 3 > link; rm -r c && mkdir c; rm a/new; chown 7:8 top; mkfifo c/pipe; echo 3 >> d/f; touch -d @9 c',
      ':',
      'rm -r d; rm deep && mkdir deep && echo 5 > deep/h; setfattr -n user.x -v y top/f 2>/dev/null || true',
    ].entries()) {
      const point = mount(`l${at}`, [...layers, 'base'], true)
      shell(point, script)
      layers.unshift(`l${at}`)
    }
    const expected = seen(mount('all', [...layers, 'base'], false))
    const libc = new Libc()
    const directory = (name: string): number => {
      const fd = libc.openDirectory(AT_FDCWD, Buffer.from(`${join(folder, name)}\0`))
      if (fd === undefined) throw new Error(`There is no "${name}"`)
      onTestFinished(() => libc.close(fd))
      return fd
    }
    shell(folder, 'mkdir flat')
    for (const [at, layer] of layers.entries())
      new LayerCopy(libc, {
        from: directory(layer),
        to: directory('flat'),
        leaveOut: new Set(),
        isBelow: at > 0,
      }).pass({ isLive: false })
    expect(seen(mount('one', ['flat', 'base'], false))).toBe(expected)
    expect(shell(folder, 'stat -c %h flat/k/one flat/other flat/hard')).toBe('2\n2\n1\n')
    // Without the image, too, it is the layer that says what is gone.
    expect(shell(folder, 'stat -c %t:%T flat/d')).toBe('0:0\n')
  })
})
