// What all changes of sandboxes share: the rows, the runtime, the turns, the clock. One value, made in
// control/control.ts, handed to whoever changes something.

import type { PullPolicy } from '../../lib/api/images.ts'
import type { Logger } from '../../lib/log.ts'
import type { WakeMode } from '../../lib/wake-mode.ts'
import type { Observer } from '../observe/observer.ts'
import type { Runtime } from '../runtime/runtime.ts'
import type { SandboxChange, SandboxRow } from '../store/rows.ts'
import type { Limits, Quota } from '../store/schema.ts'
import type { Store } from '../store/sqlite.ts'
import type { Activity } from './activity.ts'
import type { Doubts } from './doubts.ts'
import type { HostFiles } from './host-paths.ts'
import type { PullProgress } from './pull-progress.ts'
import { decideStep, type Step } from './state.ts'
import type { Turns } from './turns.ts'

export type Lives = {
  store: Store
  runtime: Runtime
  quotas: {
    /** Throws ApiError when a tenant may not have one more sandbox. */
    admit(tenant: string, limits: Limits): void
    /** Throws ApiError when a tenant may not have one more snapshot. */
    admitSnapshot(tenant: string): void
    /** Why a snapshot that has been taken cannot be kept. */
    snapshotRefusal(tenant: string, sizeBytes: number): string | undefined
    /** Throws ApiError when a tenant may not have one more volume, nor write to those that it has. */
    admitVolume(tenant: string): void
    /** What is in force for a tenant. */
    of(tenant: string): Quota
  }
  turns: Turns
  /** What has to be looked at again soon. */
  doubts: Doubts
  /** What traffic keeps alive. */
  activity: Activity
  /** Creates that are going on in this process; aborting one makes it clean up and end. */
  creating: Map<string, AbortController>
  /** How far they are. */
  progress: PullProgress
  log: Logger
  observer: Pick<Observer, 'passDone' | 'createPhaseDone'>
  now: () => number
  files: HostFiles
  settings: LifeSettings
  /** Aborts when the program stops. */
  signal: AbortSignal
}

export type LifeSettings = {
  allowedHostPaths: string[]
  /** What a sandbox may write to its own file system whose create says nothing of it; no limit when absent. */
  defaultDiskBytes?: number
  /** Whether a sandbox may ask to make namespaces of its own. */
  allowIsolatedSessions: boolean
  /** When registries are asked, where a create does not say. */
  pullPolicy?: PullPolicy
  stopGraceMs: number
  /** How long a create may take in all, pulling its image included. */
  createTimeoutMs: number
  /** After this long a create is answered with `Pending` and goes on by itself (contract: lifecycle.md 9). */
  createAnswerMs: number
  /** After this long a delete is answered although the removal is still going on. */
  deleteAnswerMs: number
  pauseTimeoutMs: number
  /** How far ahead the end of a sandbox may lie, by whatever it is renewed; Infinity when nothing is configured. */
  maxTimeoutMs: number
  /** What traffic does: see activity.ts. */
  renewsOnAccess?: boolean
  renewIntervalMs?: number
  /** For so long an Idempotency-Key stands for what it has made. */
  idempotencyMs: number
  /** Whether a request wakes a paused sandbox that does not say so itself; never when absent. */
  wake?: WakeMode
  /** How long that may take. */
  wakeTimeoutMs?: number
}

/** The change that takes a row one step, or undefined when the table does not allow it. */
export function stepOf(
  row: SandboxRow,
  step: Step,
  now: number,
  { reason = null, message = null, ...more }: SandboxChange = {},
): SandboxChange | undefined {
  const decision = decideStep(row.state, step)
  if (!decision.allowed) return undefined
  // From when it runs, it has as long until it counts as idle as after traffic.
  const activeAt = decision.state === 'Running' && row.idleSeconds !== null ? { activeAt: now } : {}
  return { ...activeAt, ...more, state: decision.state, reason, message, lastTransitionAt: now }
}

/** How long a removal may take before it counts as failed: the grace, and time for what comes after it. */
export function removeTimeoutMs(settings: LifeSettings): number {
  return settings.stopGraceMs + 30_000
}
