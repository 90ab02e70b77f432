// Code contexts over HTTP, whatever runs them.

import { chmodSync, existsSync, mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  type CodeEvent,
  createContext,
  errorOf,
  followCode,
  interrupt,
  resultsOf,
  runCode,
  startCode,
  stdoutOf,
  textsOf,
  typesOf,
} from './code/run.ts'
import { type Daemon, outputOf, parseEvents, startDaemon, until, withOnePing } from './daemon.ts'

const PYTHON = { language: 'python' }
/** Found without a PATH. */
const SLEEP = ['/bin/sleep', '1000']

let execd: Daemon
let python: string
beforeAll(async () => {
  execd = await startDaemon()
  python = await createContext(execd, 'python')
})
afterAll(() => execd?.[Symbol.asyncDispose]())

const post = (path: string, body: unknown) => execd.call(path, { method: 'POST', body: JSON.stringify(body) })
const list = async (query = ''): Promise<{ id: string; language: string }[]> =>
  (await execd.call(`/code/contexts${query}`)).json() as Promise<{ id: string; language: string }[]>
const isGone = (pid: number) => {
  try {
    // A process that nobody has waited for yet is as good as gone.
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return true
  }
}

describe('a run', () => {
  test('streams init with the id of the context, ping, output, count and result, and one end', async () => {
    const response = await startCode(execd, python, 'print("hello")\n2 + 2')
    expect(response.headers.get('content-type')).toBe('text/event-stream')
    const text = await response.text()
    expect(text).not.toContain('data:')
    const events = withOnePing(parseEvents(text) as CodeEvent[])
    expect(typesOf(events)).toEqual([
      'init',
      'ping',
      'execution_count',
      'stdout',
      'result',
      'execution_complete',
    ])
    expect(events[0]?.text).toBe(python)
    expect(events[0]?.execution_id).toMatch(/^[0-9a-f]{32}$/)
    expect(events[2]?.execution_count).toBeGreaterThan(0)
    expect(events[3]?.text).toBe('hello\n')
    expect(events[4]?.results).toEqual({ text: '4', 'text/plain': '4' })
    for (const event of events) expect(Number.isInteger(event.timestamp)).toBe(true)
  })

  test('J6: failing code gives status, error and then the end, in this order', async () => {
    const events = await runCode(execd, python, 'print("before")\nundefined_name')
    expect(typesOf(events)).toEqual([
      'init',
      'execution_count',
      'stdout',
      'status',
      'error',
      'execution_complete',
    ])
    expect(events[3]?.text).toBe('error')
    expect(errorOf(events)).toMatchObject({
      ename: 'NameError',
      evalue: "name 'undefined_name' is not defined",
    })
  })

  test('J1: what is displayed in the middle of a cell arrives, in order with what is printed', async () => {
    const code = 'print("a")\ndisplay({"text/html": "<b>x</b>", "text/plain": "x"}, raw=True)\nprint("b")'
    const events = await runCode(execd, python, code)
    expect(typesOf(events).slice(2, -1)).toEqual(['stdout', 'result', 'stdout'])
    expect(events[3]?.results).toEqual({ text: 'x', 'text/plain': 'x', 'text/html': '<b>x</b>' })
  })

  test('J5: all of a large output and of a child comes before the end', async () => {
    const code = 'import os\nprint("x" * 3_000_000)\nos.system("seq 1 100000; echo last")'
    const events = await runCode(execd, python, `${code};`)
    expect(typesOf(events).at(-1)).toBe('execution_complete')
    const text = stdoutOf(events)
    expect(text.length).toBe(3_000_001 + 588_895 + 5)
    expect(text.endsWith('100000\nlast\n')).toBe(true)
  })

  test('tells what the code prints while it runs', async () => {
    const run = await followCode(execd, python, 'import time\nprint("now", end="")\ntime.sleep(60)')
    expect(await run.see(({ type }) => type === 'stdout')).toMatchObject({ text: 'now' })
    expect(await interrupt(execd, python)).toBe(200)
    expect(errorOf(await run.end)?.ename).toBe('KeyboardInterrupt')
  })

  test('escapes the line breaks that one client splits at', async () => {
    const text = await (await startCode(execd, python, 'print("a\\x85b\\u2028c\\u2029d")')).text()
    expect(text).not.toMatch(/[\u0085\u2028\u2029]/)
    expect(outputOf(parseEvents(text))).toBe('a\u0085b\u2028c\u2029d\n')
  })

  test('with a timeout is interrupted after it, and says so', async () => {
    const body = { code: 'import time\ntime.sleep(60)', context: { id: python }, timeout: 300 }
    const events = parseEvents(await (await post('/code', body)).text()) as CodeEvent[]
    expect(errorOf(events)).toMatchObject({ ename: 'ExecutionTimeout', evalue: 'timed out after 300 ms' })
    expect(resultsOf(await runCode(execd, python, '1 + 1'))).toEqual(['2'])
  })

  test.each([
    [{}, '"code" must be a text that is not empty'],
    [{ code: '' }, '"code" must be a text that is not empty'],
    [{ code: 7 }, '"code" must be a text: found 7'],
    [{ code: 'x', context: 'python' }, '"context" must be a JSON object: found a text'],
    [{ code: 'x', context: { language: 'ruby' } }, 'unknown language: ruby'],
    [{ code: 'x', timeout: -1 }, '"timeout" must be an integer'],
  ])('of %j is refused in words', async (body, message) => {
    const response = await post('/code', body)
    expect(response.status).toBe(400)
    expect(response.headers.get('content-type')).toContain('application/json')
    expect(((await response.json()) as { message: string }).message).toContain(message)
  })

  test('accepts null for what is absent, and keys in any case', async () => {
    const response = await post('/code', {
      Code: '3',
      context: { id: null, language: 'python', cwd: null },
      timeout: null,
    })
    expect(resultsOf(parseEvents(await response.text()) as CodeEvent[])).toEqual(['3'])
  })
})

