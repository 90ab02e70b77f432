// Terminals on a real execd, over real sockets (contract: execd.md 5).

import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { WebSocket } from 'ws'
import { startFairClock } from '../support/fair-time.ts'
import { type Daemon, outputOf, startDaemon, until } from './daemon.ts'
import { createPty, openSocket, PtyClient, refusal, statusOf } from './pty/pty-client.ts'

let execd: Daemon
beforeAll(async () => {
  execd = await startDaemon()
})
afterAll(() => execd[Symbol.asyncDispose]())

const open = async (body: Record<string, unknown> = {}, query = '') => {
  const id = await createPty(execd, body)
  return { id, client: await PtyClient.connect(execd, id, query) }
}
const connect = (id: string, query = '') => PtyClient.connect(execd, id, query)
const isAlive = (pid: number) => existsSync(`/proc/${pid}`) && !/^State:\s+Z/m.test(statusFile(pid))
const statusFile = (pid: number) => {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return 'State:\tZ'
  }
}

describe('the routes of sessions', () => {
  test('create one that runs nothing yet, tell its state, and forget it', async () => {
    const response = await execd.call('/pty', { method: 'POST' })
    expect(response.status).toBe(201)
    const { session_id: id } = (await response.json()) as { session_id: string }
    expect(await statusOf(execd, id)).toMatchObject({ session_id: id, running: false, output_offset: 0 })
    expect((await statusOf(execd, id)).launch_attempted).toBe(false)
    const client = await connect(id)
    await client.run('echo something')
    const status = await statusOf(execd, id)
    expect(status.running).toBe(true)
    expect(status.output_offset).toBeGreaterThan(0)
    const deleted = await execd.call(`/pty/${id}`, { method: 'DELETE' })
    expect([deleted.status, deleted.headers.get('content-length')]).toEqual([200, '0'])
    for (const method of ['GET', 'DELETE']) {
      const gone = await execd.call(`/pty/${id}`, { method })
      expect([gone.status, ((await gone.json()) as { code: string }).code]).toEqual([
        404,
        'CONTEXT_NOT_FOUND',
      ])
    }
    expect((await refusal(execd, id)).status).toBe(404)
  })

  test.each(['', '{}', 'null', '{"cwd":null,"command":null}'])('take the body %j', async (body) => {
    const response = await execd.call('/pty', { method: 'POST', body })
    expect(response.status).toBe(201)
  })

  test.each([
    ['[]', 'The body must be a JSON object: found a list'],
    ['{', 'The body is not valid JSON'],
    ['{"cwd":5}', '"cwd" must be a text: found 5'],
    ['{"cols":0}', '"cols" must be an integer from 1 to 65535: found 0'],
    ['{"rows":70000}', '"rows" must be an integer from 1 to 65535: found 70000'],
    ['{"gid":5}', '"gid" needs "uid" beside it'],
    ['{"envs":{"A=B":"c"}}', '"envs" has a name that no variable can have: "A=B"'],
    ['{"argv":["true"],"command":"x"}', '"argv" excludes "command" and "shell"'],
    ['{"argv":[]}', '"argv[0]" must name a program'],
    ['{"cwd":"/proc/version"}', 'working directory "/proc/version" is not a directory'],
  ])('refuse the body %s', async (body, message) => {
    const response = await execd.call('/pty', { method: 'POST', body })
    expect([response.status, await response.json()]).toEqual([400, { code: 'INVALID_REQUEST_BODY', message }])
  })

  test('R9: a directory that cannot be made is one error with one body', async () => {
    const response = await execd.call('/pty', { method: 'POST', body: '{"cwd":"/proc/no/such"}' })
    expect(response.status).toBe(500)
    expect(JSON.parse(await response.text())).toMatchObject({ code: 'RUNTIME_ERROR' })
  })

  test('Y8: a list has every session', async () => {
    const id = await createPty(execd, { command: 'cat' })
    const { sessions } = (await (await execd.call('/pty')).json()) as { sessions: { session_id: string }[] }
    expect(sessions.find(({ session_id }) => session_id === id)).toMatchObject({
      running: false,
      command: 'cat',
    })
  })
})

