// What a restart of execd keeps of commands: it is killed as nothing else can end it, and init.sh starts it again.

import { execFileSync } from 'node:child_process'
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { CommandStatus } from '../../lib/api/execd.ts'
import { type Daemon, idOf, outputOf, parseEvents, startDaemon, until, withEnoughTime } from './daemon.ts'

const status = async (execd: Daemon, id: string) =>
  (await (await execd.call(`/command/status/${id}`)).json()) as CommandStatus
const log = async (execd: Daemon, id: string, cursor = 0) =>
  (await execd.call(`/command/${id}/logs?cursor=${cursor}`)).text()
const isAlive = (pid: number) =>
  existsSync(`/proc/${pid}/stat`) && !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))

describe('after execd was killed', () => {
  test('R12: a background command runs on, loses no output, and its end is known though not its status', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const go = join(execd.workdir, 'go')
    execFileSync('mkfifo', [go])
    const id = idOf(await execd.run({ command: `echo before; cat ${go}; seq 1 5; exit 3`, background: true }))
    await until(async () => (await log(execd, id)) === 'before\n', 'the first line')
    await execd.killAndAwait()
    expect(await status(execd, id)).toMatchObject({
      id,
      running: true,
      content: expect.stringContaining('seq'),
    })
    execFileSync('sh', ['-c', `echo after > ${go}`])
    const end = await until(async () => {
      const now = await status(execd, id)
      return !now.running && now
    }, 'its end')
    expect(end).not.toHaveProperty('exit_code')
    expect(end.error).toContain('not known')
    expect(await log(execd, id)).toBe('before\nafter\n1\n2\n3\n4\n5\n')
    expect(await log(execd, id, 13)).toBe('1\n2\n3\n4\n5\n')
  })

  test('what a command wrote while execd was away is there, and the command did not die of it', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const flag = join(execd.workdir, 'written')
    const pidFile = join(execd.workdir, 'pid')
    const id = idOf(
      await execd.run({
        command: `echo $$ > ${pidFile}; read -r _ < ${fifo(execd, 'go')}; seq 1 5000; echo done > ${flag}; exec sleep 1000`,
        background: true,
      }),
    )
    const pid = Number(
      await until(async () => existsSync(pidFile) && readFileSync(pidFile, 'utf8'), 'its number'),
    )
    // While init.sh is stopped nobody starts execd again.
    execd.process.kill('SIGSTOP')
    process.kill(execd.pid(), 'SIGKILL')
    writeFileSync(join(execd.workdir, 'go'), 'go\n')
    await until(async () => existsSync(flag), 'its output without a reader')
    execd.process.kill('SIGCONT')
    await until(async () => (await execd.call('/ping').catch(() => undefined))?.ok, 'execd')
    await until(async () => (await log(execd, id)).endsWith('5000\n'), 'its output')
    expect(await log(execd, id)).toBe(execFileSync('seq', ['1', '5000'], { encoding: 'utf8' }))
    // It can be interrupted as any other.
    expect((await execd.call(`/command?id=${id}`, { method: 'DELETE' })).status).toBe(200)
    expect(isAlive(pid)).toBe(false)
  })

  test('commands that had ended have their end and their output', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const failed = idOf(await execd.run({ command: 'echo out; exit 4', background: true }))
    await until(async () => !(await status(execd, failed)).running, 'its end')
    const killed = idOf(await execd.run({ command: 'kill -KILL $$' }))
    const timedOut = idOf(await execd.run({ command: 'sleep 100', timeout: 100 }))
    // One that took its time counts as a longer run, and on a busy machine any may.
    const quick = await until(async () => {
      const id = idOf(await execd.run({ command: 'echo gone with the memory' }))
      return !existsSync(join(execd.dir, 'commands', `${id}.output`)) && id
    }, 'a command that is done in no time')
    const before = await Promise.all([failed, killed, timedOut, quick].map((id) => status(execd, id)))
    await execd.killAndAwait()
    const after = await Promise.all([failed, killed, timedOut, quick].map((id) => status(execd, id)))
    expect(after.slice(0, 3)).toEqual(before.slice(0, 3))
    expect(before[1]).toMatchObject({ exit_code: -1, signal: 'SIGKILL' })
    expect(before[2]).toMatchObject({ exit_code: -1, timed_out: true })
    // What a short command said was never worth a file, and that is told.
    expect(after[3]).toEqual({ ...before[3], output_lost: true })
    expect(await log(execd, failed)).toBe('out\n')
  })

  test('the stream of a foreground command is cut without a false end, and the command goes on to where it can be asked', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const go = fifo(execd, 'go')
    const response = await execd.call('/command', {
      method: 'POST',
      body: JSON.stringify({ command: `echo one; echo two >&2; cat ${go}; echo three >&2; echo four` }),
    })
    let text = ''
    const reading = (async () => {
      for await (const chunk of response.body ?? []) text += Buffer.from(chunk).toString()
    })()
    reading.catch(() => {})
    await until(async () => text.includes('two'), 'the first lines')
    const id = idOf(parseEvents(text))
    // From some moment on its output is on disk.
    await until(async () => existsSync(join(execd.dir, 'commands', `${id}.output`)), 'its journal')
    await execd.killAndAwait()
    await expect(reading).rejects.toThrow()
    expect(text).not.toMatch(/execution_complete|"error"/)
    expect(await status(execd, id)).toMatchObject({ running: true })
    writeFileSync(go, '')
    await until(async () => !(await status(execd, id)).running, 'its end')
    const lines = (await log(execd, id)).split('\n').filter(Boolean)
    expect(lines.sort()).toEqual(['four', 'one', 'three', 'two'])
    expect(await status(execd, id)).not.toHaveProperty('output_lost')
  })

  test('a timeout is kept, and reaches what escaped', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const pidFile = join(execd.workdir, 'escaped')
    const command = `setsid sh -c 'echo $$ > ${pidFile}; exec sleep 1000' & sleep 1000`
    const isThere = () => existsSync(pidFile) && readFileSync(pidFile, 'utf8') !== ''
    const begin = async (timeout: number) => {
      const begun = idOf(await execd.run({ command, background: true, timeout }))
      const isRunning = async () => (await status(execd, begun)).running
      await until(async () => isThere() || !(await isRunning()), 'its number')
      return isThere() && (await isRunning()) && begun
    }
    const id = await withEnoughTime(begin, 'the command to begin, and to outlive execd', 2500)
    const pid = Number(readFileSync(pidFile, 'utf8'))
    await execd.killAndAwait()
    const end = await until(async () => {
      const now = await status(execd, id)
      return !now.running && now
    }, 'its end')
    expect(end).toMatchObject({ exit_code: -1, timed_out: true })
    expect(isAlive(pid)).toBe(false)
  })

  test('a server that a command left behind does not stand still for a full pipe', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const flag = join(execd.workdir, 'flag')
    const go = fifo(execd, 'go')
    const events = await execd.run({
      command: `(read -r _ < ${go}; seq 1 100000; echo done > ${flag}) & echo left`,
    })
    expect(events.at(-1)?.type).toBe('execution_complete')
    await execd.killAndAwait()
    writeFileSync(go, 'go\n')
    await until(async () => existsSync(flag), 'the server to write on')
    await until(async () => (await log(execd, idOf(events))).endsWith('100000\n'), 'its output')
  })

  test('again and again, the journal goes on', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const command = 'i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo $i; sleep 0.05; done; sleep 1000'
    const id = idOf(await execd.run({ command, background: true }))
    const kills = 3
    for (let count = 0; count < kills; count++) {
      const before = await until(() => log(execd, id), 'a line')
      await execd.killAndAwait()
      // What was on disk is there, and stays where it was.
      expect((await log(execd, id)).startsWith(before)).toBe(true)
    }
    await until(async () => (await log(execd, id)).endsWith('40\n'), 'the last line')
    const numbers = (await log(execd, id)).trim().split('\n').map(Number)
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
    // Only what execd had in its hands when it was killed may be missing, which is one line at most.
    expect(numbers.length).toBeGreaterThanOrEqual(40 - kills)
    await execd.call(`/command?id=${id}`, { method: 'DELETE' })
  })

  test('a forged record makes execd signal nobody', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    const stranger = Number(
      outputOf(await execd.run({ command: 'setsid env -i sleep 1000 > /dev/null 2>&1 & echo $!' })),
    )
    const other = idOf(await execd.run({ command: 'exec sleep 1000', background: true }))
    const records = join(execd.dir, 'commands/records')
    const line = readFileSync(records, 'utf8')
      .split('\n')
      .find((text) => text.startsWith(other))
    const record = JSON.parse(line?.slice(other.length) ?? '') as {
      process: { pid: number; startTime: number }
    }
    const forge = (id: string, process: object, more: object = {}) =>
      appendFileSync(
        records,
        `${id} ${JSON.stringify({ id, content: 'x', background: true, startedAt: 1, timeoutMs: 1, process, ...more })}\n`,
      )
    forge('a'.repeat(32), { pid: stranger, startTime: 1, pipes: [] })
    // The right start, and the mark of someone else.
    forge('b'.repeat(32), { ...record.process, pipes: [] })
    forge('c'.repeat(32), { pid: 1, startTime: 0, pipes: ['../../x'] })
    forge('d'.repeat(32), { pid: stranger, startTime: 1, pipes: [] }, { id: 'e'.repeat(32) })
    await execd.killAndAwait()
    const listed = (await (await execd.call('/commands')).json()) as CommandStatus[]
    expect(listed.find(({ id }) => id === other)).toMatchObject({ running: true })
    expect(listed.find(({ id }) => id === 'a'.repeat(32))).toMatchObject({ running: false })
    expect(listed.find(({ id }) => id === 'b'.repeat(32))).toMatchObject({ running: false })
    expect(listed.some(({ id }) => /^[cde]{32}$/.test(id))).toBe(false)
    expect([stranger, record.process.pid].map(isAlive)).toEqual([true, true])
    process.kill(stranger, 'SIGKILL')
  })

  test('pipes and files of what is over are not left', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    for (let count = 0; count < 3; count++) await execd.run({ command: 'seq 1 10000' })
    await execd.killAndAwait()
    const { length } = readdirSync(join(execd.dir, 'pipes'))
    await execd.killAndAwait()
    await until(async () => readdirSync(join(execd.dir, 'pipes')).length <= length, 'as many pipes as before')
  })

  test('children still have none of its files', async () => {
    await using execd = await startDaemon({}, { restarted: true })
    await execd.killAndAwait()
    expect(outputOf(await execd.run({ command: 'ls /proc/self/fd | grep -c "^9$"' }))).toBe('0\n')
  })
})

function fifo(execd: Daemon, name: string): string {
  const path = join(execd.workdir, name)
  execFileSync('mkfifo', [path])
  return path
}
