// How runs and sessions end, by themselves and by others, and that a session outlives all of its runs.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isDead, readProcess } from '../../../execd/command/process-table.ts'
import { startFairClock } from '../../support/fair-time.ts'
import { type Daemon, parseEvents, startDaemon, until, withEnoughTime } from '../daemon.ts'
import { createSession, readRun, shellWord } from './session-client.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const open = (body?: Record<string, unknown>) => createSession(execd, body)
const isAlive = (pid: number) => {
  const entry = readProcess(pid)
  return entry !== undefined && !isDead(entry)
}
const gone = (pid: number) => until(async () => !isAlive(pid), `process ${pid} to end`)

describe('code that takes the shell with it or leaves it in a strange state', () => {
  test('B4: exit, exec, set -e, errors of syntax and heredocs end a run and never the session', async () => {
    const session = await open()
    const file = join(execd.workdir, 'redirected')
    await session.run('export KEPT=1; cd /usr; function_too() { echo function; }')
    const runs: [string, { exitCode: number; stdout?: string; stderr?: RegExp }][] = [
      ['cd /; KEPT=2; exit 7', { exitCode: 7 }],
      ['cd /; KEPT=2; exit 0', { exitCode: 0 }],
      ['cd /; KEPT=2; exec echo other', { exitCode: 0, stdout: 'other\n' }],
      ['exec sh -c "exit 5"', { exitCode: 5 }],
      ['exec no-such-program', { exitCode: 127, stderr: /no-such-program: not found/ }],
      ['set -e; echo before; false; echo after', { exitCode: 1, stdout: 'before\n' }],
      ['set -u; echo $nothing_there; echo after', { exitCode: 1, stderr: /unbound variable/ }],
      [`echo \${nothing_there?is missing}; echo after`, { exitCode: 1, stderr: /is missing/ }],
      ['kill -9 $$', { exitCode: -1 }],
      ['kill -TERM $$; sleep 1', { exitCode: -1 }],
      ['echo "never closed', { exitCode: 2, stderr: /unexpected EOF/ }],
      ["echo 'never closed", { exitCode: 2, stderr: /unexpected EOF/ }],
      ['if true; then echo x', { exitCode: 2, stderr: /syntax error/ }],
      ['echo $(', { exitCode: 2, stderr: /unexpected EOF|syntax error/ }],
      ['} ; echo x', { exitCode: 2, stderr: /syntax error/ }],
      // As for bash itself: a warning, and the command has what there is.
      ['cat <<END\nnever ended', { exitCode: 0, stdout: 'never ended\n', stderr: /here-document/ }],
      ['cat <<END\n$((1 + 1)) \'"\nEND\necho done', { exitCode: 0, stdout: '2 \'"\ndone\n' }],
      [`exec >${file}; echo to the file`, { exitCode: 0, stdout: '' }],
      ['exec 3>&1; echo three >&3', { exitCode: 0, stdout: 'three\n' }],
      ['exec >&- 2>&- <&-; echo nowhere', { exitCode: 1, stdout: '' }],
      ['cat <(echo substituted) > >(cat)', { exitCode: 0, stdout: 'substituted\n' }],
      ['exec > >(tee /dev/null) 2>&1; echo through tee', { exitCode: 0, stdout: 'through tee\n' }],
      ['return 3', { exitCode: 2, stderr: /return/ }],
      ['break; continue; echo after', { exitCode: 0, stdout: 'after\n', stderr: /only meaningful/ }],
      ['readonly r=1; r=2', { exitCode: 1, stderr: /readonly/ }],
      ['echo $((1/0))', { exitCode: 1, stderr: /division by 0/ }],
      ["sh -c 'echo from sh; exit 7'", { exitCode: 7, stdout: 'from sh\n' }],
      ['false; echo EXIT:$?', { exitCode: 0, stdout: 'EXIT:1\n' }],
    ]
    for (const [code, { exitCode, stdout = '', stderr }] of runs) {
      const run = await session.run(code)
      expect({ code, exitCode: run.exitCode, stdout: run.stdout }).toEqual({ code, exitCode, stdout })
      if (stderr) expect(run.stderr).toMatch(stderr)
      else expect({ code, stderr: run.stderr }).toEqual({ code, stderr: '' })
      expect(run.events.filter(({ type }) => type === 'error' || type === 'execution_complete')).toHaveLength(
        1,
      )
      const after = await session.run('set +eu; echo $KEPT $PWD; function_too')
      expect({ code, ...after }).toMatchObject({
        code,
        exitCode: 0,
        stdout: '1 /usr\nfunction\n',
        stderr: '',
      })
    }
    expect(readFileSync(file, 'utf8')).toBe('to the file\n')
  }, 120_000)

  test('B4: says in the error of a run that the shell has ended', async () => {
    const session = await open()
    expect((await session.run('exit 7')).traceback).toEqual([
      'exit status 7',
      expect.stringContaining('the shell has ended'),
    ])
    expect((await session.run('false')).traceback).toEqual(['exit status 1'])
    expect((await session.run('kill -9 $$')).traceback).toEqual([
      'signal: killed',
      expect.stringContaining('the shell has ended'),
    ])
  })

  test('B4: a shell that someone ends between two runs is missed, and the state is back', async () => {
    const session = await open()
    const pid = Number((await session.run('export KEPT=1; cd /usr; f() { echo f; }; echo $$')).stdout)
    // Another run has begun when the state of the one before has been written down.
    await session.run('true')
    process.kill(pid, 'SIGKILL')
    await gone(pid)
    const run = await session.run('echo $KEPT $PWD; f')
    expect(run.stdout).toBe('1 /usr\nf\n')
    expect(run.stderr).toMatch(
      /^session: the shell has ended between two runs \(signal: killed\): .* new one.*\n$/,
    )
    expect((await session.run('echo $KEPT')).stderr).toBe('')
  })

  test('B4: a shell whose directory is gone begins elsewhere, and says so', async () => {
    const session = await open({ cwd: 'will-go' })
    expect((await session.run('rmdir ../will-go; exit 1')).exitCode).toBe(1)
    const run = await session.run('pwd')
    expect(run.stdout).toBe(`${execd.workdir}\n`)
    expect(run.stderr).toBe(
      `session: the directory "${execd.workdir}/will-go" cannot be entered: this run begins in "${execd.workdir}"\n`,
    )
  })

  test('B4: state that is too much is not kept through the end of a shell, and that is told', async () => {
    const session = await open()
    await session.run('big=$(head -c 3000000 /dev/zero | tr "\\0" x); export SMALL=1')
    expect((await session.run('echo "$big" | wc -c')).stdout).toBe('3000001\n')
    await session.run('exit 1')
    const run = await session.run('echo $SMALL "$big"')
    expect(run.stdout).toBe('1 \n')
    expect(run.stderr).toContain('session: only the exported variables and the directory were kept')
  })

  test('B5: markers and output of any form are output', async () => {
    const session = await open()
    const markers =
      '__ENV_DUMP_START__\nEVIL=1\n__ENV_DUMP_END__\n__EXIT_CODE__:7\n__PWD__:/tmp\ndeclare -x EVIL="1"\n{"foo":1}'
    const run = await session.run(`printf %s ${shellWord(markers)}`)
    expect([run.stdout, run.exitCode]).toEqual([markers, 0])
    expect((await session.run('echo "[$EVIL]" $PWD $?')).stdout).toBe(`[] ${execd.workdir} 0\n`)
  })

  test('B5: no process can report in the place of the shell', async () => {
    const session = await open()
    const forged = '0\\000hB\\000/\\n\\000'
    const run = await session.run(
      `for pipe in ${execd.dir}/sessions/${session.id}/*/report; do
         printf '${forged}' > $pipe; printf 'guess\\000${forged}' > $pipe; head -c 100000 /dev/zero > $pipe
       done; echo reported; false`,
    )
    expect([run.stdout, run.stderr, run.exitCode]).toEqual(['reported\n', '', 1])
    expect((await session.run('pwd')).stdout).toBe(`${execd.workdir}\n`)
  })

  test.each(['DIR', 'DIR/*/report'])(
    'a shell that can no longer report, as %s is gone, ends with the run',
    async (gone) => {
      const session = await open()
      await session.run('V=1')
      const path = gone.replace('DIR', `${execd.dir}/sessions/${session.id}`)
      const run = await session.run(`rm -rf ${path}; echo gone`)
      expect([run.stdout, run.exitCode]).toEqual(['gone\n', 125])
      expect((await session.run('echo $V')).stdout).toBe('1\n')
    },
  )

  test('the next run works when someone has removed the pipes for output', async () => {
    const session = await open()
    await session.run('V=1')
    await session.run(`rm -rf ${execd.dir}/session-pipes`)
    const answers = []
    for (let count = 0; count < 20; count++) answers.push((await session.run('echo $V')).stdout)
    expect(answers).toEqual(answers.map(() => '1\n'))
  })
})

