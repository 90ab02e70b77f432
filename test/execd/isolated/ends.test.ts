// How runs and sessions end that do not end by themselves.

import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { STOP_SIGNAL } from '../../../execd/isolated/shell.ts'
import { until, withEnoughTime } from '../daemon.ts'
import { type Isolated, isPossible, startIsolated, WITHOUT_MOUNTS } from './client.ts'

describe.skipIf(!isPossible())('an isolated session (skipped without root and bubblewrap)', () => {
  let isolated: Isolated
  beforeAll(async () => {
    isolated = await startIsolated({ wrapper: WITHOUT_MOUNTS })
  })
  afterAll(() => isolated[Symbol.asyncDispose]())
  const workspace = (name: string) => ({ path: isolated.folder(name), mode: 'rw' })

  test.each([
    ['sleeps', 'sleep 60'],
    ['loops in the shell itself', 'while :; do :; done'],
    ['loops in functions', 'g() { while :; do f; done; }; f() { :; }; while :; do g; done'],
    ['ignores INT and TERM', 'trap "" INT TERM; bash -c "trap \\"\\" INT TERM; while :; do sleep 1; done"'],
    ['waits for children in the background', 'sleep 60 & sleep 60 & wait'],
  ])(
    'I4: a run that %s ends at its timeout, with all it started, and the shell goes on',
    async (_how, code) => {
      const session = await isolated.create({ workspace: workspace('timeout') })
      await session.run('KEPT=yes')
      const { error } = await session.run({ code: `${code}; echo not-reached`, timeout_seconds: 1 })
      expect(error).toMatchObject({ evalue: '-1', traceback: ['timed out after 1 s'] })
      const after = await session.run('echo $KEPT; set -- /proc/[0-9]*; echo $#')
      // The first process, the loop, the shell.
      expect(after.stdout).toBe('yes\n3\n')
    },
  )

  test('I4: what stops a run and comes when it has just ended stops nothing of the next', async () => {
    const session = await isolated.create({ workspace: workspace('late') })
    await session.run('mkdir late-stop; cd late-stop')
    const isIt = (pid: string) => {
      try {
        return readlinkSync(`/proc/${pid}/cwd`).endsWith('/late-stop')
      } catch {
        return false
      }
    }
    const [shell] = readdirSync('/proc').filter(isIt)
    process.kill(Number(shell), STOP_SIGNAL)
    expect((await session.run('echo one; for word in two; do echo $word; done')).stdout).toBe('one\ntwo\n')
  })

  test('I4: when nothing moves the shell, the session goes on with a new one and what it has written', async () => {
    const session = await isolated.create({ workspace: { path: isolated.folder('stuck') } })
    const stuck = await session.run({
      code: 'echo kept > file; trap "" RTMAX-1; while :; do :; done',
      timeout_seconds: 1,
    })
    expect(stuck.error).toMatchObject({ evalue: '-1' })
    expect(stuck.error?.traceback).toContainEqual(expect.stringContaining('new one'))
    expect((await session.run('cat file')).stdout).toBe('kept\n')
    expect((await session.state()).status).toBe('active')
  })

  test('a client that leaves takes its run along, and the next one has its turn', async () => {
    const session = await isolated.create({ workspace: workspace('left') })
    const left = new AbortController()
    const response = await isolated.execd.call(`${session.path}/run`, {
      method: 'POST',
      body: JSON.stringify({ code: 'sleep 60' }),
      signal: left.signal,
    })
    await response.body?.getReader().read()
    const next = session.run('echo next')
    left.abort()
    expect((await next).stdout).toBe('next\n')
  })

  test('an idle session goes, one in use does not', async () => {
    const idle = await isolated.create({ workspace: workspace('idle'), idle_timeout_seconds: 1 })
    const begun = join(workspace('idle').path, 'begun')
    const { used, running } = await withEnoughTime(
      async (timeoutMs) => {
        const seconds = timeoutMs / 1000
        const made = await isolated.create({ workspace: workspace('idle'), idle_timeout_seconds: seconds })
        // Refused when the time was over before it could begin.
        const ran = made.run(`touch begun; sleep ${3 * seconds}; echo done`).catch(() => undefined)
        const isRunning = until(async () => existsSync(begun), 'the run to begin').then(
          () => true,
          () => false,
        )
        return (await Promise.race([isRunning, ran.then(() => false)])) && { used: made, running: ran }
      },
      'a run to begin in a session that is not idle for long',
      1000,
    )
    await until(
      async () => (await isolated.call('GET', idle.path)).status === 404,
      'the end of an idle session',
    )
    expect((await used.state()).status).toBe('active')
    expect((await running)?.stdout).toBe('done\n')
    await until(async () => (await isolated.call('GET', used.path)).status === 404, 'its end once it is idle')
  })

  test('what runs, and what waits for its turn, ends when the session is deleted', async () => {
    const session = await isolated.create({ workspace: workspace('deleted') })
    const runs = [session.run('sleep 60'), session.run('echo never')]
    await session.call('GET', '')
    expect((await session.remove()).status).toBe(200)
    for (const { error, stdout } of await Promise.all(runs)) {
      expect(error).toMatchObject({ ename: 'RuntimeError', evalue: 'session terminated' })
      expect(stdout).toBe('')
    }
  })

  test('a run that waits for its turn is a stream already, and more of them than is sensible are refused', async () => {
    const session = await isolated.create({ workspace: workspace('waiting') })
    const first = session.run('sleep 1')
    const response = await isolated.execd.call(`${session.path}/run`, {
      method: 'POST',
      body: '{"code":"echo x"}',
    })
    const reader = response.body?.getReader()
    expect(new TextDecoder().decode((await reader?.read())?.value)).toContain('"type":"init"')
    const more = await Promise.all(
      Array.from({ length: 70 }, () =>
        isolated.execd.call(`${session.path}/run`, { method: 'POST', body: '{"code":"true"}' }),
      ),
    )
    expect(more.map(({ status }) => status)).toContain(429)
    expect(more.filter(({ status }) => status === 200).length).toBeGreaterThan(60)
    await first
    await Promise.all(more.map((each) => each.text()))
    expect((await session.run('echo alive')).stdout).toBe('alive\n')
  })

  test('a session whose first process is killed is dead and says so', async () => {
    const session = await isolated.create({ workspace: workspace('dead') })
    await session.run('kill -9 $PPID')
    await until(async () => (await session.state()).status === 'dead', 'its death')
    expect((await session.state()).message).toContain('first process')
    const { error } = await session.run('echo x')
    expect(error).toMatchObject({
      ename: 'RuntimeError',
      evalue: expect.stringContaining('session terminated'),
    })
    expect((await session.call('GET', '/files/info?path=x')).status).toBe(500)
    expect((await session.remove()).status).toBe(200)
  })

  test('goes with execd, and the next life of execd removes what it left', async () => {
    await using other = await startIsolated({ restarted: true })
    const session = await other.create({ workspace: { path: other.folder('ws') } })
    await session.run('sleep 1000 & echo $! > pid; touch file')
    const marker = `isolated-test-${session.id}`
    await session.run(`exec -a ${marker} sleep 1000 &`)
    await other.execd.killAndAwait()
    await until(async () => !isRunning(marker), 'the end of the processes of the session')
    expect((await other.call('GET', session.path)).status).toBe(404)
    const next = await other.create({ workspace: { path: other.folder('ws') } })
    expect((await next.run('ls')).stdout).toBe('')
    expect(readdirSync(join(other.dir, 'upper'))).toEqual([next.id])
  })
})

/** Whether some process of the machine was started with this as its name. */
function isRunning(name: string): boolean {
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .some((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith(name)
      } catch {
        return false // it has ended meanwhile
      }
    })
}
