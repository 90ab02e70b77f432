// The Jupyter engine and a server that misbehaves.

import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { type CellEvent, type Kernel, KernelDied } from '../../../execd/code/engine.ts'
import { type JupyterOptions, jupyterEngine } from '../../../execd/code/jupyter/engine.ts'
import { createLogger } from '../../../lib/log.ts'
import { freePort } from '../../support/edge.ts'
import { TEST_MS } from '../../support/patience.ts'
import { withEnoughTime } from '../daemon.ts'
import { type FakeJupyter, PYTHON, startFakeJupyter } from './jupyter-fake.ts'

const log = createLogger({ program: 'test', write: () => {} })
/** What ends by itself in these tests does so before that, however slow the machine is; what does not says so. */
const times = { lookMs: 100, endingMs: 2 * TEST_MS, reconnectMs: 2 * TEST_MS }
const spec = { language: 'python', cwd: '/tmp', env: {} } as const

const engineOf = (options: Partial<JupyterOptions>) =>
  jupyterEngine({ host: 'http://127.0.0.1:1', token: 'secret', env: {}, log, times, ...options })

async function fakeServer(): Promise<FakeJupyter> {
  const fake = await startFakeJupyter()
  onTestFinished(() => fake.stop())
  return fake
}

async function startedKernel(
  short: Partial<typeof times> = {},
): Promise<{ fake: FakeJupyter; kernel: Kernel }> {
  const fake = await fakeServer()
  const engine = engineOf({ host: fake.url, times: { ...times, ...short } })
  const kernel = await engine.start(spec, AbortSignal.timeout(20_000))
  onTestFinished(() => kernel.close(0))
  return { fake, kernel }
}

/** Runs a cell to its end. */
async function run(kernel: Kernel, code = 'x'): Promise<CellEvent[]> {
  const events: CellEvent[] = []
  await kernel.execute(code, (event) => {
    events.push(event)
  })
  return events
}

const reply = { channel: 'shell', msg_type: 'execute_reply', content: { status: 'ok' } }
const idle = { msg_type: 'status', content: { execution_state: 'idle' } }
const print = (text: string) => ({ msg_type: 'stream', content: { name: 'stdout', text } })

test('J9: a language without a kernel is refused at once, with the kernels that there are', async () => {
  const fake = await fakeServer()
  fake.specs = { ...PYTHON, bash: { name: 'bash', spec: { language: 'bash' } } }
  const engine = engineOf({ host: fake.url })
  expect(await engine.refusal('go', {})).toBe(
    `The Jupyter server at ${fake.url} has no kernel for "go"; it has "python3" (python), "bash" (bash)`,
  )
  const { signal } = new AbortController()
  await expect(engine.start({ ...spec, language: 'go' }, signal)).rejects.toMatchObject({ status: 400 })
  // Each of them has asked once: nothing was waited for.
  const asked = ['GET /api/kernelspecs', 'GET /api/status']
  expect(fake.requests.map(({ line }) => line)).toEqual([...asked, ...asked])
  expect(await engine.refusal('python', {})).toBeUndefined()
})

test('a server that is still on its way is waited for', async () => {
  const port = await freePort()
  const asked = engineOf({ host: `http://127.0.0.1:${port}/` }).refusal('python', {})
  const fake = await startFakeJupyter({ port })
  onTestFinished(() => fake.stop())
  expect(await asked).toBeUndefined()
})

test('a kernel that is installed after its server has started is waited for', async () => {
  const fake = await fakeServer()
  fake.startedAt = new Date()
  fake.specs = {}
  const asked = engineOf({ host: fake.url }).refusal('python', {})
  await expect.poll(() => fake.requests.length).toBeGreaterThan(2)
  fake.specs = PYTHON
  expect(await asked).toBeUndefined()
})

