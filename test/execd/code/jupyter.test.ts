// Code contexts by a real Jupyter server.

import { readdirSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startFairClock } from '../../support/fair-time.ts'
import { type Daemon, startDaemon, until } from '../daemon.ts'
import { type Jupyter, startJupyter } from './jupyter-server.ts'
import { createContext, errorOf, resultsOf, runCode, startCode, stdoutOf, textsOf, typesOf } from './run.ts'

let jupyter: Jupyter
let execd: Daemon
/** A context that tests share which do not harm it. */
let python: string

beforeAll(async () => {
  jupyter = await startJupyter()
  execd = await startDaemon({ env: { PATH: '/usr/bin:/bin', HOME: '/tmp', ...jupyter.env } })
  // The server is still on its way.
  python = await createContext(execd, 'python')
}, 300_000)

afterAll(async () => {
  await execd?.[Symbol.asyncDispose]()
  await jupyter?.[Symbol.asyncDispose]()
})

const run = (id: string, code: string) => runCode(execd, id, code)

describe('a cell', () => {
  test('J6: that ends well has init, count, output, result and one end, in this order', async () => {
    const events = await run(python, 'print("hello")\n2 + 2')
    expect(typesOf(events)).toEqual(['init', 'execution_count', 'stdout', 'result', 'execution_complete'])
    expect(events[0]?.text).toBe(python)
    expect(events[2]?.text).toBe('hello\n')
    expect(events[3]?.results).toEqual({ text: '4', 'text/plain': '4' })
  })

  test('J6: that fails has one error, and the same one end after it', async () => {
    const events = await run(python, 'print("before")\nundefined_name')
    expect(typesOf(events).slice(-3)).toEqual(['status', 'error', 'execution_complete'])
    expect(typesOf(events).filter((type) => type === 'error')).toHaveLength(1)
    expect(errorOf(events)).toMatchObject({
      ename: 'NameError',
      evalue: "name 'undefined_name' is not defined",
    })
    expect(errorOf(events)?.traceback.join('\n')).toContain('undefined_name')
  })

  test('J11: has a traceback without colours', async () => {
    const traceback = errorOf(await run(python, '1 / 0'))?.traceback.join('\n')
    expect(traceback).toContain('ZeroDivisionError')
    expect(traceback).not.toContain('\x1b')
  })

  test('J1: shows what it displays, with every MIME type, in order', async () => {
    const code = `
from IPython.display import display, HTML, JSON, Image, clear_output
import base64
png = base64.b64decode('iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==')
handle = display(HTML('<b>one</b>'), display_id=True)
handle.update(HTML('<b>two</b>'))
clear_output()
display(JSON({'a': [1, 2]}))
Image(png)
`
    const events = await run(python, code)
    const results = events.filter(({ type }) => type === 'result').map((event) => event.results)
    expect(results.map((result) => Object.keys(result ?? {}).sort())).toEqual([
      ['text', 'text/html', 'text/plain'],
      ['text', 'text/html', 'text/plain'],
      ['application/json', 'text', 'text/plain'],
      ['image/png', 'text', 'text/plain'],
    ])
    expect(results[0]?.['text/html']).toBe('<b>one</b>')
    expect(results[1]?.['text/html']).toBe('<b>two</b>')
    expect(results[2]?.['application/json']).toBe('{"a":[1,2]}')
    expect(results[3]?.['image/png']).toMatch(/^iVBORw0KGgo/)
  })

  test('J5: has all it printed before its end, however much that is', async () => {
    const events = await run(python, 'for i in range(20000): print(i)\n"end"')
    expect(stdoutOf(events)).toBe(Array.from({ length: 20_000 }, (_, index) => `${index}\n`).join(''))
    expect(resultsOf(events)).toEqual(["'end'"])
    expect(events.at(-1)?.type).toBe('execution_complete')
  })

  test('J3: whose client reads nothing neither blocks its kernel for others nor loses anything', async () => {
    const response = await startCode(execd, python, 'for i in range(300): print(str(i) * 20000)')
    const other = await createContext(execd, 'python')
    expect(resultsOf(await run(other, '1 + 1'))).toEqual(['2'])
    const text = await response.text()
    expect(text).toContain('299299299')
    expect(text).toContain('execution_complete')
  })

  test('J8: that asks for input fails and says why', async () => {
    expect(errorOf(await run(python, 'input("name? ")'))).toMatchObject({ ename: 'StdinNotImplementedError' })
  })

  test('keeps stdout, stderr and every character', async () => {
    const events = await run(python, 'import sys\nprint("hé漢😀\\u2028")\nprint("err", file=sys.stderr)')
    expect(stdoutOf(events)).toBe('hé漢😀\u2028\n')
    expect(textsOf(events, 'stderr')).toBe('err\n')
  })
})