describe('a connection', () => {
  test('begins with what it may do, and the shell of the contract on a terminal of 80 x 24', async () => {
    const { id, client } = await open()
    expect(client.frames[0]).toEqual({
      kind: 'text',
      value: { type: 'connected', session_id: id, mode: 'pty' },
    })
    expect(
      await client.run("stty size; shopt login_shell; tty; tr '\\0' ' ' < /proc/$$/cmdline; echo"),
    ).toMatch(/24 80\r\nlogin_shell\s+off\r\n\/dev\/pts\/\d+\r\n\S*bash --norc --noprofile \r\n/)
  })

  test('needs the upgrade, a session, and a place that is free', async () => {
    const { id, client } = await open()
    const plain = await execd.call(`/pty/${await createPty(execd)}/ws`)
    expect([plain.status, await plain.json()]).toEqual([
      400,
      { code: 'INVALID_REQUEST_BODY', message: 'This route needs an upgrade to WebSocket' },
    ])
    expect(await refusal(execd, 'missing')).toMatchObject({
      status: 404,
      body: { code: 'CONTEXT_NOT_FOUND' },
    })
    expect(await refusal(execd, id)).toMatchObject({ status: 409, body: { code: 'ALREADY_CONNECTED' } })
    expect(await refusal(execd, id, '?takeover=0')).toMatchObject({ status: 409 })
    // Not even an attempt without an upgrade, or with a broken handshake, disturbs the holder.
    for (const path of [`/pty/${id}/ws?takeover=1`, `/pty/${id}/ws`]) {
      const response = await execd.call(path)
      expect([response.status, await response.json()]).toMatchObject([409, { code: 'ALREADY_CONNECTED' }])
    }
    const broken = request(`${execd.url}/pty/${id}/ws?takeover=1`, {
      headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    }).end()
    const [response] = (await once(broken, 'response')) as [IncomingMessage]
    expect(response.resume().statusCode).toBe(400)
    expect(await client.run('echo still here')).toContain('still here')
  })

  test('Y11: garbage in "since" is refused before the upgrade, and a number before the beginning is the beginning', async () => {
    const { id, client } = await open()
    await client.run('echo first')
    expect(await refusal(execd, id, '?takeover=1&since=1e3')).toEqual({
      status: 400,
      body: {
        code: 'INVALID_REQUEST_BODY',
        message: '"since" must be an integer, an offset in bytes: found "1e3"',
      },
    })
    const again = await connect(id, '?takeover=1&since=-5')
    expect(again.frames[0]).toMatchObject({ kind: 'replay', offset: 0 })
  })

  test('answers pings, and names a frame of a type that there is not', async () => {
    const { client } = await open()
    client.send({ type: 'ping' })
    await client.text('pong')
    client.send({ type: 'dance' })
    expect(await client.text('error')).toEqual({
      type: 'error',
      error: '"type" must be "stdin", "resize", "signal", "ping" or "eof": found "dance"',
      code: 'INVALID_FRAME',
    })
    expect(await client.run('echo $((6*7))')).toContain('42')
  })

  test('passes over what the contract passes over', async () => {
    const { client } = await open()
    for (const text of ['no json', '5', '[]', '{"type":7}', '{"type":"stdin","data":7}']) client.ws.send(text)
    client.send({ type: 'resize', cols: 0, rows: 10 })
    client.send({ type: 'resize', cols: 100000, rows: 10 })
    client.send({ type: 'signal', signal: 'SIGSEGV' })
    for (const bytes of [[], [1, 65], [9]]) client.ws.send(Buffer.from(bytes), { binary: true })
    expect(await client.run('stty size')).toContain('24 80')
    expect(client.frames.filter(({ kind }) => kind === 'text')).toHaveLength(1)
  })

  test('Y11: a frame that is too large closes the connection with a code that says so, and the shell lives', async () => {
    const { id, client } = await open()
    await client.run('kept=yes')
    client.type(Buffer.alloc((8 << 20) + 1))
    expect((await client.closed).code).toBe(1009)
    await until(async () => !(await statusOf(execd, id)).connected, 'the end of the connection')
    expect(await (await connect(id)).run('echo is $kept')).toContain('is yes')
  })

  test('X4: a page of another site gets nowhere without the token, and programs may send any origin', async () => {
    const id = await createPty(execd)
    const headers = { Origin: 'https://attacker.example' }
    const refused = await refusal(execd, id, '', { headers: { ...headers, 'X-EXECD-ACCESS-TOKEN': '' } })
    expect(refused.status).toBe(401)
    expect((await statusOf(execd, id)).launch_attempted).toBe(false)
    const client = new PtyClient(openSocket(execd, id, '', { headers }))
    onTestFinished(() => client.ws.terminate())
    await client.text('connected')
  })

  test('R10: leaves no socket behind, however it ends', async () => {
    const { pid = 0 } = execd.process
    const count = () => readdirSync(`/proc/${pid}/fd`).length
    const id = await createPty(execd, { command: 'cat' })
    await (await connect(id)).ws.terminate()
    await until(async () => !(await statusOf(execd, id)).connected, 'the end of the first connection')
    const before = count()
    for (let round = 0; round < 5; round++) {
      const closing = await connect(id)
      closing.ws.close()
      await closing.closed
      const breaking = await connect(id, '?takeover=1')
      breaking.ws.terminate()
      const sending = await connect(id, '?takeover=1')
      sending.ws.send(Buffer.alloc((8 << 20) + 1))
      await sending.closed
      await refusal(execd, 'missing')
      const viewer = await connect(id, '?view=1')
      viewer.ws.terminate()
    }
    await until(async () => count() <= before, 'the end of all connections')
  })
})

