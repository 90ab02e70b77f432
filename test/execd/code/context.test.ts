// A context and its kernel's troubles, with a kernel of literals and a clock of our own.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { CodeContext, ContextBusy } from '../../../execd/code/context.ts'
import { type CellEvent, type CellSink, type Kernel, KernelDied } from '../../../execd/code/engine.ts'
import { execdError } from '../../../execd/http/answer.ts'
import { createSilentLogger } from '../../../lib/log.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** A kernel whose cells end when the test says so. */
class FakeKernel implements Kernel {
  readonly language = 'python'
  readonly ended: Promise<string>
  readonly cells: { code: string; sink: CellSink; end(): void; fail(error: Error): void }[] = []
  interrupts = 0
  closed = 0
  /** Whether an interrupt ends the cell. */
  listens = true
  #die: (reason: string) => void = () => {}

  constructor() {
    this.ended = new Promise((resolve) => {
      this.#die = resolve
    })
  }

  get cell() {
    const cell = this.cells.at(-1)
    if (!cell) throw new Error('No cell has been run')
    return cell
  }

  execute(code: string, sink: CellSink): Promise<void> {
    return new Promise((resolve, reject) => {
      this.cells.push({ code, sink, end: resolve, fail: reject })
    })
  }

  async interrupt(): Promise<void> {
    this.interrupts++
    if (!this.listens) return
    await this.cell.sink({ type: 'error', error: { ename: 'KeyboardInterrupt', evalue: '', traceback: [] } })
    this.cell.end()
  }

  async close(): Promise<void> {
    this.closed++
    this.die('it was ended')
  }

  die(reason: string): void {
    this.#die(reason)
    this.cells.at(-1)?.fail(new KernelDied(reason))
  }
}

type Setup = { context: CodeContext; kernels: FakeKernel[]; kernel: FakeKernel }

async function setUp(): Promise<Setup> {
  const kernels: FakeKernel[] = []
  const context = new CodeContext({
    id: 'c1',
    language: 'python',
    start: async () => {
      const kernel = new FakeKernel()
      kernels.push(kernel)
      return kernel
    },
    log: createSilentLogger(),
  })
  await context.open(new AbortController().signal)
  const [kernel] = kernels
  if (!kernel) throw new Error('No kernel was started')
  return { context, kernels, kernel }
}

type Client = { id: string; events: CellEvent[]; end: Promise<{ durationMs: number }>; leave(): void }

function run(
  context: CodeContext,
  code: string,
  options: { timeoutMs?: number; sink?: CellSink } = {},
): Client {
  const controller = new AbortController()
  const client: Client = {
    id: '',
    events: [],
    end: Promise.resolve({ durationMs: 0 }),
    leave: () => controller.abort(),
  }
  client.end = context.run(code, {
    begin: (id) => {
      client.id = id
    },
    sink: (event) => {
      client.events.push(event)
      return options.sink?.(event)
    },
    left: controller.signal,
    ...(options.timeoutMs ? { timeoutMs: options.timeoutMs } : {}),
  })
  return client
}

const errorsOf = ({ events }: Client) =>
  events.flatMap((event) => (event.type === 'error' ? [event.error] : []))
const settle = () => vi.advanceTimersByTimeAsync(0)

test('runs take turns, and one whose client left before its turn is not run', async () => {
  const { context, kernel } = await setUp()
  run(context, 'a')
  const second = run(context, 'b')
  run(context, 'c')
  await settle()
  expect(kernel.cells.map(({ code }) => code)).toEqual(['a'])
  second.leave()
  await second.end
  kernel.cell.end()
  await settle()
  expect(kernel.cells.map(({ code }) => code)).toEqual(['a', 'c'])
})

test('a run whose client leaves goes on', async () => {
  const { context, kernel } = await setUp()
  const first = run(context, 'a')
  await settle()
  first.leave()
  await settle()
  expect(kernel.interrupts).toBe(0)
  kernel.cell.end()
  await first.end
})

test('only so many wait', async () => {
  const { context } = await setUp()
  for (let number = 0; number < 33; number++) run(context, String(number))
  expect(() => run(context, 'one too many')).toThrow(ContextBusy)
  expect(() => run(context, 'one too many')).toThrow('session is busy')
})

test('an interrupt is repeated, and then the kernel is ended, with a word on what that cost', async () => {
  const { context, kernel, kernels } = await setUp()
  kernel.listens = false
  const client = run(context, 'loop')
  await settle()
  const interrupted = context.interrupt()
  await vi.advanceTimersByTimeAsync(9_900)
  expect([kernel.interrupts, kernel.closed]).toEqual([3, 0])
  await vi.advanceTimersByTimeAsync(200)
  await interrupted
  expect(kernel.closed).toBe(1)
  expect(errorsOf(client)).toMatchObject([
    { ename: 'KernelDied', evalue: expect.stringContaining('did not end when it was interrupted') },
  ])
  const next = run(context, 'next')
  await settle()
  expect(kernels).toHaveLength(2)
  expect(next.events[0]).toMatchObject({ type: 'stderr', text: expect.stringContaining('new python kernel') })
})