describe('a timeout', () => {
  test('B2: ends the run with all its children within its time, and B7: says so in an error event', async () => {
    const session = await open()
    await session.run('export KEPT=1; f() { echo f; }; cd /usr')
    const server = Number((await session.run('sleep 300 > /dev/null 2>&1 & echo $!')).stdout)
    const line =
      'sleep 301 & echo $!; (setsid sleep 302 > /dev/null & echo $!); sh -c "echo \\$\\$; sleep 303"; echo never'
    let timeout = 0
    const run = await withEnoughTime(async (timeoutMs) => {
      timeout = timeoutMs
      const ended = await session.run(line, { timeout })
      for (const pid of ended.stdout.trim().split('\n').filter(Boolean)) await gone(Number(pid))
      return ended.stdout.trim().split('\n').length === 3 && ended
    }, 'three children')
    expect(run.events.at(-1)).toMatchObject({
      type: 'error',
      error: {
        ename: 'CommandExecError',
        evalue: '-1',
        traceback: [
          'signal: terminated',
          `timed out after ${timeout} ms`,
          expect.stringContaining('the shell has ended'),
        ],
      },
    })
    // What earlier runs have left in the background is not the timeout's business.
    expect(isAlive(server)).toBe(true)
    expect((await session.run(`echo $KEPT $PWD; f; kill ${server} && echo alive`)).stdout).toBe(
      '1 /usr\nf\nalive\n',
    )
  })

  test('B2: ends a shell that is busy by itself, and code that ignores TERM', async () => {
    const session = await open()
    for (const command of [
      'while :; do :; done',
      'trap "" TERM; while :; do sleep 0.05; done',
      'read x < /dev/zero',
    ]) {
      const run = await session.run(command, { timeout: 200 })
      expect(run.traceback).toContain('timed out after 200 ms')
      expect((await session.run('echo usable')).stdout).toBe('usable\n')
    }
  })

  test('does not let the code go on to its next command', async () => {
    const session = await open()
    const flag = join(execd.workdir, 'went-on')
    await session.run(`sleep 300; touch ${flag}`, { timeout: 100 })
    await session.run('true')
    expect(existsSync(flag)).toBe(false)
  })

  test('of 0 is none, and one that is not reached changes nothing', async () => {
    const session = await open()
    expect((await session.run('V=1; echo $V', { timeout: 0 })).exitCode).toBe(0)
    expect((await session.run('echo $V', { timeout: 60_000 })).stdout).toBe('1\n')
    expect((await session.run('echo $V', { timeout: null })).stdout).toBe('1\n')
  })
})