describe('output', () => {
  test('passes every byte, escape sequences too', async () => {
    const { client } = await open({
      command: String.raw`stty raw; printf '\033[31mred\377\200\n'; sleep 0.1`,
    })
    await client.closed
    expect(client.bytes().toString('latin1')).toBe('\x1b[31mred\xff\x80\n')
  })

  test('Y1: all of it comes before the end, and the end is the last frame', async () => {
    for (let round = 0; round < 10; round++) {
      const { client } = await open({ command: 'seq 1 5000; printf last' })
      expect(await client.closed).toEqual({ code: 1000, reason: 'process exited' })
      expect(client.output.endsWith('4999\r\n5000\r\nlast')).toBe(true)
      expect(client.frames.at(-1)).toEqual({ kind: 'text', value: { type: 'exit', exit_code: 0 } })
    }
  })

  test('Y1: also while a child in the background holds the terminal', async () => {
    const { client } = await open({ command: 'sleep 100 & seq 1 5000; echo pid $! last; exit 3' })
    await client.closed
    const [, pid] = /5000\r\npid (\d+) last\r\n$/.exec(client.output) ?? []
    expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 3 })
    process.kill(Number(pid), 'SIGKILL')
  })

  test('is replayed to who comes later, from where they ask on', async () => {
    const { id, client } = await open()
    await client.run('echo first')
    client.ws.close()
    await client.closed
    await until(async () => !(await statusOf(execd, id)).connected, 'the end of the connection')
    const { output_offset: offset } = await statusOf(execd, id)
    expect(client.bytes().length).toBe(offset)

    const all = await connect(id)
    expect(all.frames[0]).toEqual({ kind: 'replay', offset: 0, bytes: client.bytes() })
    expect(all.frames[1]).toMatchObject({ value: { type: 'connected' } })
    const part = await connect(id, `?takeover=1&since=${offset - 7}`)
    expect(part.frames[0]).toEqual({
      kind: 'replay',
      offset: offset - 7,
      bytes: client.bytes().subarray(offset - 7),
    })
    const none = await connect(id, `?takeover=1&since=${offset}`)
    expect(none.frames[0]).toMatchObject({ value: { type: 'connected' } })
    expect((await connect(id, `?takeover=1&since=${offset + 1000}`)).frames).toHaveLength(1)
  })

  test('is written while nobody is there, and nothing of it comes twice or gets lost', async () => {
    const id = await createPty(execd, {
      command: 'read go; for i in $(seq 1 3000); do echo $i; done; read end',
    })
    let client = await connect(id)
    client.type('go\n')
    await client.see(/go/)
    let bytes = Buffer.alloc(0)
    await until(async () => {
      bytes = Buffer.concat([bytes, client.bytes()])
      if (bytes.toString().endsWith('\n3000\r\n')) return true
      client = await connect(id, `?takeover=1&since=${bytes.length}`)
      return false
    }, 'the last line')
    const lines = bytes.toString().split('\r\n')
    expect(lines.slice(1, -1)).toEqual(Array.from({ length: 3000 }, (_, index) => String(index + 1)))
  })

  test('Y5: a replay that begins where bytes are gone says where, and begins with whole characters and sequences', async () => {
    const id = await createPty(execd, {
      // Of 26 bytes each, so that wherever the buffer turns over, something is likely to be cut.
      command: String.raw`for i in $(seq 1 60000); do printf '\033[38;5;196m\303\244\342\202\254\360\237\230\200\033[0m\n'; done; read end`,
    })
    const first = await connect(id)
    await until(async () => (await statusOf(execd, id)).output_offset === 60_000 * 26, 'all of the output')
    const client = await connect(id, '?takeover=1')
    const [frame] = client.frames
    if (frame?.kind !== 'replay') throw new Error(`There is no replay, but ${JSON.stringify(frame)}`)
    expect(frame.offset + frame.bytes.length).toBe(60_000 * 26)
    expect(frame.bytes.length).toBeLessThanOrEqual(1 << 20)
    expect(frame.bytes.length).toBeGreaterThan((1 << 20) - 30)
    expect(frame.bytes.toString()).not.toContain('\ufffd')
    expect(frame.bytes.toString()).toMatch(/^(?:\x1b\[38;5;196m|ä|€|😀|\x1b\[0m|\r\n)(?:.|\n|\r){100}/u)
    expect((await first.closed).code).toBe(4001)
  })
})

