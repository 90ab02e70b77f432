import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CommandStatus } from '../../lib/api/execd.ts'
import {
  type Daemon,
  type Event,
  idOf,
  outputOf,
  parseEvents,
  startDaemon,
  until,
  withEnoughTime,
  withOnePing,
} from './daemon.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const last = (events: Event[]) => events.at(-1)
const status = async (id: string) => (await execd.call(`/command/status/${id}`)).json()

describe('a foreground command', () => {
  test('streams init, ping, output, and one end', async () => {
    const response = await execd.call('/command', { method: 'POST', body: '{"command":"echo hello"}' })
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const text = await response.text()
    expect(text).not.toContain('data:')
    const events = withOnePing(parseEvents(text))
    expect(events.map((event) => event.type)).toEqual(['init', 'ping', 'stdout', 'execution_complete'])
    expect(idOf(events)).toMatch(/^[0-9a-f]{32}$/)
    expect(events[2]?.text).toBe('hello\n')
    for (const event of events) expect(Number.isInteger(event.timestamp)).toBe(true)
    expect(Number.isInteger(last(events)?.execution_time)).toBe(true)
  })

  test('L3: keeps stdout and stderr apart, and every byte of both: a final newline is told from none', async () => {
    const events = await execd.run({ command: 'printf "a\\r\\n\\nb"; printf "x\\ny" >&2' })
    expect(outputOf(events)).toBe('a\r\n\nb')
    expect(outputOf(events, 'stderr')).toBe('x\ny')
  })

  test('tells a failure by an error event with the code as text', async () => {
    const events = await execd.run({ command: 'exit 7' })
    expect(last(events)).toMatchObject({
      type: 'error',
      error: { ename: 'CommandExecError', evalue: '7', traceback: ['exit status 7'] },
    })
    expect(events.filter((event) => event.type === 'execution_complete')).toEqual([])
    expect(await status(idOf(events))).toMatchObject({ running: false, exit_code: 7, error: 'exit status 7' })
  })

  test('tells a program that does not exist in the words of the shell', async () => {
    const events = await execd.run({ command: 'no-such-program-here' })
    expect(last(events)?.error?.evalue).toBe('127')
    expect(outputOf(events, 'stderr')).toContain('no-such-program-here')
  })

  test('L10: ended by a signal has -1, and its status names the signal', async () => {
    const events = await execd.run({ command: 'kill -SEGV $$' })
    expect(last(events)?.error).toEqual({
      ename: 'CommandExecError',
      evalue: '-1',
      traceback: ['signal: segmentation fault'],
    })
    expect(await status(idOf(events))).toMatchObject({ exit_code: -1, signal: 'SIGSEGV' })
    const exited = await status(idOf(await execd.run({ command: 'exit 139' })))
    expect(exited).toMatchObject({ exit_code: 139 })
    expect(exited).not.toHaveProperty('signal')
  })

  test('can write to /dev/stderr and /dev/stdout by name, as a socket could not', async () => {
    const events = await execd.run({ command: 'echo out > /dev/stdout; echo err > /dev/stderr' })
    expect(last(events)?.type).toBe('execution_complete')
    expect([outputOf(events), outputOf(events, 'stderr')]).toEqual(['out\n', 'err\n'])
  })

  test('can write to /dev/stdout as another user', async () => {
    const events = await execd.run({ command: 'id -u; echo out > /dev/stdout', uid: 12345, cwd: '/' })
    expect(outputOf(events)).toBe('12345\nout\n')
  })

  test('R4: ends when its process has exited though a child holds its output, and the child lives on', async () => {
    const go = join(execd.workdir, 'go-on')
    const flag = join(execd.workdir, 'late')
    execFileSync('mkfifo', [go])
    const events = await execd.run({
      command: `(read -r _ < ${go}; echo later; echo later >&2; echo done > ${flag}; sleep 30) & echo pid $!`,
    })
    expect(last(events)?.type).toBe('execution_complete')
    // Only now: had the end waited for the child, it would never have come.
    writeFileSync(go, 'go\n')
    // It has written to its output after the end of the stream and did not die of it.
    await until(async () => existsSync(flag), 'the child left in the background')
    // That output is bounded like any other, and can be fetched.
    const log = async () => (await execd.call(`/command/${idOf(events)}/logs`)).text()
    await until(async () => (await log()).match(/later/g)?.length === 2, 'what the child wrote')
    process.kill(Number(outputOf(events).split(' ')[1]), 'SIGKILL')
  })

  test('ends though a child floods its output', async () => {
    const events = await execd.run({ command: 'yes & echo pid $!', timeout: 20_000 })
    expect(last(events)?.type).toBe('execution_complete')
    process.kill(Number(/pid (\d+)/.exec(outputOf(events))?.[1]), 'SIGKILL')
  })

  test('gives all of a large output', async () => {
    const events = await execd.run({ command: 'seq 1 200000' })
    const text = outputOf(events)
    expect(text.length).toBe(1_288_895)
    expect(text.endsWith('199999\n200000\n')).toBe(true)
  })

  test('L2: gives a line of 256 KiB as one event, and a binary mess as text with its bytes', async () => {
    const events = await execd.run({
      command: 'head -c 262144 /dev/zero | tr "\\0" x; echo; printf "\\377\\200ok"',
    })
    const [long, mess] = events.filter((event) => event.type === 'stdout')
    expect(long?.text).toBe(`${'x'.repeat(262144)}\n`)
    expect(long).not.toHaveProperty('bytes_base64')
    expect(mess).toMatchObject({ text: '\ufffd\ufffdok', bytes_base64: '/4Bvaw==' })
  })

  test('L8: escapes the line breaks that one client splits at', async () => {
    const response = await execd.call('/command', {
      method: 'POST',
      body: JSON.stringify({ command: "printf 'a\u0085b\u2028c\u2029d'" }),
    })
    const text = await response.text()
    expect(text).not.toMatch(/[\u0085\u2028\u2029]/)
    expect(outputOf(parseEvents(text))).toBe('a\u0085b\u2028c\u2029d')
  })

  test('S2: streams output while it runs', async () => {
    const fifo = join(execd.workdir, 'go')
    execFileSync('mkfifo', [fifo])
    const response = await execd.call('/command', {
      method: 'POST',
      body: JSON.stringify({ command: `echo first; cat ${fifo}` }),
    })
    let text = ''
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString()
      // Only now may the command go on: had the first line been held back, this would never end.
      if (text.includes('first') && !text.includes('second'))
        execFileSync('sh', ['-c', `echo second > ${fifo}`])
    }
    expect(outputOf(parseEvents(text))).toBe('first\nsecond\n')
  })

  test('X2: gets the boot environment and the request, and nothing of execd', async () => {
    const events = await execd.run({ command: 'env', envs: { MINE: 'a b', FROM_BOOT: 'changed' } })
    const env = outputOf(events)
    expect(env).toContain('MINE=a b\n')
    expect(env).toContain('FROM_BOOT=changed\n')
    expect(env).not.toMatch(/NODE|LD_LIBRARY|TOKEN|secret/i)
    expect(outputOf(await execd.run({ command: 'env' }))).toContain('FROM_BOOT=yes\n')
  })

  test('leaves no open files of execd in a child', async () => {
    const list = 'ls /proc/self/fd | tr "\\n" " "'
    // What this test itself was started with goes to execd and on to its children.
    const ours = execFileSync('sh', ['-c', list], { encoding: 'utf8' })
    expect(outputOf(await execd.run({ command: list }))).toBe(ours)
  })

  test('sees variables that a client has put into the environment file', async () => {
    const set = `printf '%s\\n' "LATER='it is'" >> "$EXECD_ENVS"`
    expect(last(await execd.run({ command: set }))?.type).toBe('execution_complete')
    expect(outputOf(await execd.run({ command: 'echo "$LATER"' }))).toBe('it is\n')
    expect(outputOf(await execd.run({ command: 'echo "$LATER"', envs: { LATER: 'x' } }))).toBe('x\n')
    rmSync(join(execd.dir, 'env'))
  })

  test('starts where it is told, by a variable of its request too', async () => {
    expect(outputOf(await execd.run({ command: 'pwd' }))).toBe(`${execd.workdir}\n`)
    expect(outputOf(await execd.run({ command: 'pwd', cwd: '/tmp' }))).toBe('/tmp\n')
    expect(outputOf(await execd.run({ command: 'pwd', cwd: '$WHERE/..', envs: { WHERE: '/usr/lib' } }))).toBe(
      '/usr\n',
    )
  })

  test('runs a program without a shell', async () => {
    const events = await execd.run({ argv: ['printf', '%s|', '$HOME', 'a b', ''] })
    expect(outputOf(events)).toBe('$HOME|a b||')
  })

  test('that cannot be started has an error event with the reason', async () => {
    const events = await execd.run({ argv: ['no-such-program-here'] })
    expect(withOnePing(events).map((event) => event.type)).toEqual(['init', 'ping', 'error'])
    const { evalue, traceback } = last(events)?.error ?? { evalue: '', traceback: [] }
    expect(evalue).toContain('"no-such-program-here"')
    expect(traceback).toEqual([evalue])
  })

  test('may be longer than one argument can be', async () => {
    const events = await execd.run({ command: `#${'x'.repeat(300_000)}\necho "end $0" | tail -c 4\nexit 3` })
    expect(outputOf(events)).toBe('.sh\n')
    expect(last(events)?.error?.evalue).toBe('3')
  })

  test('X6: runs as a user with that home and those groups, not with the group of root', async () => {
    const events = await execd.run({ command: 'id -u; id -g; echo $HOME $USER', uid: 65534, cwd: '/' })
    const nobody = readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((line) => line.split(':')[2] === '65534')
    const [name, , , gid, , home] = nobody?.split(':') ?? []
    expect(outputOf(events)).toBe(`65534\n${gid}\n${home} ${name}\n`)
    expect(outputOf(await execd.run({ command: 'id -g', uid: 54321, cwd: '/' }))).toBe('54321\n')
    expect(outputOf(await execd.run({ command: 'id -G', uid: 54321, gid: 7, cwd: '/' }))).toBe('7\n')
    // Nobody's home is root's, whose files are not for them.
    const unknown = await execd.run({ command: 'echo "$HOME|$USER|$LOGNAME"', uid: 54321, cwd: '/' })
    expect(outputOf(unknown)).toBe('/||\n')
  })

  test('L6: goes on when its client leaves', async () => {
    const flag = join(execd.workdir, 'left')
    const body = JSON.stringify({ command: `echo started; sleep 0.3; seq 1 100000; echo done > ${flag}` })
    await new Promise<void>((resolve, reject) => {
      const sent = request(
        `${execd.url}/command`,
        { method: 'POST', headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' } },
        (response) => {
          response.once('data', () => {
            sent.destroy()
            resolve()
          })
          response.on('error', () => {})
        },
      )
      sent.once('error', reject)
      sent.end(body)
    })
    await until(async () => existsSync(flag), 'the command of a client that left')
  })

  test('X16: does not make execd grow when its client does not read, and can be interrupted all the same', async () => {
    const sent = request(`${execd.url}/command`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    })
    sent.end('{"command":"yes"}')
    const response = await new Promise<NodeJS.ReadableStream>((resolve) => sent.once('response', resolve))
    response.pause()
    const written = () =>
      Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${execd.process.pid}/io`, 'utf8'))?.[1] ?? 0)
    // It stands still: as much was written as sockets take, and no more comes.
    let before = -1
    await until(async () => {
      await new Promise((resolve) => setTimeout(resolve, 200))
      const now = written()
      const isStill = now === before
      before = now
      return isStill
    }, 'the stream to stand still')
    expect((await execd.call('/ping')).status).toBe(200)
    const memory = Number(
      /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${execd.process.pid}/status`, 'utf8'))?.[1] ?? 0,
    )
    expect(memory).toBeLessThan(300_000)
    // Nobody has read its id: it is the one that runs.
    const [command] = (await (await execd.call('/commands?running=true')).json()) as CommandStatus[]
    expect(command).toMatchObject({ content: 'yes', running: true })
    expect((await execd.call(`/command?id=${command?.id}`, { method: 'DELETE' })).status).toBe(200)
    expect(await status(command?.id ?? '')).toMatchObject({ running: false, signal: 'SIGTERM' })
    sent.on('error', () => {})
    sent.destroy()
  })

  test('is ended by its timeout, with all its children', async () => {
    const events = await withEnoughTime(async (timeout) => {
      const all = await execd.run({ command: 'sleep 300 & echo $!; sleep 300', timeout })
      expect(last(all)?.error).toMatchObject({
        evalue: '-1',
        traceback: [expect.any(String), `timed out after ${timeout} ms`],
      })
      return outputOf(all) !== '' && all
    }, 'the command to begin')
    await gone(Number(outputOf(events)))
    expect(await status(idOf(events))).toMatchObject({ exit_code: -1, timed_out: true })
  })

  test('that ignores TERM is killed after the grace, and has failed whatever it says', async () => {
    const runArmed = (trap: string) =>
      withEnoughTime(async (timeout) => {
        const events = await execd.run({
          command: `trap "${trap}" TERM; echo armed; while :; do sleep 0.05; done`,
          timeout,
        })
        return outputOf(events) !== '' && last(events)?.error
      }, 'the command to be armed')
    expect((await runArmed('')).traceback[0]).toBe('signal: killed')
    expect((await runArmed('exit 0')).evalue).toBe('-1')
  })
})

