// How commands end by force: everything that they have started ends with them, wherever it has gone to, and nothing else does.

import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { CommandStatus } from '../../lib/api/execd.ts'
import { type Daemon, idOf, outputOf, startDaemon, until, withEnoughTime } from './daemon.ts'

const isRoot = process.getuid?.() === 0
/** Runs its arguments in a session of its own, as a grandchild that belongs to nobody. */
const DAEMONIZE = `sh -c 'setsid sh -c "\\"\\$@\\" & exit 0" sh "$@"' sh`

const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const status = async (id: string, of = execd) =>
  (await (await of.call(`/command/status/${id}`)).json()) as CommandStatus
const interrupt = (id: string, of = execd) => of.call(`/command?id=${id}`, { method: 'DELETE' })

/** Starts a background command that writes numbers of processes into files of these names, and gives them. */
async function startAll(
  command: string,
  names: string[],
  more: Record<string, unknown> = {},
  of = execd,
): Promise<{ id: string; pids: number[] }> {
  const id = idOf(await of.run({ command, background: true, cwd: of.workdir, ...more }))
  const pids = await Promise.all(
    names.map((name) =>
      until(async () => {
        const path = join(of.workdir, name)
        return existsSync(path) && Number(readFileSync(path, 'utf8'))
      }, `the process "${name}"`),
    ),
  )
  return { id, pids }
}

describe('the end by force reaches', () => {
  const ways: [string, string][] = [
    ['a child in the background', 'sh -c "echo \\$\\$ > NAME; exec sleep 1000" & sleep 1000'],
    ['a session of its own', 'setsid sh -c "echo \\$\\$ > NAME; exec sleep 1000" & sleep 1000'],
    [
      'a daemon without a parent in a session of its own',
      `${DAEMONIZE} sh -c 'echo $$ > NAME; exec sleep 1000'; sleep 1000`,
    ],
    [
      'what such a daemon has started without its environment',
      `${DAEMONIZE} sh -c 'env -i sh -c "echo \\$\\$ > NAME; exec sleep 1000"; true'; sleep 1000`,
    ],
    [
      'what left its shell behind, with no environment and no parent',
      'setsid sh -c "env -i sh -c \'echo \\$\\$ > NAME; exec sleep 1000\' & exec sleep 1000" & sleep 1000',
    ],
    [
      'what ignores TERM',
      'setsid sh -c "trap : TERM; echo \\$\\$ > NAME; while :; do sleep 0.1; done" & sleep 1000',
    ],
    ['what is stopped', 'setsid sh -c "echo \\$\\$ > NAME; kill -STOP \\$\\$; sleep 1000" & sleep 1000'],
  ]

  test.each(ways)('%s, by an interrupt', async (what, command) => {
    const name = `interrupt-${what.replaceAll(/\W/g, '-')}`
    const { id, pids } = await startAll(command.replace('NAME', name), [name])
    expect((await interrupt(id)).status).toBe(200)
    // When the interrupt has its answer, nothing is left.
    expect(pids.map(isAlive)).toEqual([false])
    expect(await status(id)).toMatchObject({ running: false, exit_code: -1 })
  })

  test.each(ways)('%s, by a timeout', async (what, command) => {
    const name = `timeout-${what.replaceAll(/\W/g, '-')}`
    const path = join(execd.workdir, name)
    const pid = await withEnoughTime(async (timeout) => {
      const events = await execd.run({ command: command.replace('NAME', name), cwd: execd.workdir, timeout })
      expect(events.at(-1)?.error?.traceback).toContain(`timed out after ${timeout} ms`)
      return existsSync(path) && Number(readFileSync(path, 'utf8'))
    }, `the process "${name}"`)
    expect(isAlive(pid)).toBe(false)
  })

  test('what has become another user', async (context) => {
    if (!isRoot) return context.skip('changing the user needs root')
    const become = 'setpriv --reuid=4321 --regid=4321 --clear-groups'
    const command = [
      `${DAEMONIZE} sh -c 'echo $$ > other-user; exec ${become} sleep 1000'`,
      `${become} sleep 1000 & echo $! > other-child`,
      'sleep 1000',
    ].join('\n')
    const { id, pids } = await startAll(command, ['other-user', 'other-child'])
    expect((await interrupt(id)).status).toBe(200)
    expect(pids.map(isAlive)).toEqual([false, false])
  })

  test('processes of other users, also where root may not look into them', async (context) => {
    if (!isRoot) return context.skip('changing the user needs root')
    const wrapper = ['setpriv', '--bounding-set=-sys_ptrace,-sys_admin', '--inh-caps=-sys_ptrace,-sys_admin']
    await using confined = await startDaemon({}, { wrapper })
    const dir = join(confined.workdir, '..')
    spawn('chmod', ['711', dir])
    const stranger = spawn('setpriv', ['--reuid=4321', '--regid=4321', '--clear-groups', 'sleep', '1000'], {
      env: { ...process.env, OPENSANDBOX_COMMAND_ID: 'f'.repeat(32) },
    })
    onTestFinished(() => void stranger.kill('SIGKILL'))
    // It has the shell's mark, and neither its session nor its parent.
    const escaped = `${DAEMONIZE} sh -c 'echo $$ > away; exec setpriv --reuid=4321 --regid=4321 --clear-groups sleep 1000'`
    const { id, pids } = await startAll(`${escaped}; sleep 1000`, ['away'], {}, confined)
    expect(() => readFileSync(`/proc/${pids[0]}/environ`)).not.toThrow()
    expect((await interrupt(id, confined)).status).toBe(200)
    expect(pids.map(isAlive)).toEqual([false])
    expect(isAlive(stranger.pid ?? 0)).toBe(true)
  })
})

