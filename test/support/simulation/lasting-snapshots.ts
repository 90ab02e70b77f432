// Snapshots that outlive control. One is listed once it is whole; what a death has left of one is gone with the next start, or made
// whole by a daemon that goes on, and then it comes too late.

import { RuntimeError, type RuntimeSandbox } from '../../../control/runtime/runtime.ts'
import type { Snapshots } from '../../../control/runtime/snapshots.ts'
import type { FakeSnapshotCall } from '../fake-runtime.ts'

/** By id, whether it is whole. */
export type KeptSnapshots = Map<string, boolean>

type Parts = {
  things: ReadonlyMap<string, RuntimeSandbox>
  kept: KeptSnapshots
  call: (name: FakeSnapshotCall, id: string, signal: AbortSignal, stages: (() => void)[]) => Promise<void>
}

const SIZE_BYTES = 4096
const DIGEST = `sha256:${'0'.repeat(64)}`

export function lastingSnapshots({ things, kept, call }: Parts): Snapshots {
  return {
    async create(sandboxId, id, signal) {
      const begin = () => {
        if (things.get(sandboxId)?.state !== 'running')
          throw new RuntimeError('not_running', 'It does not run')
        kept.set(id, false)
      }
      const finish = () => {
        if (!kept.has(id)) throw new RuntimeError('not_running', 'It was removed while it was made')
        kept.set(id, true)
      }
      try {
        await call('snapshot', id, signal, [begin, finish])
      } catch (error) {
        if (kept.get(id) === false) kept.delete(id)
        throw error
      }
      return { id, sizeBytes: SIZE_BYTES }
    },
    async seal(id, signal) {
      await call('seal', id, signal, [])
      if (!kept.get(id)) throw new RuntimeError('not_found', 'There is no such snapshot')
      return { digest: DIGEST }
    },
    remove: (id, signal) => call('remove-snapshot', id, signal, [() => void kept.delete(id)]),
    async list(signal) {
      await call('list-snapshots', '', signal, [])
      return [...kept].flatMap(([id, isWhole]) => (isWhole ? [{ id, sizeBytes: SIZE_BYTES }] : []))
    },
  }
}