describe('a background command', () => {
  test('R1: answers at once, is known at once, and its output and end can be asked for', async () => {
    const fifo = join(execd.workdir, 'background')
    execFileSync('mkfifo', [fifo])
    const events = await execd.run({
      command: `echo one; echo two >&2; cat ${fifo}; exit 4`,
      background: true,
    })
    expect(withOnePing(events).map((event) => event.type)).toEqual(['init', 'ping', 'execution_complete'])
    const id = idOf(events)
    const running = await status(id)
    expect(running).toMatchObject({ id, running: true, content: expect.stringContaining('echo one') })
    expect(running).not.toHaveProperty('exit_code')
    expect(running).not.toHaveProperty('finished_at')

    const log = async (cursor?: number) => {
      const response = await execd.call(
        `/command/${id}/logs${cursor === undefined ? '' : `?cursor=${cursor}`}`,
      )
      return {
        text: await response.text(),
        cursor: Number(response.headers.get('EXECD-COMMANDS-TAIL-CURSOR')),
      }
    }
    const first = await until(async () => {
      const found = await log()
      return found.text.includes('two') && found
    }, 'the first lines')
    expect(first).toEqual({ text: 'one\ntwo\n', cursor: 8 })
    expect(await log(8)).toEqual({ text: '', cursor: 8 })
    execFileSync('sh', ['-c', `echo three > ${fifo}`])
    await until(async () => !(await status(id)).running, 'its end')
    expect(await log(8)).toEqual({ text: 'three\n', cursor: 14 })
    expect(await log(100)).toEqual({ text: '', cursor: 100 })
    expect(await status(id)).toMatchObject({ running: false, exit_code: 4, error: 'exit status 4' })
  })

  test('R3: leaves what it started in the background alive', async () => {
    const events = await execd.run({ command: 'sleep 300 & echo $!', background: true })
    const id = idOf(events)
    await until(async () => !(await status(id)).running, 'its end')
    const pid = Number(await (await execd.call(`/command/${id}/logs`)).text())
    process.kill(pid, 0)
    process.kill(pid, 'SIGKILL')
  })

  test('that cannot be started says so', async () => {
    const events = await execd.run({ argv: ['/nowhere/x'], background: true })
    expect(last(events)?.type).toBe('error')
    expect(await status(idOf(events))).toMatchObject({ running: false, exit_code: 255 })
  })

  test('L1: still has its output when someone removed the directory before', async () => {
    rmSync(join(execd.dir, 'commands'), { recursive: true, force: true })
    rmSync(join(execd.dir, 'pipes'), { recursive: true, force: true })
    const id = idOf(await execd.run({ command: 'echo again', background: true }))
    await until(async () => !(await status(id)).running, 'its end')
    expect(await (await execd.call(`/command/${id}/logs`)).text()).toBe('again\n')
    expect(outputOf(await execd.run({ command: 'echo and again' }))).toBe('and again\n')
  })
})

