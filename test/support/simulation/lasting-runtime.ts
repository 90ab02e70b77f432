// Sandboxes that outlive control, as those of a real runtime do, on virtual time. Each life of control talks to them by a
// connection of its own; with the life the connection ends, in the middle of whatever it does. Calls take effect in stages, and
// can be made to fail, to be slow, to hang or to end the caller's life at any of them. What others have on the machine is there
// too, and whoever touches it is found out.

import { setTimeout as delay } from 'node:timers/promises'
import {
  type Runtime,
  RuntimeError,
  type RuntimeEvent,
  type RuntimeSandbox,
} from '../../../control/runtime/runtime.ts'
import type { FakeCall, FakeSnapshotCall } from '../fake-runtime.ts'
import { type KeptSnapshots, lastingSnapshots } from './lasting-snapshots.ts'
import type { Life, VirtualTime } from './virtual-time.ts'

export const FAULTS = [
  'fails', // before it has any effect
  'fails_halfway', // and what it has begun stays
  'answer_lost', // it has its effect, and says that it failed
  'slow',
  'hangs', // until its deadline, without effect
  'hangs_halfway',
  'hangs_done', // until its deadline, though it has its effect
] as const
export type Fault = (typeof FAULTS)[number]

export const MOMENTS = ['before', 'halfway', 'after'] as const
export type Moment = (typeof MOMENTS)[number]

type LastingCall = FakeCall | FakeSnapshotCall
type Armed = { call: LastingCall; fault: Fault; ms: number }
/** Ends the life of the caller in the next such call; `isLate`: what was begun is finished nevertheless, a while later. */
type Death = { call: LastingCall; moment: Moment; isLate: boolean; isCancelled?: boolean }

const DURATION_MS: Record<LastingCall, number> = {
  snapshot: 150,
  seal: 50,
  'remove-snapshot': 30,
  'list-snapshots': 5,
  create: 200,
  pause: 20,
  resume: 20,
  remove: 60,
  inspect: 1,
  list: 5,
}
const LATE_MS = 1500

/** A sandbox as it is; `make` tells it from another one of the same id. */
type Thing = RuntimeSandbox & { make: number }

export class LastingRuntime {
  readonly things = new Map<string, Thing>()
  readonly snapshots: KeptSnapshots = new Map()
  /** What is on the machine and not ours. */
  readonly foreign = new Map<string, RuntimeSandbox>()
  /** Calls that named something foreign. */
  readonly trespasses: string[] = []
  readonly #time: VirtualTime
  readonly #armed: Armed[] = []
  #death: Death | undefined
  /** Those that a call has come upon and that it has not died yet. */
  readonly #deaths = new Set<Death>()
  #kill: () => void = () => {}
  readonly #hanging = new Set<() => void>()
  readonly #watchers = new Map<(event: RuntimeEvent) => void, Life>()
  readonly #broken = new Set<() => void>()
  #makes = 0
  /** When something last went wrong, in elapsed time; -1 for never. */
  troubledAt = -1

  constructor(time: VirtualTime) {
    this.#time = time
    for (const id of ['foreignaaaaaaaaa', 'foreignbbbbbbbbb'])
      this.foreign.set(id, { id, state: 'running', address: '10.99.0.1' })
  }

  get isHanging(): boolean {
    return this.#hanging.size > 0
  }

  /** The next call of this kind goes wrong. */
  arm(armed: Armed): void {
    this.#armed.push(armed)
  }

  killIn(death: Death, kill: () => void): void {
    this.#death = death
    this.#kill = kill
  }