describe('code without a language', () => {
  test('is a command line', async () => {
    const events = parseEvents(await (await post('/code', { code: 'echo hi; echo err >&2; exit 3' })).text())
    expect(outputOf(events)).toBe('hi\n')
    expect(outputOf(events, 'stderr')).toBe('err\n')
    expect(events.at(-1)?.error).toMatchObject({ ename: 'CommandExecError', evalue: '3' })
  })

  test.each([null, {}, { language: '' }, { id: 'nobody-has-this-id' }, { language: 'command' }])(
    'is one with the context %j too',
    async (context) => {
      const events = parseEvents(await (await post('/code', { code: 'echo $((1 + 1))', context })).text())
      expect(outputOf(events)).toBe('2\n')
    },
  )

  test('begins in the directory that is asked for', async () => {
    const events = parseEvents(await (await post('/code', { code: 'pwd', context: { cwd: '/' } })).text())
    expect(outputOf(events)).toBe('/\n')
  })

  test('runs in the background when it says so', async () => {
    const context = { language: 'background-command' }
    const events = parseEvents(await (await post('/code', { code: 'sleep 30', context })).text())
    expect(events.at(-1)?.type).toBe('execution_complete')
    expect(await interrupt(execd, events[0]?.text ?? '')).toBe(200)
  })

  test('J9: is run by the context whose id it names, when there is one', async () => {
    const response = await post('/code', { code: '1 + 1', context: { id: python } })
    expect(resultsOf(parseEvents(await response.text()) as CodeEvent[])).toEqual(['2'])
  })
})