describe('an interrupt', () => {
  const interrupt = (id: string) => execd.call(`/command?id=${id}`, { method: 'DELETE' })

  test('ends the command and its children, and the stream tells it', async () => {
    const running = execd.call('/command', {
      method: 'POST',
      body: '{"command":"sleep 300 & echo $!; sleep 300"}',
    })
    const response = await running
    let text = ''
    let answer: Promise<Response> | undefined
    for await (const chunk of response.body ?? []) {
      text += Buffer.from(chunk).toString()
      if (!answer && text.includes('stdout')) answer = interrupt(idOf(parseEvents(text)))
    }
    expect((await answer)?.status).toBe(200)
    expect((await answer)?.headers.get('content-length')).toBe('0')
    const events = parseEvents(text)
    expect(last(events)?.error).toMatchObject({ evalue: '-1', traceback: ['signal: terminated'] })
    await gone(Number(outputOf(events)))
    const again = await interrupt(idOf(events))
    expect(again.status).toBe(500)
    expect(await again.json()).toMatchObject({
      code: 'RUNTIME_ERROR',
      message: expect.stringContaining('not running'),
    })
  })

  test('of what ignores TERM kills it', async () => {
    const events = await execd.run({
      command: 'trap "" TERM; echo ready; while :; do sleep 0.05; done',
      background: true,
    })
    const log = async () => (await execd.call(`/command/${idOf(events)}/logs`)).text()
    await until(log, 'the command to be ready')
    expect((await interrupt(idOf(events))).status).toBe(200)
    expect(await status(idOf(events))).toMatchObject({ exit_code: -1, error: 'signal: killed' })
  })

  test('needs an id, of a command', async () => {
    expect((await execd.call('/command', { method: 'DELETE' })).status).toBe(400)
    expect((await interrupt('nope')).status).toBe(500)
  })
})

