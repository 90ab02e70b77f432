import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Daemon, parseEvents, startDaemon, until, withOnePing } from './daemon.ts'
import { createSession, readRun, sessionOf } from './session/session-client.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const open = (body?: Record<string, unknown>) => createSession(execd, body)

describe('a session', () => {
  test('is made by an empty body, null, or an object, and has a UUID', async () => {
    for (const body of [undefined, 'null', '{}', '{"cwd":null}', '{"cwd":""}']) {
      const response = await execd.call('/session', { method: 'POST', ...(body ? { body } : {}) })
      expect(response.status).toBe(200)
      const { session_id } = (await response.json()) as { session_id: string }
      expect(session_id).toMatch(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
      const deleted = await sessionOf(execd, session_id).delete()
      expect([deleted.status, deleted.headers.get('content-length')]).toEqual([200, '0'])
    }
  })

  test('runs code with the stream of a command, whose init tells the session', async () => {
    const session = await open()
    const events = withOnePing((await session.run('echo hello')).events)
    expect(events.map(({ type }) => type)).toEqual(['init', 'ping', 'stdout', 'execution_complete'])
    expect(events[0]?.text).toBe(session.id)
    expect(events[2]?.text).toBe('hello\n')
    for (const event of events) expect(Number.isInteger(event.timestamp)).toBe(true)
    expect(Number.isInteger(events[3]?.execution_time)).toBe(true)
    expect(withOnePing((await session.run('true')).events).map(({ type }) => type)).toEqual([
      'init',
      'ping',
      'execution_complete',
    ])
  })

  test('begins in its directory, which is made for the user', async () => {
    const session = await open({ cwd: 'new/deep' })
    expect((await session.run('pwd')).stdout).toBe(`${execd.workdir}/new/deep\n`)
    expect((await (await open({ cwd: '$FROM_BOOT/x' })).run('pwd')).stdout).toBe(`${execd.workdir}/yes/x\n`)
    expect((await (await open({ cwd: '~' })).run('pwd; echo $HOME')).stdout).toMatch(/^(.*)\n\1\n$/)
  })

  test('goes where a run says, for good', async () => {
    const session = await open()
    expect((await session.run('pwd', { cwd: '/tmp' })).stdout).toBe('/tmp\n')
    expect((await session.run('pwd; cd /usr', { cwd: null })).stdout).toBe('/tmp\n')
    expect((await session.run('pwd; echo $OLDPWD')).stdout).toBe('/usr\n/tmp\n')
    expect((await session.status())?.cwd).toBe('/usr')
  })

  test('says what is wrong with a request', async () => {
    const session = await open()
    const refused = async (body: unknown) => {
      const response = await session.post(body)
      return [response.status, await response.json()]
    }
    const invalid = (message: string) => [
      400,
      { code: 'INVALID_REQUEST_BODY', message: expect.stringContaining(message) },
    ]
    expect(await refused('')).toEqual(invalid('empty'))
    expect(await refused('{')).toEqual(invalid('JSON'))
    expect(await refused({})).toEqual(invalid('"command"'))
    expect(await refused({ command: '' })).toEqual(invalid('"command"'))
    expect(await refused({ command: 7 })).toEqual(invalid('"command" must be a text'))
    expect(await refused({ command: 'a\0b' })).toEqual(invalid('NUL'))
    expect(await refused({ command: 'true', timeout: -1 })).toEqual(invalid('"timeout"'))
    expect(await refused({ command: 'true', cwd: '/nowhere' })).toEqual(invalid('"/nowhere" does not exist'))
    expect(await refused({ command: 'true', cwd: '$NOPE' })).toEqual(invalid('"NOPE"'))
    expect((await session.run('pwd')).stdout).toBe(`${execd.workdir}\n`)
    const made = await execd.call('/session', { method: 'POST', body: '{"cwd":"/etc/passwd"}' })
    expect([made.status, await made.json()]).toEqual(invalid('"/etc/passwd" is not a directory'))
  })

  test('that does not exist is a 404, for a run and for the second delete (B8)', async () => {
    const session = await open()
    expect((await session.delete()).status).toBe(200)
    for (const response of [await session.delete(), await session.post({ command: 'true' })]) {
      expect(response.status).toBe(404)
      expect(await response.json()).toEqual({
        code: 'CONTEXT_NOT_FOUND',
        message: expect.stringContaining(session.id),
      })
    }
  })

  test('B9: has the variables of the environment file, also those that come while it is there, and is in the list', async () => {
    const session = await open()
    const before = await session.status()
    expect(before).toMatchObject({
      running: false,
      waiting: 0,
      cwd: execd.workdir,
      shell: 'bash',
      restarts: 0,
    })
    expect(before).not.toHaveProperty('last_run_at')
    await execd.run({ command: `printf '%s\\n' "LATER='it is'" >> "$EXECD_ENVS"` })
    expect((await session.run('echo "$LATER"; LATER=mine')).stdout).toBe('it is\n')
    // It is not brought in again over what the session makes of it, and it is when the file says something new.
    expect((await session.run('echo "$LATER"')).stdout).toBe('mine\n')
    await execd.run({ command: `printf '%s\\n' "LATER='new'" >> "$EXECD_ENVS"` })
    expect((await session.run('echo "$LATER"; exit 1')).stdout).toBe('new\n')
    expect((await session.run('echo "$LATER"')).stdout).toBe('new\n')
    expect((await (await open()).run('echo "$LATER"')).stdout).toBe('new\n')
    expect(Date.parse((await session.status())?.last_run_at ?? '')).toBeGreaterThan(0)
  })

  test('has the environment of commands, and nothing of execd', async () => {
    const { stdout } = await (await open()).run('env')
    expect(stdout).toContain('FROM_BOOT=yes\n')
    expect(stdout).not.toMatch(/NODE|LD_LIBRARY|TOKEN|secret/i)
    expect(stdout).not.toContain('OLDPWD=')
  })

  test('has no descriptor of ours, and its children have none either', async () => {
    const list = 'ls /proc/self/fd | tr "\\n" " "'
    const ours = execFileSync('sh', ['-c', list], { encoding: 'utf8' })
    const session = await open()
    for (let count = 0; count < 3; count++) expect((await session.run(list)).stdout).toBe(ours)
  })

  test('gives each session a shell of its own', async () => {
    const [one, two] = [await open(), await open()]
    await Promise.all([one.run('V=one; cd /'), two.run('V=two; cd /tmp')])
    expect((await one.run('echo $V $PWD')).stdout).toBe('one /\n')
    expect((await two.run('echo $V $PWD')).stdout).toBe('two /tmp\n')
  })

  test('is refused when there are too many', async () => {
    await using other = await startDaemon()
    const made = []
    for (let count = 0; count < 256; count++) made.push(createSession(other))
    const sessions = await Promise.all(made)
    const response = await other.call('/session', { method: 'POST' })
    expect(response.status).toBe(429)
    expect(await response.json()).toEqual({ code: 'TOO_MANY', message: expect.stringContaining('256') })
    expect((await sessions[255]?.run('echo works'))?.stdout).toBe('works\n')
    expect((await sessions[0]?.delete())?.status).toBe(200)
    await createSession(other)
  }, 120_000)
})

describe('the output of a run', () => {
  test('B6: is kept apart by stream, with every line as it was', async () => {
    const session = await open()
    const { events, stdout, stderr } = await session.run(
      'printf "a\\r\\n\\n  b  \\n\\nlast"; printf "x\\n\\ny" >&2',
    )
    expect(stdout).toBe('a\r\n\n  b  \n\nlast')
    expect(stderr).toBe('x\n\ny')
    expect(events.filter(({ type }) => type === 'stdout').map(({ text }) => text)).toEqual([
      'a\r\n',
      '\n',
      '  b  \n',
      '\n',
      'last',
    ])
  })

  test('B6: is all there when it is much, in lines of any length', async () => {
    const session = await open()
    const seq = await session.run('seq 1 200000')
    expect(seq.stdout.length).toBe(1_288_895)
    expect(seq.stdout.endsWith('199999\n200000\n')).toBe(true)
    const long = await session.run('head -c 17000000 /dev/zero | tr "\\0" x; echo; echo next')
    expect(long.stdout.length).toBe(17_000_006)
    expect(long.exitCode).toBe(0)
  })

  test('goes to /dev/stdout and /dev/stderr by name, too', async () => {
    const { stdout, stderr } = await (await open()).run('echo out > /dev/stdout; echo err > /dev/stderr')
    expect([stdout, stderr]).toEqual(['out\n', 'err\n'])
  })

  test('comes while the code runs', async () => {
    const session = await open()
    const fifo = join(execd.workdir, 'go')
    execFileSync('mkfifo', [fifo])
    let hasGone = false
    const { text } = session.begin({ command: `echo first; cat ${fifo}` }, (so) => {
      if (hasGone || !so.includes('first')) return
      hasGone = true
      // Only now may the code go on: had the first line been held back, this would never end.
      execFileSync('sh', ['-c', `echo second > ${fifo}`])
    })
    expect(readRun(parseEvents(await text)).stdout).toBe('first\nsecond\n')
  })

  test('B2: a server in the background neither hangs a run nor dies with it, and writes into no other', async () => {
    const session = await open()
    const flag = join(execd.workdir, 'server-goes-on')
    // It waits for what only the next run does.
    const run = await session.run(
      `(while [ ! -e ${flag} ]; do sleep 0.02; done; echo late; echo late >&2; echo done >> ${flag}; exec sleep 300) & echo $!`,
    )
    expect(run.exitCode).toBe(0)
    const pid = Number(run.stdout)
    const next = await session.run(`echo go > ${flag}; sleep 0.3; kill -0 ${pid} && echo alive`)
    expect([next.stdout, next.stderr]).toEqual(['alive\n', ''])
    // It has written to the output of a run that is over, and did not die of it.
    await until(async () => readFileSync(flag, 'utf8').includes('done'), 'the server to go on')
    expect((await session.run(`kill ${pid}; wait ${pid}; echo $?`)).stdout).toBe('143\n')
  })

  test('B2: a flood from the background does not hold up the end of a run, nor reach the next', async () => {
    const session = await open()
    const run = await session.run('yes flood & echo pid $!')
    expect(run.exitCode).toBe(0)
    expect((await session.run('echo clean')).stdout).toBe('clean\n')
    await session.run('kill %1')
  })

  test('of a client that does not read does not make execd grow', async () => {
    const session = await open()
    const headers = { 'X-EXECD-ACCESS-TOKEN': 'secret-token' }
    const sent = request(`${execd.url}/session/${session.id}/run`, { method: 'POST', headers })
    sent.end('{"command":"yes"}')
    const response = await new Promise<NodeJS.ReadableStream>((resolve) => sent.once('response', resolve))
    response.pause()
    const number = (file: string, name: string) =>
      Number(
        new RegExp(`${name}:\\s+(\\d+)`).exec(
          readFileSync(`/proc/${execd.process.pid}/${file}`, 'utf8'),
        )?.[1],
      )
    // It stands still: as much was written as sockets take, and no more comes.
    let before = -1
    await until(async () => {
      await new Promise((resolve) => setTimeout(resolve, 200))
      const now = number('io', 'wchar')
      const isStill = now === before
      before = now
      return isStill
    }, 'the stream to stand still')
    expect(number('status', 'VmRSS')).toBeLessThan(300_000)
    sent.on('error', () => {})
    sent.destroy()
    await until(async () => (await session.status())?.running === false, 'the run to end')
  })
})

describe('runs at the same time', () => {
  test('R7: take turns in the order of their coming', async () => {
    const session = await open()
    await session.run('n=0')
    const runs = await Promise.all(
      Array.from({ length: 20 }, () => session.run('before=$n; sleep 0.01; n=$((before + 1)); echo $n')),
    )
    expect(runs.map(({ stdout }) => Number(stdout))).toEqual(runs.map((_, index) => index + 1))
  })

  test('R7: are refused beyond a bound, and a client that leaves while it waits is dropped', async () => {
    const session = await open()
    const first = session.begin({ command: 'sleep 300' })
    await until(async () => (await session.status())?.running, 'the first to run')
    const flag = join(execd.workdir, 'dropped-ran')
    const waiting = Array.from({ length: 64 }, () => session.begin({ command: `touch ${flag}` }))
    await until(async () => (await session.status())?.waiting === 64, '64 to wait')
    const refused = await session.post({ command: 'true' })
    expect(refused.status).toBe(429)
    expect(await refused.json()).toEqual({ code: 'TOO_MANY', message: expect.stringContaining('64') })
    for (const { leave } of waiting) leave()
    await until(async () => (await session.status())?.waiting === 0, 'the others to be dropped')
    const last = session.run('echo last')
    first.leave()
    expect((await last).stdout).toBe('last\n')
    expect(existsSync(flag)).toBe(false)
  })

  test('a run that waits hears that execd is there, and what fails at its turn is an error event', async () => {
    const session = await open()
    const first = session.begin({ command: 'sleep 300' })
    await until(async () => (await session.status())?.running, 'the first to run')
    let text = ''
    const second = session.begin({ command: 'true', cwd: '/nowhere' }, (so) => {
      text = so
    })
    await until(async () => text.includes('"init"'), 'the stream of the second to begin')
    first.leave()
    const run = readRun(parseEvents(await second.text))
    expect(run.events.at(-1)?.error).toMatchObject({
      ename: 'CommandExecError',
      evalue: 'working directory "/nowhere" does not exist',
    })
  })
})