describe('contexts', () => {
  test('are made, found, listed and deleted', async () => {
    const made = await post('/code/context', { language: 'python' })
    expect(made.status).toBe(200)
    const context = (await made.json()) as { id: string }
    expect(context).toEqual({ id: expect.stringMatching(/^[0-9a-f]{32}$/), language: 'python' })
    expect(await (await execd.call(`/code/contexts/${context.id}`)).json()).toEqual(context)
    expect(await list()).toContainEqual(context)
    expect(await list('?language=python')).toContainEqual(context)
    expect(await list('?language=bash')).toEqual([])
    const deleted = await execd.call(`/code/contexts/${context.id}`, { method: 'DELETE' })
    expect([deleted.status, deleted.headers.get('content-length')]).toEqual([200, '0'])
    expect(await list()).not.toContainEqual(context)
    const again = await execd.call(`/code/contexts/${context.id}`, { method: 'DELETE' })
    expect(again.status).toBe(404)
  })

  test('that are not there are not found', async () => {
    const response = await execd.call('/code/contexts/missing')
    expect(response.status).toBe(404)
    expect(await response.json()).toEqual({
      code: 'CONTEXT_NOT_FOUND',
      message: 'context missing not found',
    })
  })

  test('J9: running code in one that is not there is 404 at once', async () => {
    const response = await post('/code', { code: '1', context: { id: 'missing', language: 'python' } })
    expect(response.status).toBe(404)
    expect(((await response.json()) as { message: string }).message).toBe('context missing not found')
  })

  test('know nothing of each other', async () => {
    const other = await createContext(execd, 'python')
    await runCode(execd, python, 'only_here = 1')
    expect(errorOf(await runCode(execd, other, 'only_here'))?.ename).toBe('NameError')
    expect(resultsOf(await runCode(execd, python, 'only_here'))).toEqual(['1'])
    await execd.call(`/code/contexts/${other}`, { method: 'DELETE' })
  })

  test('of one language have a default one, which is in lists once and goes with its language', async () => {
    await using other = await startDaemon()
    const [first, second] = await Promise.all([
      runCode(other, PYTHON, 'x = 1'),
      runCode(other, PYTHON, 'y = 2'),
    ])
    expect(first[0]?.text).toBe(second[0]?.text)
    await createContext(other, 'python')
    const listed = (await (await other.call('/code/contexts?language=python')).json()) as { id: string }[]
    expect(listed.map(({ id }) => id)).toContain(first[0]?.text)
    expect(new Set(listed.map(({ id }) => id)).size).toBe(2)
    const deleted = await other.call('/code/contexts?language=python', { method: 'DELETE' })
    expect(deleted.status).toBe(200)
    expect(await (await other.call('/code/contexts')).json()).toEqual([])
    expect(errorOf(await runCode(other, PYTHON, 'x'))?.ename).toBe('NameError')
  })

  test('are deleted by language, which has to be named', async () => {
    const missing = await execd.call('/code/contexts', { method: 'DELETE' })
    expect([missing.status, ((await missing.json()) as { code: string }).code]).toEqual([
      400,
      'MISSING_QUERY',
    ])
    expect((await execd.call('/code/contexts?language=java', { method: 'DELETE' })).status).toBe(200)
    expect((await execd.call('/code/contexts?language=command')).status).toBe(500)
    expect((await execd.call('/code/contexts?language=ruby')).status).toBe(400)
  })

  test('J12: begin in a directory that is made when it is missing, with variables of their own', async () => {
    const cwd = join(execd.workdir, 'new', 'place')
    const id = await createContext(execd, 'python', cwd, { MINE: 'a b' })
    expect(resultsOf(await runCode(execd, id, 'import os\nos.getcwd(), os.environ["MINE"]'))).toEqual([
      `('${cwd}', 'a b')`,
    ])
    expect(await (await execd.call(`/code/contexts/${id}`)).json()).toMatchObject({ cwd })
    await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })
  })

  test('get the environment of the sandbox and nothing of execd', async () => {
    const events = await runCode(execd, python, 'import os\nfor item in os.environ.items(): print(*item)')
    expect(stdoutOf(events)).toContain('FROM_BOOT yes\n')
    expect(stdoutOf(events)).not.toMatch(/NODE_|LD_LIBRARY|TOKEN|secret/i)
  })

  test.each([
    [{}, '"language" must be one of python, '],
    [{ language: 'ruby' }, 'unknown language: ruby'],
    [{ language: 'sql' }, 'unknown language: sql'],
    [{ language: 'python', cwd: '/$NO_SUCH_VARIABLE' }, 'NO_SUCH_VARIABLE'],
    [{ language: 'python', cwd: '/etc/passwd' }, 'passwd'],
    [{ language: 'python', envs: { 'A=B': 'x' } }, '"envs" has a name'],
  ])('of %j are refused in words', async (body, message) => {
    const response = await post('/code/context', body)
    expect(response.status).toBe(400)
    expect(((await response.json()) as { message: string }).message).toContain(message)
  })

  test('of a language whose interpreter is missing are refused at once, naming it and what there is', async () => {
    await using bare = await startDaemon({ entrypoint: SLEEP, env: { PATH: '/nowhere', HOME: '/' } })
    for (const path of ['/code/context', '/code']) {
      const body = path === '/code' ? { code: '1', context: PYTHON } : PYTHON
      const response = await bare.call(path, { method: 'POST', body: JSON.stringify(body) })
      expect(response.status).toBe(400)
      const { message } = (await response.json()) as { message: string }
      expect(message).toContain('there is neither "python3" nor "python" in PATH "/nowhere"')
      // Node comes with execd.
      expect(message).toContain('Available here: javascript, typescript')
    }
  })

  test('are bounded in number', async () => {
    await using other = await startDaemon()
    const made = await Promise.all(
      Array.from({ length: 34 }, () =>
        other.call('/code/context', { method: 'POST', body: JSON.stringify({ language: 'bash' }) }),
      ),
    )
    const statuses = made.map(({ status }) => status)
    expect(statuses.filter((status) => status === 200)).toHaveLength(32)
    expect(statuses.filter((status) => status === 429)).toHaveLength(2)
    const refused = await other.call('/code', {
      method: 'POST',
      body: JSON.stringify({ code: '1', context: PYTHON }),
    })
    expect(refused.status).toBe(429)
    await other.call('/code/contexts?language=bash', { method: 'DELETE' })
    expect(resultsOf(await runCode(other, PYTHON, '1'))).toEqual(['1'])
  })
})