test('a server that never answers is refused in words, and not waited for a second time', async () => {
  let calls = 0
  const server = createServer((socket) => {
    calls++
    socket.destroy()
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const host = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const engine = await withEnoughTime(
    async (startMs) => {
      calls = 0
      const asking = engineOf({ host, startMs })
      expect(await asking.refusal('python', {})).toContain(`${host} does not answer`)
      return calls > 1 && asking
    },
    'a server to be asked again',
    600,
  )
  calls = 0
  expect(await engine.refusal('bash', {})).toContain(`${host} does not answer`)
  expect(calls).toBe(1)
  const nobody = engineOf({ host: `http://127.0.0.1:${await freePort()}`, startMs: 0 })
  expect(await nobody.refusal('python', {})).toContain('ECONNREFUSED')
})

test.each([
  [
    { host: '127.0.0.1:44771' },
    'JUPYTER_HOST must begin with "http://" or "https://": found "127.0.0.1:44771"',
  ],
  [{ token: 'wrong' }, 'does not accept the JUPYTER_TOKEN'],
])('with %j a context is refused at once', async (options, message) => {
  const fake = await fakeServer()
  expect(await engineOf({ host: fake.url, ...options }).refusal('python', {})).toContain(message)
})

test('what answers and is no Jupyter server is refused at once', async () => {
  const fake = await fakeServer()
  expect(await engineOf({ host: `${fake.url}/elsewhere` }).refusal('python', {})).toContain('404')
})

test('X14: the token is in a header of every request and in no URL', async () => {
  const { fake, kernel } = await startedKernel()
  await run(kernel)
  expect(fake.requests.length).toBeGreaterThan(2)
  for (const { line, headers } of fake.requests) {
    expect(line).not.toContain('secret')
    expect(headers.authorization).toBe('Token secret')
  }
})

test('S10: kernels are listed once, and all cells of a kernel go through one connection', async () => {
  const { fake, kernel } = await startedKernel()
  for (let index = 0; index < 5; index++) await run(kernel)
  expect(fake.requests.filter(({ line }) => line === 'GET /api/kernelspecs')).toHaveLength(1)
  expect(fake.kernel.connections).toHaveLength(1)
})

test('J2: a kernel whose death is announced ends its cell', async () => {
  for (const state of ['dead', 'restarting']) {
    const { fake, kernel } = await startedKernel()
    fake.onExecute = (_code, { send }) => {
      send({ msg_type: 'status', parent: '', content: { execution_state: state } })
    }
    await expect(run(kernel)).rejects.toThrow(KernelDied)
    expect(await kernel.ended).toBe('The kernel died')
    await expect(run(kernel)).rejects.toThrow('The kernel died')
  }
})

test('J2: a kernel that is gone without a word ends its cell', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, its) => {
    its.state = undefined
  }
  await expect(run(kernel)).rejects.toThrow('The kernel is gone')
})

test('J2: a server that goes away takes its kernels along', async () => {
  const { fake, kernel } = await startedKernel({ reconnectMs: 500 })
  fake.onExecute = () => void fake.stop()
  await expect(run(kernel)).rejects.toThrow('The connection to the kernel broke')
})

test('J2: a connection that breaks is made again, and the cell goes on', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, { sockets, connections, send }) => {
    for (const socket of sockets) socket.terminate()
    void expect
      .poll(() => connections.length)
      .toBe(2)
      .then(() => {
        for (const frame of [print('after'), reply, idle]) send(frame)
      })
  }
  expect(await run(kernel)).toEqual([{ type: 'stdout', text: 'after' }])
  // The server keeps messages for the one who had the connection before.
  const [first, second] = fake.kernel.connections.map((url) => url.searchParams.get('session_id'))
  expect(first).toMatch(/^[0-9a-f]{32}$/)
  expect(second).toBe(first)
  fake.onExecute = (_code, { send }) => {
    for (const frame of [print('next'), reply, idle]) send(frame)
  }
  expect(await run(kernel)).toEqual([{ type: 'stdout', text: 'next' }])
})

test('J2: a cell whose end was lost with the connection ends with an error', async () => {
  const { fake, kernel } = await startedKernel({ endingMs: 300 })
  fake.onExecute = (_code, { sockets }) => {
    for (const socket of sockets) socket.terminate()
  }
  const [event] = await run(kernel)
  expect(event).toMatchObject({ type: 'error', error: { ename: 'EndLost' } })
})

test('a kernel that sends only one of the two ends does not hold its cell for ever', async () => {
  const { fake, kernel } = await startedKernel({ endingMs: 300 })
  fake.onExecute = (_code, { send }) => send(reply)
  expect(await run(kernel)).toEqual([])
})