describe('typing', () => {
  test('goes in as bytes and as text', async () => {
    const { client } = await open()
    client.send({ type: 'stdin', data: 'echo as te' })
    client.type('xt\n')
    await client.see(/\ras text\r\n/)
  })

  test('of megabytes arrives whole', async () => {
    const file = join(execd.workdir, 'pasted')
    const { client } = await open({ command: `stty -echo; echo ready; cat > ${file}` })
    await client.see(/ready/)
    const line = `${'x'.repeat(98)}\n`
    const text = Array.from({ length: 30_000 }, (_, index) => `${index} ${line}`).join('')
    for (let at = 0; at < text.length; at += 100_000) client.type(text.slice(at, at + 100_000))
    client.send({ type: 'eof' })
    expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: 0 })
    expect(readFileSync(file, 'utf8') === text).toBe(true)
  })

  test('tells the program the size of the terminal', async () => {
    const { client } = await open()
    client.resize(120, 40)
    expect(await client.run('stty size')).toContain('40 120')
  })

  test('Y2: a signal reaches the job in the foreground, and the shell lives on', async () => {
    const { id, client } = await open()
    const { pid } = await statusOf(execd, id)
    client.type('sleep 1000\n')
    await until(async () => isInFront(pid, 'sleep'), 'the job')
    client.send({ type: 'signal', signal: 'SIGINT' })
    await until(async () => !isInFront(pid, 'sleep'), 'the end of the job')
    client.type('echo status $?\n')
    await client.see(/status 130\r\n/)
    client.type('sleep 1000; echo status $?\n')
    await until(async () => isInFront(pid, 'sleep'), 'the second job')
    client.send({ type: 'signal', signal: 'SIGKILL' })
    await client.see(/status 137\r\n/)
    // With nothing in front it is the shell that gets it, and asks again.
    await client.see(/status 137\r\n[^\n]*# $/)
    client.send({ type: 'signal', signal: 'SIGINT' })
    await client.see(/# \^C[\s\S]*# $/)
    expect(await client.run('echo alive')).toContain('alive')
    expect((await statusOf(execd, id)).pid).toBe(pid)
  })
})

