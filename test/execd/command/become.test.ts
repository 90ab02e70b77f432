// Becoming a user with supplementary groups goes by a program that begins as root: what that user put into the environment must not
// reach it.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, onTestFinished, test } from 'vitest'
import { PipeStock } from '../../../execd/command/pipes.ts'
import { startProcess } from '../../../execd/command/process.ts'
import { Spawner } from '../../../execd/command/spawner.ts'
import { createFifoMaker, openLibc } from '../../../execd/libc.ts'
import { createSilentLogger } from '../../../lib/log.ts'

test('no variable of a user reaches the loader of a program that is still root', async (context) => {
  if (process.getuid?.() !== 0) return context.skip('changing the user needs root')
  const dir = mkdtempSync(join(tmpdir(), 'become-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  const libc = openLibc()
  const started = await startProcess(
    {
      pipes: new PipeStock({
        dir: join(dir, 'pipes'),
        makeFifo: createFifoMaker(libc),
        log: createSilentLogger(),
      }),
      spawner: new Spawner(libc),
      setpriv: ['/usr/bin/setpriv'],
      envProgram: ['/usr/bin/env'],
    },
    {
      path: '/usr/bin/env',
      argv: ['env'],
      cwd: '/',
      // The loader of each program prints who runs it.
      env: { LD_SHOW_AUXV: '1', LD_LIBRARY_PATH: '/theirs', PLAIN: 'a b' },
      user: { uid: 65534, gid: 65533, groups: [100, 101] },
      output: 'separate',
    },
  )
  started.stderr?.resume()
  const shown = await text(started.stdout)
  expect(await started.ended).toEqual({ exitCode: 0 })
  expect(shown.match(/^(AT_EUID|LD_LIBRARY_PATH|PLAIN)\b.*$/gm)).toEqual([
    expect.stringMatching(/^AT_EUID:\s+65534$/),
    'PLAIN=a b',
    'LD_LIBRARY_PATH=/theirs',
  ])
})