  /** From here on nothing goes wrong by itself, and what hangs fails. */
  calm(): void {
    this.#armed.length = 0
    this.#death = undefined
    for (const death of this.#deaths) death.isCancelled = true
    this.#deaths.clear()
    for (const give of [...this.#hanging]) give()
  }

  /** Ends a sandbox as if its entrypoint had; `isHeard` is whether anybody is told. */
  exit(id: string, exitCode: number, isHeard: boolean): void {
    const thing = this.things.get(id)
    if (!thing || thing.state === 'incomplete' || thing.state === 'exited') return
    const { address: _, ...rest } = thing
    const sandbox: Thing = { ...rest, state: 'exited', exitCode }
    this.things.set(id, sandbox)
    this.#note()
    if (isHeard) this.#tell({ type: 'exited', sandbox: shown(sandbox) })
  }

  vanish(id: string): void {
    this.#note()
    this.things.delete(id)
  }

  /** Somebody destroys a part of it. */
  damage(id: string): void {
    this.#note()
    const thing = this.things.get(id)
    if (thing) this.things.set(id, { id, state: 'incomplete', make: thing.make })
  }

  /** Somebody pauses or resumes it behind control's back; `isHeard` is whether anybody is told. */
  turn(id: string, state: 'running' | 'paused', isHeard: boolean): void {
    const thing = this.things.get(id)
    if (!thing || (thing.state !== 'running' && thing.state !== 'paused')) return
    this.#note()
    thing.state = state
    if (isHeard) this.#tell({ type: 'changed', id })
  }

  /** Ends the reports of ends. */
  breakWatch(): void {
    this.#note()
    for (const end of [...this.#broken]) end()
  }

  /** The runtime as one life of control has it. */
  connect(life: Life): Runtime {
    const { things } = this
    for (const [id, isWhole] of this.snapshots) if (!isWhole) this.snapshots.delete(id)
    const move = (id: string, from: 'running' | 'paused', to: 'running' | 'paused') => {
      const thing = things.get(id)
      if (!thing) throw new RuntimeError('not_found', 'There is no such sandbox')
      if (thing.state !== from)
        throw new RuntimeError(from === 'running' ? 'not_running' : 'not_paused', `It is ${thing.state}`)
      thing.state = to
    }
    const call = (name: LastingCall, id: string, signal: AbortSignal, stages: (() => void)[]) =>
      this.#call(life, { name, id, signal, stages })
    return {
      name: 'lasting',
      snapshots: lastingSnapshots({ things, kept: this.snapshots, call }),
      create: async ({ id }, signal) => {
        const make = ++this.#makes
        const isMine = () => things.get(id)?.make === make
        const begin = () => {
          if (things.has(id)) throw new RuntimeError('start_failed', 'There is such a sandbox already')
          things.set(id, { id, state: 'incomplete', make })
        }
        const finish = () => {
          if (!isMine()) throw new RuntimeError('start_failed', 'It was removed while it was made')
          things.set(id, { id, state: 'running', address: `10.88.${make >> 8}.${make & 255}`, make })
        }
        try {
          await call('create', id, signal, [begin, finish])
        } catch (error) {
          if (isMine() && !(error instanceof Halfway)) things.delete(id)
          throw error
        }
        return shown(things.get(id) ?? { id, state: 'incomplete', make })
      },
      pause: (id, signal) => call('pause', id, signal, [() => move(id, 'running', 'paused')]),
      resume: (id, signal) => call('resume', id, signal, [() => move(id, 'paused', 'running')]),
      remove: (id, _options, signal) =>
        call('remove', id, signal, [
          () => {
            const thing = things.get(id)
            if (thing) things.set(id, { id, state: 'incomplete', make: thing.make })
          },
          () => void things.delete(id),
        ]),
      inspect: async (id, signal) => {
        await call('inspect', id, signal, [])
        const thing = things.get(id)
        return thing && shown(thing)
      },
      list: async (signal) => {
        await call('list', '', signal, [])
        return [...things.values()].map(shown)
      },
      logs: async (id) => (things.has(id) ? Buffer.from(`output of ${id}\n`) : undefined),
      watch: (signal) => this.#watch(life, signal),
      close: () => Promise.resolve(),
    }
  }

  async #call(
    life: Life,
    {
      name,
      id,
      signal,
      stages,
    }: { name: LastingCall; id: string; signal: AbortSignal; stages: (() => void)[] },
  ): Promise<void> {
    if (life.isOver) await never()
    if (this.foreign.has(id)) this.trespasses.push(`${name} ${id}`)
    signal.throwIfAborted()
    const at = this.#armed.findIndex((armed) => armed.call === name)
    const [armed] = at < 0 ? [] : this.#armed.splice(at, 1)
    const fault = armed?.fault
    if (fault) this.#note()
    const death = this.#death?.call === name ? this.#death : undefined
    if (death) {
      this.#death = undefined
      this.#deaths.add(death)
    }
    const die = async (rest: (() => void)[]) => {
      if (death?.isCancelled) return
      this.#note()
      this.#kill()
      // It runs on outside of the life that is over.
      if (death?.isLate && rest.length > 0) this.#finishLate(rest)
      await never()
    }
    if (death?.moment === 'before') await die([])
    if (fault === 'fails') throw new Error('broken on purpose')
    if (fault === 'hangs') await this.#hang(signal)
    if (fault === 'slow') await delay(armed?.ms, undefined, { signal })
    const rest = [...stages]
    const step = DURATION_MS[name] / (stages.length + 1)
    await delay(step, undefined, { signal })
    for (let stage = rest.shift(); stage; stage = rest.shift()) {
      stage()
      if (rest.length > 0 || stages.length === 1) {
        if (death?.moment === 'halfway') await die(rest)
        if (fault === 'fails_halfway') throw new Halfway('broken on purpose, halfway')
        if (fault === 'hangs_halfway') await this.#hang(signal)
      }
      await delay(step, undefined, { signal })
    }
    if (death) await die([])
    if (fault === 'hangs_done') await this.#hang(signal)
    if (fault === 'answer_lost') throw new Error('the answer was lost')
  }

  #finishLate(rest: (() => void)[]): void {
    // A daemon that goes on with what it was told, whoever told it.
    this.#time.outside(() =>
      setTimeout(() => {
        this.#note()
        try {
          for (const stage of rest) stage()
        } catch {
          // It came too late: what it was about is not there any more.
        }
      }, LATE_MS),
    )
  }

  /** Rejects when the signal aborts, or everything calms down. */
  #hang(signal: AbortSignal): Promise<never> {
    return new Promise((_resolve, reject) => {
      const give = () => {
        this.#hanging.delete(give)
        signal.removeEventListener('abort', give)
        this.#note()
        reject(signal.aborted ? signal.reason : new Error('it hung, and then broke'))
      }
      this.#hanging.add(give)
      signal.addEventListener('abort', give)
    })
  }

  async *#watch(life: Life, signal: AbortSignal): AsyncGenerator<RuntimeEvent> {
    const queue: RuntimeEvent[] = []
    let isBroken = false
    let wake = () => {}
    const watcher = (event: RuntimeEvent) => {
      queue.push(event)
      wake()
    }
    const onAbort = () => wake()
    const breakOff = () => {
      isBroken = true
      wake()
    }
    this.#watchers.set(watcher, life)
    this.#broken.add(breakOff)
    signal.addEventListener('abort', onAbort)
    try {
      while (!signal.aborted && !isBroken) {
        const event = queue.shift()
        if (event) yield event
        else
          await new Promise<void>((resolve) => {
            wake = resolve
            if (signal.aborted || queue.length > 0) resolve()
          })
        if (life.isOver) await never()
      }
      if (isBroken) throw new Error('the reports broke off')
    } finally {
      this.#watchers.delete(watcher)
      this.#broken.delete(breakOff)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** A life that is over hears nothing, and what it hung at is not its own any more. */
  forget(life: Life): void {
    for (const [watcher, owner] of this.#watchers) if (owner === life) this.#watchers.delete(watcher)
    this.#hanging.clear()
    this.#broken.clear()
  }

  #tell(event: RuntimeEvent): void {
    for (const [watcher, life] of this.#watchers) if (!life.isOver) watcher(event)
  }

  #note(): void {
    this.troubledAt = this.#time.elapsed()
  }
}

/** A failure that leaves behind what it had begun. */
class Halfway extends Error {}

function shown({ make: _, ...sandbox }: Thing): RuntimeSandbox {
  return { ...sandbox }
}

function never(): Promise<never> {
  return new Promise(() => {})
}