describe('the end of a program', () => {
  test('of any kind is told, by the frame and later by the state', async () => {
    for (const [line, frame] of [
      ['exit 0', { type: 'exit', exit_code: 0 }],
      ['exit 42', { type: 'exit', exit_code: 42 }],
      ['kill -KILL $$', { type: 'exit', exit_code: -1, signal: 'SIGKILL' }],
    ] as const) {
      const { id, client } = await open()
      client.type(`${line}\n`)
      expect(await client.closed).toEqual({ code: 1000, reason: 'process exited' })
      expect(client.frames.at(-1)).toEqual({ kind: 'text', value: frame })
      const { type: _, ...state } = frame
      expect(await statusOf(execd, id)).toMatchObject({ running: false, ...state })
    }
  })

  test('Y6: while nobody is there is told by the state, and the next connection starts anew where the output ended', async () => {
    const { id, client } = await open({ command: 'read -r line; echo got $line; exit 7' })
    client.type('one\n')
    client.ws.terminate()
    await until(async () => (await statusOf(execd, id)).exit_code === 7, 'the end of the program')
    const { output_offset: offset } = await statusOf(execd, id)
    const again = await connect(id)
    expect(again.frames[0]).toMatchObject({ kind: 'replay', offset: 0 })
    expect(again.output).toContain('got one')
    expect(await statusOf(execd, id)).not.toHaveProperty('exit_code')
    again.type('two\n')
    await again.closed
    expect(again.output).toMatch(/got one[\s\S]*got two\r\n$/)
    expect((await statusOf(execd, id)).output_offset).toBe(again.bytes().length)
    expect(again.bytes('output').length).toBe(again.bytes().length - offset)
  })

  test('before it began is an error that says why', async () => {
    const id = await createPty(execd, { argv: ['no-such-program'] })
    const client = new PtyClient(openSocket(execd, id))
    expect(await client.text('error')).toEqual({
      type: 'error',
      error: 'Cannot find the program "no-such-program" in PATH "/usr/bin:/bin"',
      code: 'START_FAILED',
    })
    expect(await client.closed).toEqual({ code: 1011, reason: 'start failed' })
    expect(await statusOf(execd, id)).toMatchObject({ running: false, launch_failed: true })

    const script = join(execd.workdir, 'script')
    writeFileSync(script, '#!/no/such/interpreter\n', { mode: 0o755 })
    const { client: second } = await open({ argv: [script] })
    expect(await second.text('error')).toMatchObject({
      code: 'START_FAILED',
      error: 'No such file or directory',
    })
    await second.closed
  })
})

describe('a second client', () => {
  test('takes over: the first is told, the shell stays', async () => {
    const { id, client } = await open()
    await client.run('kept=yes; echo earlier')
    const winner = await connect(id, '?takeover=1')
    expect(await client.closed).toEqual({ code: 4001, reason: 'TAKEN_OVER' })
    expect(winner.bytes('replay').toString()).toContain('earlier')
    expect(await winner.run('echo is $kept')).toContain('is yes')
  })

  test('takes over nothing on a free session', async () => {
    const { client } = await open({}, '?takeover=1')
    expect(await client.run('echo here')).toContain('here')
  })

  test('R15: that may not take over is told before the upgrade, and one that may is never told afterwards', async () => {
    const { id, client } = await open()
    // The loser neither reads nor answers.
    client.ws.pause()
    const winner = await connect(id, '?takeover=1')
    expect(await winner.run('echo mine')).toContain('mine')
    expect(winner.frames.some((frame) => frame.kind === 'text' && frame.value.type === 'error')).toBe(false)
    expect((await refusal(execd, id)).status).toBe(409)
  })

  test('and five more at once: all but one lose, and the shell survives', async () => {
    const { id, client } = await open()
    await client.run('kept=yes')
    const { pid } = await statusOf(execd, id)
    const takers = Array.from({ length: 6 }, () => new PtyClient(openSocket(execd, id, '?takeover=1')))
    onTestFinished(() => {
      for (const taker of takers) taker.ws.terminate()
    })
    await Promise.all(takers.map((taker) => taker.text('connected')))
    const ends = await until(async () => {
      const open = takers.filter((taker) => taker.ws.readyState === WebSocket.OPEN)
      return open.length === 1 ? open : undefined
    }, 'one winner')
    const losers = takers.filter((taker) => taker !== ends[0])
    expect(await Promise.all([client, ...losers].map(({ closed }) => closed))).toEqual(
      Array.from({ length: 6 }, () => ({ code: 4001, reason: 'TAKEN_OVER' })),
    )
    expect(await ends[0]?.run('echo is $kept')).toContain('is yes')
    expect((await statusOf(execd, id)).pid).toBe(pid)
  })

  test('Y4: may watch, and many may; none of them types or stands in the way', async () => {
    const id = await createPty(execd)
    const early = await connect(id, '?view=1')
    expect(early.frames).toEqual([
      { kind: 'text', value: { type: 'connected', session_id: id, mode: 'pty', view: true } },
    ])
    expect((await statusOf(execd, id)).running).toBe(false)
    const client = await connect(id)
    await client.run('echo for all')
    const late = await connect(id, '?view=1')
    expect(late.bytes('replay').toString()).toContain('for all')
    late.type('echo typed\n')
    expect(await late.text('error')).toMatchObject({ code: 'INVALID_FRAME' })
    late.send({ type: 'ping' })
    await late.text('pong')
    await client.run('echo more')
    await until(
      async () => early.output === client.output && late.output === client.output,
      'the same output',
    )
    expect(client.output).not.toContain('typed')
    expect(await statusOf(execd, id)).toMatchObject({ connected: true, viewers: 2 })

    for (let count = 2; count < 16; count++) await connect(id, '?view=1')
    expect(await refusal(execd, id, '?view=1')).toMatchObject({ status: 429, body: { code: 'TOO_MANY' } })
    client.type('exit 5\n')
    for (const viewer of [early, late])
      expect(await viewer.closed).toEqual({ code: 1000, reason: 'process exited' })
    expect(await early.text('exit')).toMatchObject({ exit_code: 5 })
    // One that comes after the end sees what there was, and starts nothing.
    const after = await connect(id, '?view=1')
    expect(await after.closed).toEqual({ code: 1000, reason: 'process exited' })
    expect(after.output).toBe(client.output)
    expect((await statusOf(execd, id)).running).toBe(false)
  })
})

