// What a restart of execd keeps of the sandbox itself: the entrypoint, the stop, and nothing of what only the dead execd could use.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { ExitFile } from '../../lib/api/guest.ts'
import { keepsEnds } from '../support/kernel.ts'
import { type Daemon, outputOf, startDaemon, until } from './daemon.ts'

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

/** What is known of an end that no parent was there to be told of. */
function whatIsKept(exit: ExitFile): unknown {
  return keepsEnds() ? exit : { exitCode: 255, message: expect.stringContaining('not known') }
}

const logOf = (execd: Daemon) => readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')

/** What another user is told who wants to listen on a port. */
function listenAsNobody(port: number, reusePort: boolean): string {
  const program = `process.setgroups([]); process.setgid(65534); process.setuid(65534)
    require('node:net').createServer().on('error', ({ code }) => console.log(code))
      .listen({ port: ${port}, host: '127.0.0.1', reusePort: ${reusePort} }, () => { console.log('listens'); process.exit() })`
  return execFileSync(process.execPath, ['-e', program], { encoding: 'utf8' }).trim()
}

function portOf({ ready }: Daemon): number {
  return ready.ok ? (ready.port ?? 0) : 0
}

/** The processes that hold a socket which listens on a port. */
function holdersOf(port: number): number[] {
  const listing = execFileSync('ss', ['-Hltnp', `sport = :${port}`], { encoding: 'utf8' })
  return [...listing.matchAll(/pid=(\d+)/g)].map(([, pid]) => Number(pid))
}

/** Resolves when execd has the port, and one other process which will stay. */
function untilHeld(execd: Daemon): Promise<unknown> {
  return until(async () => {
    const holders = holdersOf(portOf(execd))
    const [other, ...more] = holders.filter((pid) => pid !== execd.pid())
    if (holders.length !== 2 || more.length > 0) return false
    return existsSync(`/proc/${other}`) && / T /.test(readFileSync(`/proc/${other}/stat`, 'utf8'))
  }, 'one process that holds the port')
}

