// A runtime in memory, for tests of what stands above the port. It takes time and fails as it is told, keeps what a real one
// would keep, and can be looked into.

import {
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeSandbox,
  type RuntimeSpec,
} from '../../control/runtime/runtime.ts'
import type { RuntimeSnapshot } from '../../control/runtime/snapshots.ts'

export type FakeRuntime = Runtime & {
  /** What exists, as `list` shows it. */
  readonly sandboxes: Map<string, RuntimeSandbox>
  readonly specs: RuntimeSpec[]
  /** The snapshots that are kept. */
  readonly kept: Map<string, RuntimeSnapshot>
  /** The volumes whose files are there. */
  readonly volumeKeys: Set<string>
  /** What the entrypoints have written. */
  readonly output: Map<string, Buffer>
  /** The calls in their order: `create a1`, `remove a1`. */
  readonly calls: string[]
  /** Decides what a call does before it takes effect: wait, throw, nothing. */
  before: (
    call: FakeCall | FakeVolumeCall | FakeSnapshotCall,
    id: string,
    signal: AbortSignal,
  ) => Promise<void> | void
  /** Ends a sandbox as if its entrypoint had. */
  exit: (id: string, exitCode: number, message?: string) => void
  /** Pauses a sandbox, or lets it go on, as somebody else would. */
  turn: (id: string, state: 'running' | 'paused') => void
  /** Says that it was out of sight, as a daemon does that was restarted. */
  comeBack: () => void
}

export type FakeCall = 'create' | 'pause' | 'resume' | 'remove' | 'inspect' | 'list'
export type FakeVolumeCall = 'create-volume' | 'remove-volume'
export type FakeSnapshotCall = 'snapshot' | 'seal' | 'remove-snapshot' | 'list-snapshots'

export function createFakeRuntime(sandboxes = new Map<string, RuntimeSandbox>()): FakeRuntime {
  const watchers = new Set<(event: RuntimeEvent) => void>()
  let nextAddress = 10
  const enter = async (
    call: FakeCall | FakeVolumeCall | FakeSnapshotCall,
    id: string,
    signal: AbortSignal,
  ) => {
    if (call !== 'inspect' && !call.startsWith('list')) runtime.calls.push(`${call} ${id}`)
    signal.throwIfAborted()
    await runtime.before(call, id, signal)
    signal.throwIfAborted()
  }
  const require = (id: string, state: 'running' | 'paused') => {
    const sandbox = sandboxes.get(id)
    if (!sandbox) throw new RuntimeError('not_found', 'There is no such sandbox')
    if (sandbox.state !== state)
      throw new RuntimeError(state === 'running' ? 'not_running' : 'not_paused', `It is ${sandbox.state}`)
    return sandbox
  }
  const runtime: FakeRuntime = {
    name: 'fake',
    abilities: { cpus: 4096, memoryBytes: 2 ** 53, disk: 2 ** 53, gpus: 'this machine has none' },
    volumes: {
      async create(key, signal) {
        await enter('create-volume', key, signal)
        runtime.volumeKeys.add(key)
      },
      async remove(key, signal) {
        await enter('remove-volume', key, signal)
        runtime.volumeKeys.delete(key)
      },
      list: async () => [...runtime.volumeKeys],
      sizeOf: async () => 4096,
    },
    volumeKeys: new Set(),
    sandboxes,
    specs: [],
    kept: new Map(),
    output: new Map(),
    calls: [],
    before: () => {},
    async create(spec, signal, watch) {
      runtime.specs.push(spec)
      sandboxes.set(spec.id, { id: spec.id, state: 'incomplete' })
      try {
        watch?.phaseDone?.('image')
        await enter('create', spec.id, signal)
        watch?.phaseDone?.('ready')
      } catch (error) {
        sandboxes.delete(spec.id)
        throw error
      }
      const sandbox: RuntimeSandbox = { id: spec.id, state: 'running', address: `10.88.0.${nextAddress++}` }
      sandboxes.set(spec.id, sandbox)
      return { ...sandbox }
    },
    async pause(id, signal) {
      await enter('pause', id, signal)
      require(id, 'running').state = 'paused'
    },
    async resume(id, signal) {
      await enter('resume', id, signal)
      require(id, 'paused').state = 'running'
    },
    async remove(id, _options, signal) {
      await enter('remove', id, signal)
      sandboxes.delete(id)
    },
    async inspect(id, signal) {
      await enter('inspect', id, signal)
      const sandbox = sandboxes.get(id)
      return sandbox && { ...sandbox }
    },
    logs: async (id, { maxBytes }) => runtime.output.get(id)?.subarray(-maxBytes),
    close: () => Promise.resolve(),
    snapshots: {
      async create(sandboxId, id, signal) {
        await enter('snapshot', id, signal)
        require(sandboxId, 'running')
        const snapshot: RuntimeSnapshot = { id, sizeBytes: 4096 }
        runtime.kept.set(id, snapshot)
        return { ...snapshot }
      },
      async seal(id, signal) {
        await enter('seal', id, signal)
        return { digest: `sha256:${'0'.repeat(64)}` }
      },
      async remove(id, signal) {
        await enter('remove-snapshot', id, signal)
        runtime.kept.delete(id)
      },
      async list(signal) {
        await enter('list-snapshots', '', signal)
        return [...runtime.kept.values()].map((snapshot) => ({ ...snapshot }))
      },
    },
    async list(signal) {
      await enter('list', '', signal)
      return [...sandboxes.values()].map((sandbox) => ({ ...sandbox }))
    },
    async *watch(signal) {
      const queue: RuntimeEvent[] = []
      let wake = () => {}
      const watcher = (event: RuntimeEvent) => {
        queue.push(event)
        wake()
      }
      const onAbort = () => wake()
      watchers.add(watcher)
      signal.addEventListener('abort', onAbort)
      try {
        while (!signal.aborted) {
          const event = queue.shift()
          if (event) yield event
          else
            await new Promise<void>((resolve) => {
              wake = resolve
              if (signal.aborted || queue.length > 0) resolve()
            })
        }
      } finally {
        watchers.delete(watcher)
        signal.removeEventListener('abort', onAbort)
      }
    },
    exit(id, exitCode, message) {
      const { address: _, ...rest } = sandboxes.get(id) ?? { id }
      const sandbox: RuntimeSandbox = { ...rest, state: 'exited', exitCode, ...(message && { message }) }
      sandboxes.set(id, sandbox)
      for (const watcher of watchers) watcher({ type: 'exited', sandbox })
    },
    turn(id, state) {
      const sandbox = sandboxes.get(id)
      if (sandbox) sandbox.state = state
      for (const watcher of watchers) watcher({ type: 'changed', id })
    },
    comeBack() {
      for (const watcher of watchers) watcher({ type: 'returned' })
    },
  }
  return runtime
}