describe('on pipes', () => {
  test('the streams are apart and the bytes as they are', async () => {
    const { id, client } = await open({}, '?pty=0')
    expect(client.frames[0]).toMatchObject({ value: { type: 'connected', mode: 'pipe' } })
    client.type('printf "a\\nb"; echo err >&2; tty; read x; echo got $x\nline\n')
    client.send({ type: 'resize', cols: 100, rows: 50 })
    client.send({ type: 'eof' })
    await client.closed
    expect(client.bytes('output', 'stdout').toString()).toBe('a\nbnot a tty\ngot line\n')
    expect(client.bytes('output', 'stderr').toString()).toBe('err\n')
    const again = await connect(id, '?pty=0')
    expect(again.bytes('replay').length).toBe(client.bytes().length)
  })

  test('the mode is that of the program that runs', async () => {
    const { id, client } = await open({}, '?pty=0')
    await client.run('kept=yes')
    const again = await connect(id, '?takeover=1')
    expect(again.frames.at(-1)).toMatchObject({ value: { mode: 'pipe' } })
    expect((await statusOf(execd, id)).mode).toBe('pipe')
  })

  test('Y10: all output comes before the end, though a child in the background holds the pipes', async () => {
    for (let round = 0; round < 5; round++) {
      const { client } = await open(
        { command: 'sleep 100 & seq 1 20000; echo late >&2; echo pid $!; exit 9' },
        '?pty=0',
      )
      await client.closed
      const [, pid] = /\n20000\npid (\d+)\n$/.exec(client.bytes('output', 'stdout').toString()) ?? []
      expect(client.bytes('output', 'stderr').toString()).toBe('late\n')
      expect(client.frames.at(-1)).toMatchObject({ value: { type: 'exit', exit_code: 9 } })
      process.kill(Number(pid), 'SIGKILL')
    }
  })

  test('a signal goes to the program', async () => {
    const { client } = await open({ command: 'echo ready; exec sleep 1000' }, '?pty=0')
    await client.see(/ready/)
    client.send({ type: 'signal', signal: 'SIGTERM' })
    expect(await client.text('exit')).toEqual({ type: 'exit', exit_code: -1, signal: 'SIGTERM' })
  })

  test('input that a program has closed is told', async () => {
    const { client } = await open({ command: 'exec <&-; echo closed; sleep 1000' }, '?pty=0')
    await client.see(/closed/)
    await until(async () => {
      client.type('more')
      return client.frames.some((frame) => frame.kind === 'text' && frame.value.type === 'error')
    }, 'the refusal')
    expect(await client.text('error')).toMatchObject({ code: 'STDIN_WRITE_FAILED' })
  })
})