describe('a client that leaves', () => {
  test('R12: ends its run with all its children, and not the session', async () => {
    const session = await open()
    await session.run('export KEPT=1')
    let pid = 0
    const { leave } = session.begin({ command: 'sleep 300 & echo pid $!; sleep 300' }, (so) => {
      pid = Number(/pid (\d+)/.exec(so)?.[1] ?? 0)
    })
    await until(async () => pid > 0, 'the run to begin')
    leave()
    await gone(pid)
    expect((await session.run('echo $KEPT')).stdout).toBe('1\n')
  })
})

describe('an interrupt', () => {
  test('R14: by the id of a session ends what it runs, and not the session', async () => {
    const session = await open()
    await session.run('export KEPT=1')
    const interrupt = () => execd.call(`/command?id=${session.id}`, { method: 'DELETE' })
    const idle = await interrupt()
    expect(idle.status).toBe(500)
    expect(await idle.json()).toEqual({
      code: 'RUNTIME_ERROR',
      message: expect.stringContaining('nothing to interrupt'),
    })
    let answer: Promise<Response> | undefined
    const { text } = session.begin({ command: 'sleep 300 & echo $!; sleep 300' }, (so) => {
      if (!answer && so.includes('stdout')) answer = interrupt()
    })
    const run = readRun(parseEvents(await text))
    expect((await answer)?.status).toBe(200)
    expect(run.exitCode).toBe(-1)
    expect(run.traceback).toEqual(['signal: terminated', 'interrupted', expect.any(String)])
    await gone(Number(run.stdout))
    expect((await session.run('echo $KEPT')).stdout).toBe('1\n')
    expect((await execd.call('/command?id=nope', { method: 'DELETE' })).status).toBe(500)
  })
})

