// The names of routes stand in app.ts, so that a route is known before its family is loaded: they must be those of the family.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { LATE_FAMILIES } from '../../execd/app.ts'
import { Commands } from '../../execd/command/commands.ts'
import { PipeStock } from '../../execd/command/pipes.ts'
import { Spawner } from '../../execd/command/spawner.ts'
import { createFifoMaker, openLibc } from '../../execd/libc.ts'
import { createSurroundings } from '../../execd/surroundings.ts'
import { createUsers } from '../../execd/users.ts'
import { createSilentLogger } from '../../lib/log.ts'

test.each(Object.entries(LATE_FAMILIES))(
  'the family "%s" has the routes that are told of it',
  async (_name, family) => {
    const dir = mkdtempSync(join(tmpdir(), 'app-test-'))
    onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
    const log = createSilentLogger()
    const libc = openLibc()
    const surroundings = createSurroundings({
      bootEnv: { PATH: '/usr/bin:/bin', HOME: dir },
      envFile: join(dir, 'env'),
      workdir: dir,
      user: { uid: 0, gid: 0 },
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
    const { routes, endAll } = await family.load(surroundings, new Commands(surroundings))
    onTestFinished(() => endAll?.(0))
    expect(Object.keys(routes).sort()).toEqual([...family.names].sort())
  },
)