describe('what a session is created with', () => {
  test('Y7: the size, the environment, and what kind of terminal it is', async () => {
    const { client } = await open({
      cols: 132,
      rows: 50,
      envs: { MINE: 'a b', FROM_BOOT: 'changed' },
      command: 'stty size; echo "$MINE,$FROM_BOOT,$TERM,$LANG"',
    })
    await client.closed
    expect(client.output).toBe('50 132\r\na b,changed,xterm-256color,C.UTF-8\r\n')
    const { client: own } = await open({
      env: { TERM: 'vt100', LC_ALL: 'POSIX' },
      command: 'echo "$TERM,$LC_ALL,$LANG,"',
    })
    await own.closed
    expect(own.output).toBe('vt100,POSIX,,\r\n')
  })

  test('Y7: the file of added variables counts, as it is when the program starts', async () => {
    const id = await createPty(execd, { command: 'echo "[$ADDED]"' })
    await execd.run({ command: `echo "ADDED='by a client'" >> $EXECD_ENVS` })
    const client = await connect(id)
    await client.closed
    expect(client.output).toBe('[by a client]\r\n')
  })

  test('Y7: another shell, or a program without one', async () => {
    const { client } = await open({ shell: 'sh', command: 'echo $0' })
    await client.closed
    expect(client.output).toMatch(/^\S*sh\r\n$/)
    const { client: program } = await open({ argv: ['printf', '%s,', '$HOME', 'a b'] })
    await program.closed
    expect(program.output).toBe('$HOME,a b,')
  })

  test('Y7: another user, who owns the terminal and has a home of nobody else', async () => {
    const { client } = await open({
      uid: 12345,
      command: 'id -u; id -g; id -G; echo again > $(tty); echo $HOME',
      cwd: '/',
    })
    await client.closed
    expect(client.output).toBe('12345\r\n12345\r\n12345\r\nagain\r\n/\r\n')
  })

  test('a directory, which is made if it is missing', async () => {
    const cwd = join(execd.workdir, 'deep/er')
    const { client } = await open({ cwd, command: 'pwd', uid: 12345 })
    await client.closed
    expect(client.output).toBe(`${cwd}\r\n`)
    expect(statSync(cwd).uid).toBe(12345)
    const { client: relative } = await open({ cwd: 'deep', command: 'pwd' })
    await relative.closed
    expect(relative.output).toBe(`${execd.workdir}/deep\r\n`)
    const { client: named } = await open({ cwd: '$WHERE/x', envs: { WHERE: execd.workdir }, command: 'pwd' })
    await named.closed
    expect(named.output).toBe(`${execd.workdir}/x\r\n`)
  })

  test('its own command ends the session of itself', async () => {
    const { id, client } = await open({ command: 'echo done' })
    expect(await client.closed).toEqual({ code: 1000, reason: 'process exited' })
    expect(client.output).toBe('done\r\n')
    expect(await statusOf(execd, id)).toMatchObject({ running: false, exit_code: 0 })
  })
})

describe('what a program gets', () => {
  test('nothing of execd: no secret, no descriptor; and a terminal that no other process has', async () => {
    const { client } = await open()
    const first = await open()
    // Only a program that runs has closed what it was started with.
    await first.client.run('true')
    const seen = await client.run('env; ls -l /proc/self/fd /proc/$$/fd')
    expect(seen).not.toMatch(/NODE|TOKEN|secret/i)
    expect(seen).not.toContain('/dev/ptmx')
    const { pid } = await statusOf(execd, first.id)
    expect(descriptorsOf(pid ?? 0).filter((path) => path === '/dev/ptmx')).toEqual([])
    // Nor has a command, which may be another user's.
    const events = await execd.run({ command: 'ls -l /proc/self/fd' })
    expect(outputOf(events)).not.toMatch(/ptmx|pts/)
    expect(outputOf(events)).toContain('/proc/')
  })

  test('a session and a process group of its own, and the score of a child', async () => {
    const { client } = await open()
    const seen = await client.run('cat /proc/$$/stat /proc/$$/oom_score_adj')
    const [, pid, group, session] = /(\d+) \(bash\) \S+ \d+ (\d+) (\d+) /.exec(seen) ?? []
    expect([group, session]).toEqual([pid, pid])
    const own = Number(readFileSync(`/proc/${execd.process.pid}/oom_score_adj`, 'utf8'))
    expect(Number(/\n(-?\d+)\r\n/.exec(seen)?.[1])).toBeGreaterThan(own)
  })
})