describe('after execd was killed', () => {
  test('nobody else gets its port before it is back', async (context) => {
    if (process.getuid?.() !== 0) return context.skip('only root can become another user')
    await using execd = await startDaemon({}, { restarted: true })
    const port = portOf(execd)
    for (let life = 1; life <= 2; life++) {
      const before = execd.pid()
      await untilHeld(execd)
      execd.process.kill('SIGSTOP')
      process.kill(before, 'SIGKILL')
      await until(async () => !isAlive(before), 'the end of execd')
      expect([listenAsNobody(port, false), listenAsNobody(port, true)]).toEqual(['EADDRINUSE', 'EADDRINUSE'])
      execd.process.kill('SIGCONT')
      await until(async () => (await execd.call('/ping').catch(() => undefined))?.status === 200, 'execd')
      await untilHeld(execd)
      // No connection goes to where nobody listens any more.
      for (let count = 0; count < 30; count++)
        expect((await execd.call('/ping', { headers: { Connection: 'close' } })).status).toBe(200)
    }
    await execd.stop()
    expect(holdersOf(port)).toEqual([])
  })

  test('it listens on the same port, with the same token, environment and entrypoint, which was not started again', async () => {
    await using execd = await startDaemon(
      {
        entrypoint: ['sh', '-c', 'echo started; trap "echo bye; exit 3" TERM; while :; do sleep 0.05; done'],
        stopGraceMs: 20_000,
      },
      { restarted: true },
    )
    await execd.run({ command: `printf "LATER=kept\\n" >> "$EXECD_ENVS"` })
    await until(async () => logOf(execd) === 'started\n', 'the entrypoint')
    await execd.killAndAwait()
    expect(outputOf(await execd.run({ command: 'echo $FROM_BOOT $LATER' }))).toBe('yes kept\n')
    expect(existsSync(join(execd.dir, '.state'))).toBe(false)
    expect(await execd.stop()).toEqual(whatIsKept({ exitCode: 3 }))
    expect(logOf(execd)).toBe('started\nbye\n')
  })

  test.each<[string, number, ExitFile]>([
    ['once', 1, { exitCode: 7 }],
    ['twice', 2, { exitCode: 7 }],
    ['once, and the entrypoint as well', 1, { exitCode: 137, signal: 'SIGKILL' }],
  ])(
    '%s, the last words of the entrypoint and how it ended are not lost when nobody was there',
    async (_how, lives, exit) => {
      const last = exit.signal ? 'kill -KILL $$' : `exit ${exit.exitCode}`
      const line = `trap "echo bye; ${last}" TERM; echo $$; while :; do sleep 0.05; done`
      await using execd = await startDaemon({ entrypoint: ['sh', '-c', line] }, { restarted: true })
      const entrypoint = Number(await until(async () => logOf(execd), 'the number of the entrypoint'))
      for (let life = 1; life < lives; life++) {
        await untilHeld(execd)
        await execd.killAndAwait()
      }
      await untilHeld(execd)
      // Stopped, it starts no next life.
      execd.process.kill('SIGSTOP')
      const before = execd.pid()
      process.kill(before, 'SIGKILL')
      await until(async () => !isAlive(before), 'the end of execd')
      process.kill(entrypoint, 'SIGTERM')
      await until(async () => !isAlive(entrypoint), 'the end of the entrypoint')
      execd.process.kill('SIGCONT')
      await until(async () => execd.process.exitCode !== null, 'the end of the sandbox')
      expect(await execd.stop()).toEqual(whatIsKept(exit))
      expect(logOf(execd)).toBe(`${entrypoint}\nbye\n`)
      expect(execd.process.exitCode).toBe((whatIsKept(exit) as ExitFile).exitCode)
    },
  )

  test('the end of the entrypoint that it had seen and not told yet is told by its next life', async () => {
    const words = ['sh', '-c', 'trap "echo bye; exit 5" TERM; echo $$; while :; do sleep 0.05; done']
    await using execd = await startDaemon({ entrypoint: words }, { restarted: true })
    // Stubborn, it has execd wait before it says anything.
    await execd.run({ command: 'trap "" TERM; while :; do sleep 0.05; done', background: true })
    const entrypoint = Number(await until(async () => logOf(execd), 'the number of the entrypoint'))
    await untilHeld(execd)
    const before = execd.pid()
    process.kill(entrypoint, 'SIGTERM')
    await until(async () => !existsSync(`/proc/${entrypoint}`), 'execd to see the end')
    process.kill(before, 'SIGKILL')
    await until(async () => execd.process.exitCode !== null, 'the end of the sandbox')
    expect(await execd.stop()).toEqual(whatIsKept({ exitCode: 5 }))
    expect(logOf(execd)).toBe(`${entrypoint}\nbye\n`)
  })

  test.each([
    ['while it comes back', false],
    ['and killed while it does', true],
  ])('R2: told to stop %s, it ends in order what runs', async (_when, isKilledAgain) => {
    const line = 'trap "echo bye; exit 4" TERM; echo up; while :; do sleep 0.05; done'
    await using execd = await startDaemon(
      { entrypoint: ['sh', '-c', line], stopGraceMs: 20_000 },
      { restarted: true },
    )
    await until(async () => logOf(execd) === 'up\n', 'the entrypoint')
    await untilHeld(execd)
    const before = execd.pid()
    if (!isKilledAgain) {
      process.kill(before, 'SIGKILL')
      await until(async () => ![0, before].includes(execd.pid()), 'the next life to begin')
    }
    const stopped = execd.stop()
    if (isKilledAgain) process.kill(before, 'SIGKILL')
    expect(await stopped).toEqual(whatIsKept({ exitCode: 4 }))
    expect(logOf(execd)).toBe('up\nbye\n')
  })

  test('sessions, terminals and kernels of the life before are ended, and of this one and of others they are not', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const sleep = async (family: string) =>
      Number(
        outputOf(
          await execd.run({
            command: 'env -u OPENSANDBOX_COMMAND_ID setsid sleep 1000 > /dev/null 2>&1 & echo $!',
            envs: { OPENSANDBOX_EXECD_FAMILY: family },
          }),
        ),
      )
    const entrypoint = execFileSync('pgrep', ['-P', String(execd.pid()), '-x', 'sleep'], { encoding: 'utf8' })
    const environ = readFileSync(`/proc/${entrypoint.trim()}/environ`, 'utf8')
    const life = /OPENSANDBOX_COMMAND_ID=([^\0]+)/.exec(environ)?.[1]
    expect(life).toBeTruthy()
    const earlier = [await sleep(`${life}.1.session`), await sleep(`${life}.1.pty`)]
    const others = [await sleep(`${life}.2.session`), await sleep('other.1.session'), await sleep('')]
    onTestFinished(() => {
      for (const pid of others) process.kill(pid, 'SIGKILL')
    })
    await execd.killAndAwait()
    await until(async () => !earlier.some(isAlive), 'the end of the earlier ones')
    expect(others.map(isAlive)).toEqual([true, true, true])
  })
})
