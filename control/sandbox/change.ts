// Everything that changes a sandbox after it was made: pause, resume, removal, renewal, metadata. The intent is written
// before the runtime is asked, the outcome after; what a death of this process leaves in between, reconcile.ts sorts out.

import type { MetadataPatch } from '../../lib/api/lifecycle.ts'
import { messageOf } from '../../lib/errors.ts'
import { settlesWithin } from '../async.ts'
import { notFound, refusal } from '../errors.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import type { SandboxChange, SandboxRow } from '../store/rows.ts'
import { idleAtOf } from './activity.ts'
import { KEPT_LOG_BYTES, readLastOutput } from './last-output.ts'
import { type Lives, removeTimeoutMs, stepOf } from './lives.ts'
import { patchMetadata } from './metadata.ts'
import { decideStep } from './state.ts'

/** SDKs compute a new end from the clock of their own machine. */
const CLOCK_TOLERANCE_MS = 60_000
/** How long a pause waits for the kernel to take back what memory it can. */
const RECLAIM_MS = 2000

/** The row of a sandbox that clients may know of. Throws 404. */
export function requireSandbox({ store }: Pick<Lives, 'store'>, id: string): SandboxRow {
  const row = store.get(id)
  if (!row || row.hidden) throw notFound()
  return row
}

export async function pauseSandbox(lives: Lives, id: string): Promise<void> {
  requireSandbox(lives, id)
  await lives.turns.take(id, async () => {
    const row = requireSandbox(lives, id)
    const pausing = stepOf(row, 'pause', lives.now())
    if (!pausing) throw refusal('DOCKER::SANDBOX_NOT_RUNNING', refusedStep(row, 'pause'))
    await pauseTo(lives, id, pausing, { reason: 'CONTAINER_PAUSED' })
  })
}

/** Pauses a sandbox that nothing has been sent to for as long as it said, unless something was in the meantime. */
export async function pauseIdleSandbox(lives: Lives, id: string): Promise<void> {
  const { store, turns, activity, now } = lives
  await turns.take(id, async () => {
    activity.settle(id)
    const row = store.get(id)
    const idleAt = row && idleAtOf(row)
    if (!row || idleAt === undefined || idleAt > now()) return
    const pausing = stepOf(row, 'pause', now(), { reason: 'IDLE' })
    if (!pausing) return
    const message = `Nothing was sent to it for ${row.idleSeconds} seconds; resume it to go on`
    await pauseTo(lives, id, pausing, { reason: 'IDLE', message })
    lives.log.info('idle sandbox paused', { sandbox: id, afterSeconds: row.idleSeconds })
  })
}

async function pauseTo(
  lives: Lives,
  id: string,
  pausing: SandboxChange,
  told: { reason: string; message?: string },
): Promise<void> {
  const { store, runtime, settings, now } = lives
  store.update(id, pausing)
  try {
    await runtime.pause(id, AbortSignal.timeout(settings.pauseTimeoutMs))
  } catch (error) {
    takeBack(lives, id, 'pause_failed', 'CONTAINER_RUNNING')
    if (error instanceof RuntimeError && error.failure === 'not_running')
      throw refusal('DOCKER::SANDBOX_NOT_RUNNING', error.message, { cause: error })
    requireAvailable(error)
    throw refusal('DOCKER::SANDBOX_PAUSE_FAILED', 'The sandbox could not be paused', { cause: error })
  }
  const message = [told.message, await whatItKeeps(lives, id)].filter(Boolean).join('. ')
  store.change(id, (current) => stepOf(current, 'paused', now(), { ...told, ...(message && { message }) }))
}

/** Gives back what memory of a paused sandbox can be given back, and says what it keeps, if that is known soon. */
async function whatItKeeps({ runtime, log }: Lives, id: string): Promise<string | undefined> {
  if (!runtime.reclaim) return undefined
  const reclaimed = runtime.reclaim(id).catch((error: unknown) => {
    log.warn('the memory of a paused sandbox could not be given back', {
      sandbox: id,
      error: messageOf(error),
    })
    return undefined
  })
  const bytes = (await settlesWithin(reclaimed, RECLAIM_MS)) ? await reclaimed : undefined
  return bytes === undefined
    ? undefined
    : `It keeps its files and ${Math.ceil(bytes / 2 ** 20)} MiB of memory`
}

/** Throws what another try in a moment may not meet. */
function requireAvailable(error: unknown): void {
  if (error instanceof RuntimeError && error.failure === 'unavailable')
    throw refusal('DOCKER::UNAVAILABLE', error.message, { cause: error })
}

export async function resumeSandbox(lives: Lives, id: string): Promise<void> {
  const { turns, settings, now } = lives
  requireSandbox(lives, id)
  await turns.take(id, async () => {
    const row = requireSandbox(lives, id)
    const resuming = stepOf(row, 'resume', now())
    if (!resuming) throw refusal('DOCKER::SANDBOX_NOT_PAUSED', refusedStep(row, 'resume'))
    await resumeTo(lives, row, resuming, { reason: 'CONTAINER_RUNNING', timeoutMs: settings.pauseTimeoutMs })
  })
}

/** Lets a paused sandbox go on whose turn it is. When it cannot, it is paused for what it was paused for. */
export async function resumeTo(
  lives: Lives,
  { id, reason: pausedFor }: SandboxRow,
  resuming: SandboxChange,
  { reason, timeoutMs }: { reason: string; timeoutMs: number },
): Promise<void> {
  const { store, runtime, now } = lives
  store.update(id, resuming)
  try {
    await runtime.resume(id, AbortSignal.timeout(timeoutMs))
  } catch (error) {
    takeBack(lives, id, 'resume_failed', pausedFor ?? 'CONTAINER_PAUSED')
    if (error instanceof RuntimeError && error.failure === 'not_paused')
      throw refusal('DOCKER::SANDBOX_NOT_PAUSED', error.message, { cause: error })
    requireAvailable(error)
    throw refusal('DOCKER::SANDBOX_RESUME_FAILED', 'The sandbox could not be resumed', { cause: error })
  }
  store.change(id, (current) => stepOf(current, 'resumed', now(), { reason }))
}