test('two interrupts of one run are one', async () => {
  const { context, kernel } = await setUp()
  kernel.listens = false
  run(context, 'loop')
  await settle()
  void context.interrupt()
  void context.interrupt()
  await settle()
  expect(kernel.interrupts).toBe(1)
  kernel.cell.end()
})

test('J3: a client that does not read cannot keep its run from being interrupted', async () => {
  const { context, kernel } = await setUp()
  const client = run(context, 'prints', { sink: () => new Promise(() => {}) })
  await settle()
  const held = kernel.cell.sink({ type: 'stdout', text: 'x' })
  const interrupted = context.interrupt()
  await settle()
  await held
  await interrupted
  expect(await client.end).toBeDefined()
  // What comes after the interrupt would pile up.
  expect(client.events.map(({ type }) => type)).toEqual(['stdout', 'error'])
})

test('a timeout interrupts, and is told in the place of the interrupt', async () => {
  const { context } = await setUp()
  const client = run(context, 'sleeps', { timeoutMs: 5000 })
  await vi.advanceTimersByTimeAsync(5000)
  await client.end
  expect(errorsOf(client)).toMatchObject([{ ename: 'ExecutionTimeout', evalue: 'timed out after 5000 ms' }])
})

test('a timeout is told even if the code made nothing of the interrupt', async () => {
  const { context, kernel } = await setUp()
  kernel.listens = false
  const client = run(context, 'catches it', { timeoutMs: 5000 })
  await vi.advanceTimersByTimeAsync(5000)
  kernel.cell.end()
  await client.end
  expect(errorsOf(client)).toMatchObject([{ ename: 'ExecutionTimeout' }])
})

test('a run that ends in time is not interrupted later', async () => {
  const { context, kernel } = await setUp()
  const client = run(context, 'quick', { timeoutMs: 5000 })
  await settle()
  kernel.cell.end()
  await client.end
  run(context, 'next')
  await vi.advanceTimersByTimeAsync(10_000)
  expect(kernel.interrupts).toBe(0)
})

test('a kernel that dies between runs is replaced once, and the run is told why', async () => {
  const { context, kernel, kernels } = await setUp()
  kernel.die('it was killed by SIGKILL')
  await settle()
  const client = run(context, 'a')
  await settle()
  expect(kernels).toHaveLength(2)
  expect(client.events).toMatchObject([
    { type: 'stderr', text: expect.stringContaining('it was killed by SIGKILL') },
  ])
})

test('J2: a run that a kernel died under before it began is run by the next one', async () => {
  const { context, kernel, kernels } = await setUp()
  const client = run(context, 'a')
  await settle()
  kernel.cell.fail(new KernelDied('it was killed by SIGKILL', { hasBegun: false }))
  await settle()
  expect(kernels[1]?.cells.map(({ code }) => code)).toEqual(['a'])
  expect(client.events.map(({ type }) => type)).toEqual(['stderr'])
  kernels[1]?.cell.fail(new KernelDied('it was killed again', { hasBegun: false }))
  await client.end
  // Once is enough.
  expect(errorsOf(client)).toMatchObject([{ ename: 'KernelDied' }])
})

test('a kernel that cannot be started again ends the run with the reason, and the next run tries again', async () => {
  const kernels: FakeKernel[] = []
  let hindrance: Error | undefined
  const context = new CodeContext({
    id: 'c1',
    language: 'python',
    start: async () => {
      if (hindrance) throw hindrance
      kernels.push(new FakeKernel())
      return kernels.at(-1) as FakeKernel
    },
    log: createSilentLogger(),
  })
  await context.open(new AbortController().signal)
  kernels[0]?.die('it exited with status 1')
  await settle()
  hindrance = execdError('INVALID_REQUEST_BODY', 'there is no "python3"')
  const refused = run(context, 'a')
  await refused.end
  expect(errorsOf(refused)).toMatchObject([
    { ename: 'INVALID_REQUEST_BODY', evalue: 'there is no "python3"' },
  ])
  hindrance = undefined
  run(context, 'b')
  await settle()
  expect(kernels[1]?.cells.map(({ code }) => code)).toEqual(['b'])
})

test('a context that is closed ends what runs and what waits, and takes nothing more', async () => {
  const { context, kernel } = await setUp()
  const running = run(context, 'a')
  const waiting = run(context, 'b')
  await settle()
  await context.close(1000)
  expect(kernel.closed).toBe(1)
  for (const client of [running, waiting])
    expect(errorsOf(client)).toMatchObject([{ ename: 'ContextClosed', evalue: 'context c1 was deleted' }])
  expect(() => run(context, 'c')).toThrow('context c1 not found')
})
