// What there is of a sandbox, by its directory, its first process and its cgroup.

import { existsSync } from 'node:fs'
import { readExit } from '../exit-file.ts'
import type { RuntimeSandbox } from '../runtime.ts'
import { isRunning, readRecord } from '../sandbox-record.ts'
import { isFrozen, readOomKills } from './cgroup.ts'
import type { Holds } from './hold.ts'
import { type Parts, sandboxCgroup, sandboxPaths } from './parts.ts'

export type Found = RuntimeSandbox | undefined

/** Undefined when it has no directory. */
export function findSandbox(parts: Parts, holds: Holds, id: string): Found {
  const paths = sandboxPaths(parts, id)
  if (!existsSync(paths.folder)) return undefined
  const record = readRecord(paths.record)
  if (!record?.complete) return { id, state: 'incomplete' }
  const { address } = record
  const cgroup = sandboxCgroup(parts, id)
  if (isRunning(record)) {
    const paused = isFrozen(cgroup, parts.cgroups) && !holds.isHeld(id)
    return { id, state: paused ? 'paused' : 'running', address }
  }
  const exit = readExit(paths.exchange)
  const oom = readOomKills(cgroup, parts.cgroups) > 0
  const message =
    exit?.message ??
    (oom ? 'killed: out of memory' : exit ? undefined : 'ended from outside, or the machine was restarted')
  return { id, state: 'exited', exitCode: exit?.exitCode ?? 137, ...(message !== undefined && { message }) }
}
