// The two ways to start a program must not be told apart by the program, nor by its caller.

import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { describe, expect, onTestFinished, test } from 'vitest'
import { PipeStock } from '../../../execd/command/pipes.ts'
import { type ProcessSpec, type ProcessStarter, startProcess } from '../../../execd/command/process.ts'
import { readStatus, Spawner } from '../../../execd/command/spawner.ts'
import { createFifoMaker, openLibc } from '../../../execd/libc.ts'
import { createSilentLogger } from '../../../lib/log.ts'

const SELF = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
const libc = openLibc()
const spawner = new Spawner(libc)
/** Leaves everything to Node. */
const never = {
  spawn() {
    throw Object.assign(new Error('not this one'), { code: 'ENOEXEC' })
  },
} as unknown as Spawner

function makeDir(): string {
  const dir = mkdtempSync(join(tmpdir(), 'spawner-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

function makeStarters(dir: string): [string, ProcessStarter][] {
  const pipes = new PipeStock({
    dir: join(dir, 'pipes'),
    makeFifo: createFifoMaker(libc),
    log: createSilentLogger(),
  })
  const common = { pipes, setpriv: ['/usr/bin/setpriv'], envProgram: ['/usr/bin/env'] }
  return [
    ['by Node', { ...common, spawner: never }],
    ['lightly', { ...common, spawner }],
  ]
}

/** What a program says and how it ends, each way. */
async function bothWays(spec: Partial<ProcessSpec>, dir = makeDir()): Promise<unknown[]> {
  const results: unknown[] = []
  for (const [, starter] of makeStarters(dir))
    try {
      const started = await startProcess(starter, {
        path: '/bin/sh',
        argv: ['sh'],
        cwd: dir,
        env: { PATH: '/usr/bin:/bin' },
        user: SELF,
        output: 'separate',
        ...spec,
      })
      const said = Promise.all([text(started.stdout), started.stderr ? text(started.stderr) : ''])
      results.push({ said: await said, ended: await started.ended })
    } catch (error) {
      results.push({ message: (error as Error).message, exitCode: (error as { exitCode?: number }).exitCode })
    }
  return results
}

const script = (line: string) => ({ argv: ['sh', '-c', line] })
const STATUS = 'grep -E "^(Uid|Gid|Groups|SigBlk|SigIgn|SigCgt|NoNewPrivs|CapEff)" /proc/self/status'

describe('both ways to start a program', () => {
  test.each<[string, Partial<ProcessSpec>, object]>([
    ['both streams', script('echo out; echo err >&2'), { said: ['out\n', 'err\n'] }],
    [
      'one stream for both',
      { ...script('echo 1; echo 2 >&2; echo 3'), output: 'merged' },
      { said: ['1\n2\n3\n', ''] },
    ],
    ['an exit code', script('exit 7'), { ended: { exitCode: 7 } }],
    ['a signal', script('kill -9 $$'), { ended: { exitCode: -1, signal: 'SIGKILL' } }],
    ['a signal that Node ignores', script('kill -PIPE $$'), { ended: { exitCode: -1, signal: 'SIGPIPE' } }],
    ['no input', script('cat'), { said: ['', ''] }],
    ['user, groups, signals and capabilities', script(STATUS), { ended: { exitCode: 0 } }],
    ['its open files', script('ls /proc/self/fd'), { ended: { exitCode: 0 } }],
    [
      'its environment',
      { ...script('env'), env: { PATH: '/bin', ODD: "a=b\n'ö" } },
      { ended: { exitCode: 0 } },
    ],
    ['an empty environment', { path: '/usr/bin/env', argv: ['env'], env: {} }, { said: ['', ''] }],
    ['a name of its own', { argv: ['-name', '-c', 'echo $0'], path: '/bin/dash' }, { said: ['-name\n', ''] }],
    ['a new session', script('[ $(ps -o sid= $$) = $(echo " $$") ] && echo yes'), { said: ['yes\n', ''] }],
    ['a long argument', script(`: ${'x'.repeat(120_000)}`), { ended: { exitCode: 0 } }],
    [
      'many arguments',
      { argv: ['sh', '-c', 'echo $#', ...Array(30_000).fill('argument')] },
      { said: ['29999\n', ''] },
    ],
    ['a program that is not there', { path: '/nowhere/at/all' }, { exitCode: 127 }],
    ['a program that is no file', { path: '/etc' }, { exitCode: 126 }],
    ['a directory that is not there', { cwd: '/nowhere/at/all' }, { exitCode: 127 }],
    ['an argument that is too long', script('x'.repeat(200_000)), { exitCode: 126 }],
    ['more arguments than fit', { argv: ['sh', ...Array(400_000).fill('argument')] }, { exitCode: 126 }],
    ['a NUL in an argument', script('echo a\0b'), { exitCode: 126 }],
    ['a NUL in the environment', { ...script('env'), env: { A: 'a\0b' } }, { exitCode: 126 }],
  ])('%s', async (_what, spec, expected) => {
    const [byNode, lightly] = await bothWays(spec)
    expect(lightly).toEqual(byNode)
    expect(lightly).toMatchObject(expected)
  })

  test('a script that names no interpreter', async () => {
    const dir = makeDir()
    const path = join(dir, 'script')
    writeFileSync(path, 'echo from a script')
    chmodSync(path, 0o755)
    const [byNode, lightly] = await bothWays({ path, argv: [path] }, dir)
    expect(lightly).toEqual(byNode)
    expect(lightly).toMatchObject({ said: ['from a script\n', ''] })
  })
})

describe('Spawner', () => {
  test('tells the ends of hundreds at once, each its own', async () => {
    const ends = Array.from({ length: 300 }, (_, n) => {
      const spec = {
        path: '/bin/sh',
        argv: ['sh', '-c', `exit ${n % 256}`],
        cwd: '/',
        env: {},
        stdout: 2,
        stderr: 2,
      }
      return spawner.spawn(spec).ended
    })
    expect(await Promise.all(ends)).toEqual(Array.from({ length: 300 }, (_, n) => ({ exitCode: n % 256 })))
  })

  test.each([
    [0x0000, { exitCode: 0 }],
    [0xff00, { exitCode: 255 }],
    [0x000f, { exitCode: -1, signal: 'SIGTERM' }],
    // With a core dumped.
    [0x008b, { exitCode: -1, signal: 'SIGSEGV' }],
    // A real-time signal has no name.
    [0x0022, { exitCode: -1, signal: 'SIGKILL' }],
  ])('reads the status %i', (status, expected) => {
    expect(readStatus(status)).toEqual(expected)
  })
})
