// A runtime whose calls are counted and timed. It stands around whichever runtime there is, so none of them has to do it.

import {
  CREATE_PHASES,
  type CreatePhase,
  type CreateWatch,
  type Runtime,
  RuntimeError,
} from '../runtime/runtime.ts'
import type { Snapshots } from '../runtime/snapshots.ts'
import type { Observer, RuntimeCall, RuntimeCallDone } from './observer.ts'

export function observeRuntime(runtime: Runtime, observer: Observer): Runtime {
  const timed: Timed = async (call, signal, work) => {
    const beganAt = Date.now()
    const began = performance.now()
    try {
      const result = await work()
      observer.runtimeCallDone({ call, beganAt, ms: performance.now() - began })
      return result
    } catch (error) {
      const failure = failureOf(error, signal)
      observer.runtimeCallDone({ call, beganAt, ms: performance.now() - began, failure })
      throw error
    }
  }
  return {
    name: runtime.name,
    ...(runtime.canPause !== undefined && { canPause: runtime.canPause }),
    ...(runtime.rootOwner && { rootOwner: runtime.rootOwner }),
    ...(runtime.abilities && { abilities: runtime.abilities }),
    ...(runtime.volumes && { volumes: runtime.volumes }),
    ...(runtime.images && { images: runtime.images }),
    ...(runtime.snapshots && { snapshots: observeSnapshots(runtime.snapshots, timed) }),
    create(spec, signal, watch) {
      const phases = followPhases(observer, watch)
      return timed('create', signal, async () => {
        try {
          return await runtime.create(spec, signal, phases.watch)
        } catch (error) {
          phases.fail()
          throw error
        }
      })
    },
    pause: (id, signal) => timed('pause', signal, () => runtime.pause(id, signal)),
    ...(runtime.reclaim && { reclaim: (id: string) => runtime.reclaim?.(id) ?? Promise.resolve(undefined) }),
    resume: (id, signal) => timed('resume', signal, () => runtime.resume(id, signal)),
    remove: (id, options, signal) => timed('remove', signal, () => runtime.remove(id, options, signal)),
    inspect: (id, signal) => timed('inspect', signal, () => runtime.inspect(id, signal)),
    list: (signal) => timed('list', signal, () => runtime.list(signal)),
    logs: (id, options, signal) => timed('logs', signal, () => runtime.logs(id, options, signal)),
    watch: (signal) => runtime.watch(signal),
    close: () => runtime.close(),
  }
}

type Timed = <T>(call: RuntimeCall, signal: AbortSignal, work: () => Promise<T>) => Promise<T>

function observeSnapshots(snapshots: Snapshots, timed: Timed): Snapshots {
  return {
    ...(snapshots.unsupported !== undefined && { unsupported: snapshots.unsupported }),
    create: (sandboxId, id, signal) =>
      timed('snapshot', signal, () => snapshots.create(sandboxId, id, signal)),
    seal: (id, signal) => timed('seal_snapshot', signal, () => snapshots.seal(id, signal)),
    remove: (id, signal) => timed('remove_snapshot', signal, () => snapshots.remove(id, signal)),
    list: (signal) => snapshots.list(signal),
  }
}

/** Times from phase to phase. A create that fails has failed in the phase after the last one that was reported. */
function followPhases(observer: Observer, given: CreateWatch | undefined) {
  let last = performance.now()
  let reported: CreatePhase | undefined
  const tell = (phase: CreatePhase, isFailed: boolean) => {
    const ms = performance.now() - last
    last = performance.now()
    observer.createPhaseDone({ phase, beganAt: Date.now() - ms, ms, isFailed })
  }
  const watch: CreateWatch = {
    ...given,
    phaseDone(phase) {
      reported = phase
      tell(phase, false)
      given?.phaseDone?.(phase)
    },
  }
  const fail = () => {
    const next = CREATE_PHASES[reported === undefined ? 0 : CREATE_PHASES.indexOf(reported) + 1]
    if (next !== undefined) tell(next, true)
  }
  return { watch, fail }
}

function failureOf(error: unknown, signal: AbortSignal): NonNullable<RuntimeCallDone['failure']> {
  if (signal.aborted) return 'aborted'
  return error instanceof RuntimeError ? error.failure : 'other'
}