test('J3: a client that reads nothing holds the kernel back, and neither its death nor the rest is lost', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, { send }) => {
    for (let index = 0; index < 500; index++) send(print(`${index}\n`))
    for (const frame of [reply, idle]) send(frame)
  }
  const gate = Promise.withResolvers<void>()
  const seen: string[] = []
  let waiting = 0
  const running = kernel.execute('x', async (event) => {
    waiting++
    if (event.type === 'stdout') seen.push(event.text)
    await gate.promise
  })
  await expect.poll(() => waiting).toBe(1)
  gate.resolve()
  await running
  expect(seen).toEqual(Array.from({ length: 500 }, (_, index) => `${index}\n`))

  fake.onExecute = (_code, its) => {
    its.send(print('x'))
    its.state = 'dead'
  }
  await expect(kernel.execute('x', () => new Promise(() => {}))).rejects.toThrow('The kernel died')
})

test('J4: what belongs to another run neither shows up in a cell nor ends it', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, { send }) => {
    for (const parent of ['other', '']) {
      send({ ...print('foreign'), parent })
      send({ ...idle, parent })
      send({ ...reply, parent })
    }
    for (const frame of [print('own'), reply, idle]) send(frame)
  }
  expect(await run(kernel)).toEqual([{ type: 'stdout', text: 'own' }])
})

test('J5: a result that comes after idle is told, and the cell ends with the reply', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, { send }) => {
    send(idle)
    setTimeout(() => {
      send({ msg_type: 'execute_result', content: { execution_count: 1, data: { 'text/plain': '4' } } })
      send(reply)
    }, 100)
  }
  expect(await run(kernel)).toEqual([
    { type: 'execution_count', count: 1 },
    { type: 'result', results: { 'text/plain': '4' } },
  ])
})

test('J8: a cell that asks for input gets an error and is interrupted', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, { send }) => {
    send({ channel: 'stdin', msg_type: 'input_request', content: { prompt: 'name?' } })
    void expect
      .poll(() => fake.requests.map(({ line }) => line))
      .toContain('POST /api/kernels/kernel-1/interrupt')
      .then(() => {
        for (const frame of [reply, idle]) send(frame)
      })
  }
  expect(await run(kernel)).toMatchObject([{ type: 'error', error: { ename: 'InputNotSupported' } }])
})

test('J11: a kernel that refuses a cell is asked again', async () => {
  const { fake, kernel } = await startedKernel()
  const codes: string[] = []
  fake.onExecute = (code, { send }) => {
    codes.push(code)
    if (codes.length === 1) send({ ...reply, content: { status: 'aborted' } })
    else for (const frame of [print('ran'), reply]) send(frame)
    send(idle)
  }
  expect(await run(kernel, 'a')).toEqual([{ type: 'stdout', text: 'ran' }])
  expect(codes).toEqual(['a', 'a'])
})

test('an output that is too large is left out and said to be, and the cell goes on', async () => {
  const { fake, kernel } = await startedKernel()
  fake.onExecute = (_code, { send, sockets }) => {
    send(print('x'.repeat(65 << 20)))
    const [broken] = sockets
    broken?.once('close', () => {
      void expect
        .poll(() => sockets.size)
        .toBe(1)
        .then(() => {
          for (const frame of [print('after'), reply, idle]) send(frame)
        })
    })
  }
  expect(await run(kernel)).toEqual([
    { type: 'stderr', text: '[one output of more than 64 MiB was left out]\n' },
    { type: 'stdout', text: 'after' },
  ])
})

test('a context is made where it shall be, and its session goes when it is closed', async () => {
  const { fake, kernel } = await startedKernel()
  await kernel.close(5000)
  expect(fake.requests.at(-1)?.line).toBe('DELETE /api/sessions/session-1')
  await expect(run(kernel)).rejects.toThrow(KernelDied)
})

test('a start that is given up leaves no session', async () => {
  const fake = await fakeServer()
  fake.kernel.send = () => {}
  const stop = new AbortController()
  const starting = engineOf({ host: fake.url }).start(spec, stop.signal)
  await expect.poll(() => fake.kernel.sockets.size).toBe(1)
  stop.abort(new Error('the client left'))
  await expect(starting).rejects.toThrow('the client left')
  await expect.poll(() => fake.requests.at(-1)?.line).toBe('DELETE /api/sessions/session-1')
})

test('a server that does not answer holds nobody up who ends a context', async () => {
  const { fake, kernel } = await startedKernel()
  fake.isStuck = true
  // It would never end.
  await kernel.close(100)
  expect(fake.requests.at(-1)?.line).toBe('DELETE /api/sessions/session-1')
})