describe('a context', () => {
  test('keeps what it defines, and nothing of another', async () => {
    const other = await createContext(execd, 'python')
    await run(python, 'x = 41')
    await run(other, 'x = 1')
    expect(resultsOf(await run(python, 'x + 1'))).toEqual(['42'])
    expect(resultsOf(await run(other, 'x'))).toEqual(['1'])
  })

  test('J12: begins where it was told, with the variables of the environment file, and without the token', async () => {
    const cwd = join(execd.workdir, `it's "here"`)
    await execd.run({ command: `echo "ADDED='from the file'" >> "$EXECD_ENVS"` })
    const id = await createContext(execd, 'python', cwd)
    expect(stdoutOf(await run(id, 'import os; print(os.getcwd(), os.environ["ADDED"])'))).toBe(
      `${cwd} from the file\n`,
    )
    expect(resultsOf(await run(id, 'dir()'))?.[0]).not.toContain('environ')
    expect(readdirSync(cwd)).toEqual([])
  })

  test('without a directory begins where commands do', async () => {
    const id = await createContext(execd, 'python')
    expect(stdoutOf(await run(id, 'import os; print(os.getcwd())'))).toBe(`${execd.workdir}\n`)
  })

  test('of bash begins there too, keeps its state and tells a failure', async () => {
    const id = await createContext(execd, 'bash', execd.dir)
    expect(stdoutOf(await run(id, 'pwd'))).toBe(`${execd.dir}\n`)
    await run(id, 'cd /; greeting=hello')
    expect(stdoutOf(await run(id, 'echo $greeting from $PWD'))).toBe('hello from /\n')
    expect(errorOf(await run(id, 'exit_code_of() { return 7; }; exit_code_of'))?.evalue).toBe('7')
  })

  test('is listed, and is gone from the server as well when it was deleted', async () => {
    const before = (await jupyter.sessions()).length
    const id = await createContext(execd, 'python')
    expect((await jupyter.sessions()).length).toBe(before + 1)
    const list = await (await execd.call('/code/contexts?language=python')).json()
    expect(list).toContainEqual(expect.objectContaining({ id, language: 'python' }))
    expect((await execd.call(`/code/contexts/${id}`, { method: 'DELETE' })).status).toBe(200)
    expect((await execd.call(`/code/contexts/${id}`)).status).toBe(404)
    await until(async () => (await jupyter.sessions()).length === before, 'the end of its session')
  })

  test('J9: of a language that neither the server nor the image has is refused at once, and named', async () => {
    using clock = startFairClock()
    await expect(createContext(execd, 'go')).rejects.toThrow(
      /400 Cannot run go here: The Jupyter server at .* has/,
    )
    expect(clock.elapsedMs()).toBeLessThan(15_000)
  })
})

describe('an interrupt', () => {
  test('ends the cell that runs, and the context goes on', async () => {
    const response = await startCode(execd, python, 'y = 5\nprint("started", flush=True)\nwhile True: pass')
    const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('started')) text += (await reader?.read())?.value
    expect((await execd.call(`/code?id=${python}`, { method: 'DELETE' })).status).toBe(200)
    for (let part = await reader?.read(); !part?.done; part = await reader?.read()) text += part?.value
    expect(text).toContain('KeyboardInterrupt')
    expect(resultsOf(await run(python, 'y'))).toEqual(['5'])
  })

  test('J4: leaves nothing of its cell for the next', async () => {
    const interrupted = startCode(execd, python, 'while True: print("old", flush=True)')
    await until(async () => (await jupyter.kernels()).some((one) => one.execution_state === 'busy'), 'a cell')
    const next = run(python, 'print("new")')
    await execd.call(`/code?id=${python}`, { method: 'DELETE' })
    // A kernel may give a line and its end apart.
    const types = new Set(typesOf(await next))
    expect([...types]).toEqual(['init', 'execution_count', 'stdout', 'execution_complete'])
    expect(stdoutOf(await next)).toBe('new\n')
    expect(await (await interrupted).text()).toContain('KeyboardInterrupt')
  })
})

