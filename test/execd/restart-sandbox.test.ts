// What a restart of execd keeps of the sandbox itself: the entrypoint, the stop, and nothing of what only the dead execd could use.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type Daemon, outputOf, startDaemon, until } from './daemon.ts'

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

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
        entrypoint: ['sh', '-c', 'echo started; trap "echo bye; exit 0" TERM; while :; do sleep 0.05; done'],
      },
      { restarted: true },
    )
    await execd.run({ command: `printf "LATER=kept\\n" >> "$EXECD_ENVS"` })
    const entrypointLog = () => readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')
    await until(async () => entrypointLog() === 'started\n', 'the entrypoint')
    await execd.killAndAwait()
    expect(outputOf(await execd.run({ command: 'echo $FROM_BOOT $LATER' }))).toBe('yes kept\n')
    expect(existsSync(join(execd.dir, '.state'))).toBe(false)
    const exit = await execd.stop()
    // Its end was seen, its status was not: that goes to a parent alone.
    expect(exit).toEqual({ exitCode: 255, message: expect.stringContaining('not known') })
    expect(entrypointLog()).toBe('started\nbye\n')
  })

  test('the end of the entrypoint is still the end of the sandbox, also when nobody was there', async () => {
    await using execd = await startDaemon({ entrypoint: ['sleep', '1000'] }, { restarted: true })
    const entrypoint = () =>
      Number(execFileSync('pgrep', ['-P', String(execd.pid()), '-x', 'sleep'], { encoding: 'utf8' }).trim())
    const pid = entrypoint()
    process.kill(execd.pid(), 'SIGSTOP')
    process.kill(pid, 'SIGKILL')
    process.kill(execd.pid(), 'SIGKILL')
    await until(async () => execd.process.exitCode !== null, 'the end')
    expect(JSON.parse(readFileSync(join(execd.dir, 'exit.json'), 'utf8'))).toMatchObject({ exitCode: 255 })
    expect(execd.process.exitCode).toBe(255)
  })

  test.each([
    ['while it comes back', false],
    ['and killed while it does', true],
  ])('R2: told to stop %s, it ends in order what runs', async (_when, isKilledAgain) => {
    // Long enough for the next life to be there when it says so: what nobody holds the other end of is lost.
    await using execd = await startDaemon(
      {
        entrypoint: [
          'sh',
          '-c',
          'trap "sleep 1.2; echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done',
        ],
      },
      { restarted: true },
    )
    await until(
      async () => readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8') === 'up\n',
      'the entrypoint',
    )
    const before = execd.pid()
    if (!isKilledAgain) {
      process.kill(before, 'SIGKILL')
      await until(async () => ![0, before].includes(execd.pid()), 'the next life to begin')
    }
    const stopped = execd.stop()
    if (isKilledAgain) process.kill(before, 'SIGKILL')
    expect(await stopped).toMatchObject({ exitCode: 255 })
    expect(readFileSync(join(execd.dir, 'entrypoint.log'), 'utf8')).toBe('up\nbye\n')
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