describe('the end of a session', () => {
  test('ends its run within 3 s, and what waits for its turn', async () => {
    const session = await open()
    let hasBegun = false
    const running = session.begin(
      { command: 'trap "" TERM; echo begun; while :; do sleep 0.1; done' },
      (so) => {
        hasBegun ||= so.includes('begun')
      },
    )
    await until(async () => hasBegun, 'the run to begin')
    const waiting = session.begin({ command: 'echo never' })
    await until(async () => (await session.status())?.waiting === 1, 'the second to wait')
    using clock = startFairClock()
    expect((await session.delete()).status).toBe(200)
    const ended = readRun(parseEvents(await running.text))
    expect(clock.elapsedMs()).toBeLessThan(3000)
    expect(ended.exitCode).toBe(-1)
    expect(ended.traceback).toContain('the session was deleted')
    const dropped = readRun(parseEvents(await waiting.text))
    expect(dropped.stdout).toBe('')
    expect(dropped.events.at(-1)?.error?.evalue).toContain('was deleted')
    expect(await session.status()).toBeUndefined()
  })

  test('ends its shell, and leaves what earlier runs left in the background', async () => {
    const session = await open()
    const { stdout } = await session.run('sleep 300 & echo $! $$')
    const [server = 0, shell = 0] = stdout.split(' ').map(Number)
    expect((await session.delete()).status).toBe(200)
    await gone(shell)
    expect(isAlive(server)).toBe(true)
    process.kill(server, 'SIGKILL')
    expect(existsSync(join(execd.dir, 'sessions', session.id))).toBe(false)
  })

  test('lets the shell run its EXIT trap', async () => {
    const session = await open()
    const flag = join(execd.workdir, 'exit-trap')
    await session.run(`trap "touch ${flag}" EXIT`)
    await session.delete()
    expect(existsSync(flag)).toBe(true)
  })

  test('comes with that of execd, for everything in it', async () => {
    const other = await startDaemon()
    const session = await createSession(other)
    const { stdout } = await session.run('sleep 300 & echo $! $$')
    session.begin({ command: 'sleep 300' })
    await until(async () => (await session.status())?.running, 'the run to begin')
    await other.stop()
    for (const pid of stdout.split(' ').map(Number)) await gone(pid)
  })
})