describe('the end by force leaves alone', () => {
  test('R3: other commands and what ended ones have left, until the sandbox stops', async () => {
    await using own = await startDaemon()
    const left = Number(outputOf(await own.run({ command: 'setsid sleep 1000 > /dev/null 2>&1 & echo $!' })))
    const other = await startAll('echo $$ > other; exec sleep 1000', ['other'], {}, own)
    const { id } = await startAll('echo $$ > victim; exec sleep 1000', ['victim'], {}, own)
    await interrupt(id, own)
    expect([left, ...other.pids].map(isAlive)).toEqual([true, true])
    expect(await status(other.id, own)).toMatchObject({ running: true })
    await own.stop()
    expect([left, ...other.pids].map(isAlive)).toEqual([false, false])
  })

  test('execd itself, when a command has taken the mark of another', async () => {
    const { id, pids } = await startAll('echo $$ > marked; exec sleep 1000', ['marked'])
    const spoof = Number(
      outputOf(
        await execd.run({
          command: `OPENSANDBOX_COMMAND_ID=${id} setsid sleep 1000 > /dev/null 2>&1 & echo $!`,
        }),
      ),
    )
    await until(async () => readFileSync(`/proc/${spoof}/environ`, 'utf8').includes(id), 'the mark')
    expect((await interrupt(id)).status).toBe(200)
    // Who takes a mark upon itself belongs.
    expect([spoof, ...pids].map(isAlive)).toEqual([false, false])
    expect((await execd.call('/ping')).status).toBe(200)
  })
})

test('X16: a fork bomb within its limit leaves execd answering, and ends whole', async (context) => {
  if (!isRoot)
    return context.skip('the limit of processes does not bind root, and changing the user needs it')
  const uid = 46_000 + (process.pid % 1000)
  const ofUser = () =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .filter((pid) => {
        try {
          const text = readFileSync(`/proc/${pid}/status`, 'utf8')
          return new RegExp(`^Uid:\\t${uid}\\t`, 'm').test(text) && !/^State:\t[ZX]/m.test(text)
        } catch {
          return false // ended meanwhile
        }
      })
  const body = { command: 'ulimit -u 80; bomb() { bomb | bomb & }; bomb; sleep 1000', uid, cwd: '/' }
  const id = idOf(await execd.run({ ...body, background: true }))
  await until(async () => ofUser().length > 40, 'the bomb to go off')
  expect((await execd.call('/ping')).status).toBe(200)
  expect(outputOf(await execd.run({ command: 'echo alive' }))).toBe('alive\n')
  const answer = await interrupt(id)
  expect(answer.status).toBe(200)
  expect(ofUser()).toEqual([])
})