/**
 * Removes a sandbox for a client. Deletes that come together are one: all succeed. Resolves once nothing is left, or when that
 * takes long, once it counts as gone and will be finished whatever happens.
 */
export async function deleteSandbox(lives: Lives, id: string): Promise<void> {
  requireSandbox(lives, id)
  const removal = removeSandbox(lives, id, 'DELETE_REQUESTED')
  if (await settlesWithin(removal, lives.settings.deleteAnswerMs)) {
    try {
      await removal
    } catch (error) {
      lives.doubts.add(id, lives.now())
      throw refusal('DOCKER::SANDBOX_DELETE_FAILED', 'The sandbox could not be removed; it is tried again', {
        cause: error,
      })
    }
    return
  }
  removal.catch((error) => {
    lives.log.error('removal failed and is tried again', { sandbox: id, error: messageOf(error) })
    lives.doubts.add(id, lives.now())
  })
  hide(lives, id)
}

/**
 * Cancels a create that is going on, then removes what there is, then the row. Rejects when something is left: see reconcile.ts.
 * The intent is written at once, whatever still has the turn: from then on the sandbox is on its way out, for whoever renews it
 * as for the next start of this program.
 */
export async function removeSandbox(
  lives: Lives,
  id: string,
  reason: string,
  stillWanted: (row: SandboxRow) => boolean = () => true,
): Promise<void> {
  const { store, runtime, turns, settings, now, creating } = lives
  // What passed through the gateway just now counts, too.
  lives.activity.settle(id)
  let isWanted = false
  store.change(id, (row) => {
    isWanted = stillWanted(row)
    if (!isWanted) return undefined
    const hidden = row.hidden || reason === 'EXPIRED'
    if (row.state === 'Stopping') return hidden === row.hidden ? undefined : { hidden }
    return { ...stepOf(row, 'remove', now(), { reason }), hidden }
  })
  if (!isWanted) return
  creating.get(id)?.abort(new Error('The sandbox is removed'))
  await turns.take(id, async () => {
    const row = store.get(id)
    if (!row) return
    const isKnown = row.acknowledged && !row.warm
    const log = isKnown ? await readLastOutput(lives, id, KEPT_LOG_BYTES) : undefined
    await runtime.remove(
      id,
      { graceMs: settings.stopGraceMs },
      AbortSignal.timeout(removeTimeoutMs(settings)),
    )
    store.delete(id, { at: now(), isKnown, ...(log && { log }) })
    lives.log.info('sandbox is gone', { sandbox: id, reason: row.reason })
  })
}

/** Removes a sandbox whose time is over, unless it was renewed in the meantime. */
export function expireSandbox(lives: Lives, id: string): Promise<void> {
  return removeSandbox(
    lives,
    id,
    'EXPIRED',
    (row) => row.expiresAt !== null && row.expiresAt <= lives.now() && row.state !== 'Stopping',
  )
}

/**
 * Sets a new end, sooner or later than the old one, and returns it. One SQL transaction, so it wins over an expiry or loses
 * cleanly. It reaches no further than that of a new sandbox could.
 */
export function renewSandbox(
  { store, now, settings }: Pick<Lives, 'store' | 'now' | 'settings'>,
  id: string,
  expiresAt: number,
): number {
  const at = now()
  const decide = (row: SandboxRow): SandboxChange => {
    if (row.hidden) throw notFound()
    if (row.state === 'Stopping')
      throw refusal('DOCKER::INVALID_EXPIRATION', 'A sandbox that is being deleted cannot be renewed', {
        status: 409,
      })
    if (row.expiresAt === null)
      throw refusal('DOCKER::INVALID_EXPIRATION', 'The sandbox has no expiry that could be renewed', {
        status: 409,
      })
    if (!(expiresAt > at)) throw refusal('DOCKER::INVALID_EXPIRATION', 'expiresAt must lie in the future')
    if (expiresAt > at + settings.maxTimeoutMs + CLOCK_TOLERANCE_MS)
      throw refusal(
        'DOCKER::INVALID_EXPIRATION',
        `expiresAt must lie at most ${settings.maxTimeoutMs / 1000} seconds ahead, as timeout may be`,
      )
    return { expiresAt }
  }
  const renewed = store.change(id, decide, { type: 'renewed', at })
  if (!renewed) throw notFound()
  return expiresAt
}

export function changeMetadata(
  { store, now }: Pick<Lives, 'store' | 'now'>,
  id: string,
  patch: MetadataPatch,
): SandboxRow {
  const decide = (row: SandboxRow): SandboxChange => {
    if (row.hidden) throw notFound()
    return { metadata: patchMetadata(row.metadata, patch) }
  }
  const changed = store.change(id, decide, { type: 'metadata', at: now() })
  if (!changed) throw notFound()
  return changed
}

function takeBack(
  { store, doubts, now }: Lives,
  id: string,
  step: 'pause_failed' | 'resume_failed',
  reason: string,
): void {
  store.change(id, (row) => stepOf(row, step, now(), { reason }))
  // It failed, or came too late to be told: what the runtime did is found out soon.
  doubts.add(id, now())
}

function hide({ store }: Lives, id: string): void {
  store.change(id, () => ({ hidden: true }))
}

function refusedStep(row: SandboxRow, step: 'pause' | 'resume'): string {
  const decision = decideStep(row.state, step)
  return decision.allowed ? '' : decision.reason
}