describe('runs of one context', () => {
  test('J10: wait for each other, first come, first served', async () => {
    await runCode(execd, python, 'import time\norder = []')
    const runs = [1, 2, 3, 4].map((number) =>
      runCode(execd, python, `time.sleep(0.05)\norder.append(${number})`),
    )
    for (const events of await Promise.all(runs)) expect(errorOf(events)).toBeUndefined()
    expect(resultsOf(await runCode(execd, python, 'sorted(order)'))).toEqual(['[1, 2, 3, 4]'])
  })

  test('are told that the session is busy when too many wait', async () => {
    const first = await followCode(execd, python, 'import time\nprint("runs")\ntime.sleep(60)')
    await first.see(({ type }) => type === 'stdout')
    const waiting = await Promise.all(
      Array.from({ length: 32 }, () => followCode(execd, python, 'waited = True')),
    )
    await Promise.all(waiting.map((run) => run.see(({ type }) => type === 'init')))
    const refused = await runCode(execd, python, '1')
    expect(errorOf(refused)?.evalue).toContain('session is busy')
    expect(typesOf(refused)).toEqual(['init', 'status', 'error', 'execution_complete'])
    await interrupt(execd, python)
    for (const run of [first, ...waiting]) expect(typesOf(await run.end).at(-1)).toBe('execution_complete')
  })

  test('whose client leaves before its turn are dropped', async () => {
    const first = await followCode(execd, python, 'import time\ndropped = True\ntime.sleep(60)')
    await first.see(({ type }) => type === 'execution_count')
    const second = await followCode(execd, python, 'dropped = False')
    await second.see(({ type }) => type === 'init')
    second.leave()
    const third = await followCode(execd, python, 'dropped')
    const { execution_id: id = '' } = await second.see(({ type }) => type === 'init')
    // Its id is forgotten once it has been dropped.
    await until(async () => (await interrupt(execd, id)) === 500, 'the run to be dropped')
    await interrupt(execd, python)
    await first.end
    expect(resultsOf(await third.end)).toEqual(['True'])
  })

  test('R12: whose client leaves go on to their end, and later ones wait for it', async () => {
    const flag = join(execd.workdir, 'went-on')
    const run = await followCode(
      execd,
      python,
      `import time, pathlib\nprint("runs")\ntime.sleep(0.3)\npathlib.Path("${flag}").touch()`,
    )
    await run.see(({ type }) => type === 'stdout')
    run.leave()
    const next = await runCode(execd, python, `pathlib.Path("${flag}").exists()`)
    expect(resultsOf(next)).toEqual(['True'])
  })

  test('J3: whose client does not read stand still, and neither hang nor grow', async () => {
    const context = await createContext(execd, 'python')
    const body = JSON.stringify({ code: 'while True: print("x" * 100_000)', context: { id: context } })
    const slow = request(`${execd.url}/code`, {
      method: 'POST',
      headers: { 'X-EXECD-ACCESS-TOKEN': 'secret-token' },
    })
    slow.on('error', () => {})
    slow.end(body)
    const response = await new Promise<NodeJS.ReadableStream>((resolve) => slow.once('response', resolve))
    response.pause()
    const memory = () =>
      Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${execd.process.pid}/status`, 'utf8'))?.[1])
    const before = memory()
    expect(await interrupt(execd, context)).toBe(200)
    expect(memory() - before).toBeLessThan(60_000)
    slow.destroy()
    expect(resultsOf(await runCode(execd, context, '1 + 1'))).toEqual(['2'])
    await execd.call(`/code/contexts/${context}`, { method: 'DELETE' })
  })
})

describe('an interrupt', () => {
  test('by the id of the context ends what runs, and the context can be used on', async () => {
    await runCode(execd, python, 'kept = 7')
    const run = await followCode(execd, python, 'while True: pass')
    await run.see(({ type }) => type === 'execution_count')
    expect(await interrupt(execd, python)).toBe(200)
    expect(errorOf(await run.end)).toMatchObject({ ename: 'KeyboardInterrupt', evalue: 'interrupted' })
    expect(resultsOf(await runCode(execd, python, 'kept'))).toEqual(['7'])
  })

  test('by the id of a run ends that run, also one that waits', async () => {
    const first = await followCode(execd, python, 'import time\ntime.sleep(60)')
    const second = await followCode(execd, python, 'never = True')
    const idOf = async (run: typeof first) =>
      (await run.see(({ type }) => type === 'init')).execution_id ?? ''
    expect(await interrupt(execd, await idOf(second))).toBe(200)
    expect(errorOf(await second.end)?.evalue).toBe('interrupted before it began')
    expect(await interrupt(execd, await idOf(first), '/command')).toBe(200)
    expect(errorOf(await first.end)?.ename).toBe('KeyboardInterrupt')
    expect(errorOf(await runCode(execd, python, 'never'))?.ename).toBe('NameError')
  })

  test('of what is not there fails, and of a context that rests does nothing', async () => {
    const response = await execd.call('/code?id=fake', { method: 'DELETE' })
    expect(response.status).toBe(500)
    expect(((await response.json()) as { message: string }).message).toContain('no such session')
    expect(await interrupt(execd, python)).toBe(200)
    const missing = await execd.call('/code', { method: 'DELETE' })
    expect([missing.status, ((await missing.json()) as { code: string }).code]).toEqual([
      400,
      'MISSING_QUERY',
    ])
  })

  test('takes the ids of commands by the same route', async () => {
    const started = await execd.run({ command: 'sleep 60', background: true })
    expect(await interrupt(execd, started[0]?.text ?? '')).toBe(200)
  })
})

describe('a kernel', () => {
  test.each([
    ['exits', 'import os\nos._exit(3)', 'it exited with status 3'],
    ['is killed', 'import os\nos.kill(os.getpid(), 9)', 'it was killed by SIGKILL'],
    ['loses its channel', 'import os, time\nos.close(3)\ntime.sleep(60)', 'it closed its channel'],
    ['says nonsense', 'import os, time\nos.write(3, b"nonsense\\n")\ntime.sleep(60)', 'is not JSON'],
  ])(
    'J2: that %s ends its run, and the next one gets a new one and is told so',
    async (_how, code, reason) => {
      const id = await createContext(execd, 'python')
      await runCode(execd, id, 'x = 1')
      const died = await runCode(execd, id, `print("last words")\n${code}`)
      expect(stdoutOf(died)).toBe('last words\n')
      expect(errorOf(died)?.ename).toBe('KernelDied')
      expect(errorOf(died)?.evalue).toContain(reason)
      expect(typesOf(died).at(-1)).toBe('execution_complete')
      const next = await runCode(execd, id, 'x')
      expect(textsOf(next, 'stderr')).toContain('This is a new python kernel')
      expect(errorOf(next)?.ename).toBe('NameError')
      expect(textsOf(await runCode(execd, id, '1'), 'stderr')).toBe('')
      await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })
    },
  )

  test('J2: that dies while nothing runs is replaced by the next run', async () => {
    const id = await createContext(execd, 'python')
    const pid = Number(resultsOf(await runCode(execd, id, 'import os\nos.getpid()'))[0])
    process.kill(pid, 'SIGKILL')
    const next = await runCode(execd, id, '1 + 1')
    expect(textsOf(next, 'stderr')).toContain('This is a new python kernel')
    expect(resultsOf(next)).toEqual(['2'])
    await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })
  })

  test('J4: what an earlier cell still says is not said to the next', async () => {
    const late = join(execd.workdir, 'late')
    const code = `
import threading, time, os
def later():
    time.sleep(0.1)
    print("LATE")
    open("${late}", "w").close()
threading.Thread(target=later).start()`
    await runCode(execd, python, code)
    await until(async () => existsSync(late), 'the thread of an earlier cell')
    const events = await runCode(execd, python, 'print("mine")')
    expect(stdoutOf(events)).toBe('mine\n')
    const forged = `import os\nos.write(3, b'{"op":"done","cell":1}\\n{"op":"result","cell":1,"data":{"text/plain":"forged"}}\\n')`
    expect(resultsOf(await runCode(execd, python, `${forged};\nprint("x")\n8`))).toEqual(['8'])
  })

  test('that is deleted takes all with it that it started, and ends what runs and waits', async () => {
    const id = await createContext(execd, 'python')
    const code = `
import subprocess, os
children = [subprocess.Popen(["sleep", "300"], start_new_session=own) for own in (False, True)]
os.system("setsid sleep 300 < /dev/null > /dev/null 2>&1 &")
print(os.getpid(), *[child.pid for child in children], subprocess.check_output(["pgrep", "-n", "sleep"], text=True))`
    const pids = stdoutOf(await runCode(execd, id, code))
      .trim()
      .split(/\s+/)
      .map(Number)
    expect(pids).toHaveLength(4)
    const running = await followCode(execd, id, 'import time\nprint("runs")\ntime.sleep(60)')
    await running.see(({ type }) => type === 'stdout')
    const waiting = await followCode(execd, id, '1')
    await waiting.see(({ type }) => type === 'init')
    expect((await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })).status).toBe(200)
    for (const run of [running, waiting])
      expect(errorOf(await run.end)).toMatchObject({
        ename: 'ContextClosed',
        evalue: `context ${id} was deleted`,
      })
    for (const pid of pids) await until(async () => isGone(pid), `the end of process ${pid}`)
  })

  test('ends with execd', async () => {
    const other = await startDaemon()
    const pid = Number(resultsOf(await runCode(other, PYTHON, 'import os\nos.getpid()'))[0])
    await other.stop()
    await other[Symbol.asyncDispose]()
    await until(async () => isGone(pid), 'the end of the kernel')
  })

  test('of an earlier life of execd is ended by the next', async () => {
    await using other = await startDaemon({}, { restarted: true })
    const pid = Number(resultsOf(await runCode(other, PYTHON, 'import os\nos.getpid()'))[0])
    await other.killAndAwait()
    await until(async () => isGone(pid), 'the end of the kernel')
    expect(await (await other.call('/code/contexts')).json()).toEqual([])
  })

  test('runs as the user of the sandbox', async () => {
    const env = { PATH: '/usr/bin:/bin', HOME: '/tmp' }
    await using other = await startDaemon({ uid: 12345, gid: 12346, env, workdir: '/tmp' })
    chmodSync(dirname(other.dir), 0o711)
    for (const [language, code] of [
      ['python', 'import os\nprint(os.getuid(), os.getgid())'],
      ['javascript', 'console.log(process.getuid(), process.getgid())'],
      ['bash', 'echo $(id -u) $(id -g)'],
    ] as const) {
      const events = await runCode(other, { language }, code)
      expect(stdoutOf(events)).toBe('12345 12346\n')
    }
  })
})

test('an interpreter that cannot run the kernel is told with its own words', async () => {
  const bin = join(execd.workdir, 'bin')
  mkdirSync(bin, { recursive: true })
  symlinkSync('/bin/false', join(bin, 'python3'))
  await using other = await startDaemon({ entrypoint: SLEEP, env: { PATH: bin, HOME: '/' } })
  const response = await other.call('/code/context', { method: 'POST', body: JSON.stringify(PYTHON) })
  expect(response.status).toBe(500)
  expect(((await response.json()) as { message: string }).message).toContain(
    'Cannot start the python kernel, as it exited with status 1',
  )
})