describe('what is wrong', () => {
  test.each([
    ['{', 'not valid JSON'],
    ['', 'empty'],
    ['[]', 'JSON object'],
    ['{"command":""}', 'Exactly one'],
    ['{"command":"ls","cwd":"/nowhere"}', 'working directory "/nowhere" does not exist'],
    ['{"command":"ls","cwd":"/etc/passwd"}', 'working directory "/etc/passwd" is not a directory'],
    ['{"command":"ls","cwd":"$NOPE/x"}', '"NOPE" is not set'],
    [`{"command":"${'x'.repeat(10 << 20)}"}`, 'larger than'],
  ])('in a body is named: %.40s', async (body, message) => {
    const response = await execd.call('/command', { method: 'POST', body })
    expect(response.status).toBe(400)
    expect(await response.json()).toEqual({
      code: 'INVALID_REQUEST_BODY',
      message: expect.stringContaining(message),
    })
  })

  test('in an id or cursor is told', async () => {
    expect((await execd.call('/command/status/nope')).status).toBe(404)
    expect((await execd.call('/command/nope/logs')).status).toBe(400)
    const id = idOf(await execd.run({ command: 'true', background: true }))
    expect((await execd.call(`/command/${id}/logs?cursor=-1`)).status).toBe(400)
    expect((await execd.call('/command/status/%ff')).status).toBe(400)
  })
})

