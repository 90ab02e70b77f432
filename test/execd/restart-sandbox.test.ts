// What a restart of execd keeps of the sandbox itself: the entrypoint, the stop, and nothing of what only the dead execd could use.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { outputOf, startDaemon, until } from './daemon.ts'

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

describe('after execd was killed', () => {
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
    await using execd = await startDaemon(
      {
        entrypoint: [
          'sh',
          '-c',
          'trap "sleep 0.5; echo bye; exit 0" TERM; echo up; while :; do sleep 0.05; done',
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
