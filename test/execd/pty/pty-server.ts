// The terminals alone, in this process, with limits and times of the test's own.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { PipeStock } from '../../../execd/command/pipes.ts'
import { Spawner } from '../../../execd/command/spawner.ts'
import { createRouter } from '../../../execd/http/router.ts'
import { listen } from '../../../execd/http/server.ts'
import { createFifoMaker, openLibc } from '../../../execd/libc.ts'
import { DEFAULT_PTY_OPTIONS, type PtyOptions } from '../../../execd/pty/sessions.ts'
import { ptyFamily } from '../../../execd/routes/pty.ts'
import { createSurroundings } from '../../../execd/surroundings.ts'
import { createUsers } from '../../../execd/users.ts'
import { createSilentLogger } from '../../../lib/log.ts'
import type { PtyServer } from './pty-client.ts'

export type Changed = Partial<Omit<PtyOptions, 'limits' | 'times'>> & {
  limits?: Partial<PtyOptions['limits']>
  times?: Partial<PtyOptions['times']>
}

export async function startPtyServer({
  limits,
  times,
  ...others
}: Changed = {}): Promise<PtyServer & { dir: string }> {
  const dir = mkdtempSync(join(tmpdir(), 'pty-test-'))
  const log = createSilentLogger()
  const libc = openLibc()
  const surroundings = createSurroundings({
    bootEnv: { PATH: '/usr/bin:/bin', HOME: dir },
    envFile: join(dir, 'env'),
    workdir: dir,
    user: { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 },
    users: createUsers(),
    starter: {
      pipes: new PipeStock({ dir: join(dir, 'pipes'), makeFifo: createFifoMaker(libc), log }),
      spawner: new Spawner(libc),
      setpriv: ['setpriv'],
      envProgram: ['env'],
    },
    dir,
    vital: [],
    log,
  })
  const family = ptyFamily(surroundings, {
    ...DEFAULT_PTY_OPTIONS,
    ...others,
    limits: { ...DEFAULT_PTY_OPTIONS.limits, ...limits },
    times: { ...DEFAULT_PTY_OPTIONS.times, ...times },
  })
  const token = 'secret-token'
  const router = createRouter({ routes: family.routes, token, log })
  const server = await listen(router, { host: '127.0.0.1', port: 0, patienceMs: 0, isShared: false })
  onTestFinished(async () => {
    await family.endAll?.(0)
    await server.close(0)
    rmSync(dir, { recursive: true, force: true })
  })
  const url = `http://127.0.0.1:${server.port}`
  return {
    dir,
    url,
    call: (path, init = {}) => fetch(url + path, { ...init, headers: { 'X-EXECD-ACCESS-TOKEN': token } }),
  }
}