describe('every route', () => {
  test.each(['/ping/', '/command/status/x', '/nope'])('X3: %s wants the token', async (path) => {
    for (const token of ['', 'wrong', 'secret-tokem', 'secret-token2']) {
      const response = await execd.call(path, { headers: { 'X-EXECD-ACCESS-TOKEN': token } })
      expect(response.status).toBe(401)
      expect((await response.json()).error).toContain('X-EXECD-ACCESS-TOKEN')
    }
    expect((await fetch(execd.url + path)).status).toBe(401)
  })

  test('takes the token as the first part of the path, too', async () => {
    const found = await fetch(`${execd.url}/-/secret-token/command/status/nope`)
    expect(found.status).toBe(404)
    const ran = await fetch(`${execd.url}/-/secret-token/command?x=1`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ command: 'echo by path' }),
    })
    expect(await ran.text()).toContain('by path')
    const root = await fetch(`${execd.url}/-/secret-token`)
    expect([root.status, await root.text()]).toEqual([404, '404 page not found'])
    for (const path of [
      '/-/',
      '/-/wrong/metrics',
      '/-/secret-tokem/metrics',
      '/-/-/secret-token/metrics',
      '/-/?secret-token',
    ])
      expect((await fetch(execd.url + path)).status).toBe(401)
    // A wrong header is not made good by a path.
    expect(
      (await execd.call('/-/secret-token/metrics', { headers: { 'X-EXECD-ACCESS-TOKEN': 'wrong' } })).status,
    ).toBe(401)
  })

  test('has a request id, the client’s own when it is one', async () => {
    expect((await execd.call('/ping')).headers.get('x-request-id')).toMatch(/^[0-9a-f]{32}$/)
    const response = await execd.call('/nope', { headers: { 'X-Request-ID': 'mine-1' } })
    expect([response.status, response.headers.get('x-request-id')]).toEqual([404, 'mine-1'])
    expect(await response.text()).toBe('404 page not found')
  })

  test('X12: HEAD /ping is answered as GET is, without a token', async () => {
    const response = await fetch(`${execd.url}/ping`, { method: 'HEAD' })
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '0'])
    expect((await fetch(`${execd.url}/metrics`, { method: 'HEAD' })).status).toBe(401)
  })

  test('X12: GET /ping asks for no token, so that a health probe needs none', async () => {
    for (const headers of [{ 'X-EXECD-ACCESS-TOKEN': '' }, { 'X-EXECD-ACCESS-TOKEN': 'wrong' }]) {
      const response = await execd.call('/ping', { headers })
      expect([response.status, await response.text()]).toEqual([200, ''])
    }
    const other = await execd.call('/ping', { method: 'POST', headers: { 'X-EXECD-ACCESS-TOKEN': '' } })
    expect(other.status).toBe(401)
  })

  test('GET /ping answers with an explicit length of 0', async () => {
    const response = await execd.call('/ping')
    expect([response.status, response.headers.get('content-length')]).toEqual([200, '0'])
  })

  test('redirects a path with one slash too many', async () => {
    const response = await execd.call('/ping/?a=b', { redirect: 'manual' })
    expect([response.status, response.headers.get('location')]).toEqual([301, '/ping?a=b'])
    // With the token that stood before it, for who cannot send the header.
    const byPath = await fetch(`${execd.url}/-/secret-token/metrics/?a=b`, { redirect: 'manual' })
    expect([byPath.status, byPath.headers.get('location')]).toEqual([301, '/-/secret-token/metrics?a=b'])
  })
})

/** Resolves when a process is no more, or is a zombie that nobody has reaped. */
async function gone(pid: number): Promise<void> {
  await until(async () => {
    if (!existsSync(`/proc/${pid}/stat`)) return true
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  }, `process ${pid} to end`)
}