describe('deletion', () => {
  test('Y9: hangs up before it kills, so that programs can put things in order', async () => {
    const flag = join(execd.workdir, 'hung-up')
    const { id, client } = await open({
      command: `trap 'echo bye > ${flag}; exit' HUP; echo ready; sleep 1000 & wait`,
    })
    await client.see(/ready/)
    await execd.call(`/pty/${id}`, { method: 'DELETE' })
    expect(readFileSync(flag, 'utf8')).toBe('bye\n')
    expect((await client.closed).code).toBe(1000)
  })

  test('Y9: ends every job, also one that ignores the hangup, is stopped, or has outlived its shell', async () => {
    const { id, client } = await open()
    client.type(`(trap '' HUP TERM; exec sleep 1000) & nohup sleep 1001 >/dev/null 2>&1 &\n`)
    const { pid = 0 } = await statusOf(execd, id)
    const jobs = await until(async () => {
      const found = membersOf(pid).filter((member) => member !== pid)
      return found.length === 2 ? found : undefined
    }, 'two jobs')
    client.type('disown -a; exit 3\n')
    await client.closed
    expect(jobs.every(isAlive)).toBe(true)
    const again = await connect(id)
    again.type('sleep 1002 & kill -STOP $!; sleep 1003\n')
    await until(async () => isInFront((await statusOf(execd, id)).pid, 'sleep'), 'the job in front')
    const { pid: second = 0 } = await statusOf(execd, id)
    using clock = startFairClock()
    const response = await execd.call(`/pty/${id}`, { method: 'DELETE' })
    expect(response.status).toBe(200)
    expect(clock.elapsedMs()).toBeLessThan(8000)
    expect([...jobs, second, ...membersOf(second)].filter(isAlive)).toEqual([])
  })

  test('closes a connection to what runs nothing', async () => {
    const id = await createPty(execd)
    const viewer = await connect(id, '?view=1')
    await execd.call(`/pty/${id}`, { method: 'DELETE' })
    expect(await viewer.text('error')).toMatchObject({ code: 'SESSION_GONE' })
    expect((await viewer.closed).code).toBe(1000)
  })
})

test('the end of execd ends every terminal, and lets programs put things in order', async () => {
  const daemon = await startDaemon()
  onTestFinished(() => daemon[Symbol.asyncDispose]())
  const flag = join(daemon.workdir, 'ended')
  mkdirSync(daemon.workdir, { recursive: true })
  const id = await createPty(daemon, {
    command: `trap 'echo bye > ${flag}; exit' TERM; trap '' HUP; echo ready; sleep 1000 & wait; wait`,
  })
  const client = await PtyClient.connect(daemon, id)
  await client.see(/ready/)
  const { pid = 0 } = await statusOf(daemon, id)
  await daemon.stop()
  expect(readFileSync(flag, 'utf8')).toBe('bye\n')
  expect(membersOf(pid)).toEqual([])
})

function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${name}`)]
    } catch {
      return [] // Closed since the list was read.
    }
  })
}

function statOf(pid: string): { pid: number; parent: number; session: number; state: string } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [state = '', parent, , session] = text.slice(text.lastIndexOf(')') + 2).split(' ')
    return { pid: Number(pid), state, parent: Number(parent), session: Number(session) }
  } catch {
    return undefined
  }
}

function processes() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(statOf)
    .filter((entry) => entry !== undefined && entry.state !== 'Z')
}

function membersOf(session: number): number[] {
  return processes()
    .filter((entry) => entry?.session === session)
    .map((entry) => entry?.pid ?? 0)
}

/** Whether a program of this name has the terminal of a shell. */
function isInFront(shell: number | undefined, name: string): boolean {
  try {
    const text = readFileSync(`/proc/${shell}/stat`, 'latin1')
    const group = text.slice(text.lastIndexOf(')') + 2).split(' ')[5]
    return group !== String(shell) && readFileSync(`/proc/${group}/comm`, 'utf8').trim() === name
  } catch {
    return false
  }
}