describe('J2: a kernel that dies', () => {
  test('ends its cell with an error, and the context begins anew', async () => {
    const id = await createContext(execd, 'python')
    const events = await run(
      id,
      'import os, signal\nprint("last words", flush=True)\nos.kill(os.getpid(), signal.SIGKILL)',
    )
    expect(errorOf(events)).toMatchObject({ ename: 'KernelDied' })
    expect(events.at(-1)?.type).toBe('execution_complete')
    expect(resultsOf(await run(id, '1 + 1'))).toEqual(['2'])
  }, 60_000)

  test('between two cells is noticed and replaced', async () => {
    const id = await createContext(execd, 'python')
    const pid = Number(stdoutOf(await run(id, 'import os; print(os.getpid())')))
    process.kill(pid, 'SIGKILL')
    const events = await until(async () => {
      const again = await run(id, 'print("here")')
      return textsOf(again, 'stderr').includes('new python kernel') && again
    }, 'a new kernel')
    expect(stdoutOf(events)).toBe('here\n')
  }, 60_000)
})

test('J2: a connection that breaks in the middle of a cell costs nothing of it', async () => {
  const wire = await startWire(Number(new URL(jupyter.env.JUPYTER_HOST).port))
  const env = {
    PATH: '/usr/bin:/bin',
    HOME: '/tmp',
    ...jupyter.env,
    JUPYTER_HOST: `http://127.0.0.1:${wire.port}`,
  }
  const daemon = await startDaemon({ env })
  try {
    const id = await createContext(daemon, 'python')
    const code =
      'import time\nfor i in range(8):\n    print(f"line {i}", flush=True)\n    time.sleep(0.3)\n"end"'
    // What is on the wire when it breaks nobody can bring back, so it breaks while nothing is.
    const isCut = wire.cutAfter('line 2')
    const events = await runCode(daemon, id, code)
    await isCut
    expect(stdoutOf(events)).toBe(Array.from({ length: 8 }, (_, index) => `line ${index}\n`).join(''))
    expect(resultsOf(events)).toEqual(["'end'"])
    expect(errorOf(events)).toBeUndefined()
  } finally {
    await daemon[Symbol.asyncDispose]()
    wire.close()
  }
}, 60_000)

test('X14: the token is in no command line', async () => {
  const code =
    'import subprocess; print(subprocess.run(["ps", "-ef"], capture_output=True, text=True).stdout)'
  const listed = stdoutOf(await run(python, code))
  expect(listed).toContain('ipykernel')
  expect(listed).not.toContain(jupyter.env.JUPYTER_TOKEN)
})

// The last one: there is no server afterwards.
test('J2: a server that dies takes its kernels along, and their cells end with an error', async () => {
  const running = run(python, 'import time; time.sleep(1000)')
  await until(
    async () => (await jupyter.kernels()).some((one) => one.execution_state === 'busy'),
    'a busy kernel',
  )
  jupyter.process.kill('SIGKILL')
  expect(errorOf(await running)).toMatchObject({ ename: 'KernelDied' })
}, 60_000)

/** A wire to a port of this machine that can be cut, and works again at once. */
async function startWire(
  target: number,
): Promise<{ port: number; cutAfter(text: string): Promise<void>; close(): void }> {
  const sockets = new Set<Socket>()
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  let last: { text: string; isCut: () => void } | undefined
  const server = createServer((near) => {
    const far = connect(target, '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        near.destroy()
        far.destroy()
      })
    }
    near.pipe(far)
    far.on('data', (chunk: Buffer) => {
      const found = last && chunk.includes(last.text) ? last : undefined
      if (found) last = undefined
      near.write(chunk, () => {
        if (!found) return
        cut()
        found.isCut()
      })
    })
    far.on('end', () => near.end())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    cutAfter: (text) =>
      new Promise((resolve) => {
        last = { text, isCut: resolve }
      }),
    close: () => {
      server.close()
      cut()
    },
  }
}
