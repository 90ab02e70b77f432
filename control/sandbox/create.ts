// Making a sandbox. The row is written first, `Pending`, so that at no moment something runs that nobody has written down.
// Then the runtime makes it so. The caller is answered when it runs, or when it takes long, with `Pending`; only then is the
// sandbox acknowledged. What was not acknowledged when the create fails, is cancelled or this process dies, goes without a
// trace; what was, ends as `Failed` with its reason, or is tried again after a restart.

import { preStartTimeoutMs } from '../../lib/api/lifecycle-hooks.ts'
import { messageOf } from '../../lib/errors.ts'
import { createAccessToken, createSandboxId, createToken } from '../../lib/id.ts'
import { settlesWithin } from '../async.ts'
import { notFound, refusal, refusalOfStart } from '../errors.ts'
import type { RuntimeSpec } from '../runtime/runtime.ts'
import type { OnceMark } from '../store/once.ts'
import type { NewSandboxRow, SandboxRow } from '../store/rows.ts'
import { makeSources, openMounts } from './host-paths.ts'
import { type Lives, removeTimeoutMs, stepOf } from './lives.ts'
import { openVolumes, requireVolumes } from './named-volumes.ts'
import { type CreatePlan, ISOLATION_EXTENSION } from './plan.ts'
import { pullPolicyOf } from './pull-policy.ts'

/** Whose the sandbox is, and the name of the API key that asked for it. */
export type Owner = {
  tenant: string
  createdBy: string | null
  /** The Idempotency-Key that it was asked for with. */
  mark?: OnceMark
}

/** Where a sandbox comes from, when it is more than an image. */
export type Source = {
  templateId?: string
  snapshotId?: string
  pool?: { name: string; revision: string }
}

export type CreateOptions = {
  source?: Source
  /** Called when nothing is awaited any more before the row is written; throws when there is no place for it. */
  requirePlace?: () => void
}

/**
 * Makes a sandbox as planned and returns its row, running, or pending when it takes longer than the answer may. Rejects with
 * an ApiError when it cannot be made, and when `caller` aborts before the answer.
 */
export async function createSandbox(
  lives: Lives,
  plan: CreatePlan,
  owner: Owner,
  caller: AbortSignal,
  { source = {}, requirePlace }: CreateOptions = {},
): Promise<SandboxRow> {
  const { store, settings } = lives
  const mounts = await openMounts(plan.mounts, settings.allowedHostPaths, lives.files)
  if (lives.signal.aborted)
    throw refusal('GENERAL::STOPPING', 'The server is stopping: try again in a moment')
  requirePlace?.()
  lives.quotas.admit(owner.tenant, plan.limits)
  requireVolumes(lives, owner.tenant, plan.volumes)
  const row = store.insert(newRow(lives, { ...plan, mounts }, { owner, source }), {
    mark: owner.mark,
    volumes: plan.volumes,
  })
  const start = beginStart(lives, row, plan.image)
  const cancel = () => start.cancel(new Error('The caller left before the sandbox was ready'))
  if (caller.aborted) cancel()
  else caller.addEventListener('abort', cancel, { once: true })
  try {
    if (await settlesWithin(start.done, settings.createAnswerMs)) return await start.done
    // From here on the caller knows of it. The create may have ended in this very moment: then its end decides.
    const pending = store.change(row.id, (current) =>
      current.state === 'Pending' ? { acknowledged: true } : undefined,
    )
    if (pending?.state !== 'Pending') return await start.done
    start.done.catch((error) =>
      lives.log.warn('sandbox could not be started', { sandbox: row.id, error: messageOf(error) }),
    )
    return lives.progress.shown(pending)
  } finally {
    caller.removeEventListener('abort', cancel)
  }
}

/** The row of a sandbox that is about to be made. */
export function newRow(
  { now }: Pick<Lives, 'now'>,
  plan: CreatePlan,
  { owner, source }: { owner: Owner; source: Source },
): NewSandboxRow {
  return {
    ...requestedValues(plan, owner),
    id: createSandboxId(),
    tenant: owner.tenant,
    state: 'Pending',
    reason: 'SANDBOX_SCHEDULED',
    message: null,
    acknowledged: false,
    hidden: false,
    image: plan.image.uri,
    entrypoint: plan.entrypoint,
    env: plan.env,
    hasImageAuth: plan.image.auth !== undefined,
    limits: plan.limits,
    mounts: plan.mounts,
    credentialProxy: plan.credentialProxy ?? false,
    execdToken: createToken(),
    egressToken: createToken(),
    address: null,
    generation: 1,
    lastTransitionAt: now(),
    templateId: source.templateId ?? null,
    snapshotId: source.snapshotId ?? null,
    pool: source.pool?.name ?? null,
    poolRevision: source.pool?.revision ?? null,
  }
}

/** What a request says of a sandbox whether it is made now or was made beforehand: a claim writes the same. */
export function requestedValues(plan: CreatePlan, { createdBy }: Owner) {
  return {
    createdBy,
    metadata: plan.metadata,
    extensions: plan.extensions,
    platform: plan.platform ?? null,
    networkPolicy: plan.networkPolicy ?? null,
    createdAt: plan.createdAt,
    expiresAt: plan.expiresAt ?? null,
    renewSeconds: plan.renewSeconds ?? null,
    idleSeconds: plan.idleSeconds ?? null,
    idleAction: plan.idleSeconds === undefined ? null : ('pause' as const),
    activeAt: null,
    accessToken: plan.secureAccess ? createAccessToken() : null,
    wake: plan.wake ?? null,
  }
}

export type Start = { done: Promise<SandboxRow>; cancel: (reason: Error) => void }

/** Starts what a `Pending` row says, for a new sandbox or for one whose start was interrupted. */
export function beginStart(lives: Lives, row: SandboxRow, image: RuntimeSpec['image']): Start {
  const controller = new AbortController()
  lives.creating.set(row.id, controller)
  const done = lives.turns.take(row.id, async () => {
    try {
      // It may have been removed before it got its turn.
      if (lives.store.get(row.id)?.state !== 'Pending')
        throw refusal('DOCKER::SANDBOX_DELETED', 'The sandbox was deleted before it was ready')
      return await start(lives, row, image, controller.signal)
    } finally {
      lives.creating.delete(row.id)
    }
  })
  // Whoever waits sees the failure; when nobody does any more, it stands in the row.
  done.catch(() => {})
  return { done, cancel: (reason) => controller.abort(reason) }
}

async function start(
  lives: Lives,
  row: SandboxRow,
  image: RuntimeSpec['image'],
  cancelled: AbortSignal,
): Promise<SandboxRow> {
  const { store, runtime, settings, now, log, signal } = lives
  const began = now()
  const progress = lives.progress.follow(row.id)
  const timeoutMs = settings.createTimeoutMs + preStartTimeoutMs(row.env)
  const deadline = AbortSignal.timeout(timeoutMs)
  try {
    const over = AbortSignal.any([cancelled, signal, deadline])
    await makeSources(row.mounts, lives.files)
    const volumes = await openVolumes(lives, row.id, over)
    const made = await runtime.create({ ...specOf(row, image), volumes }, over, {
      progress: progress.tell,
    })
    const running = store.change(row.id, (current) =>
      stepOf(current, 'started', now(), {
        reason: 'CONTAINER_RUNNING',
        acknowledged: true,
        address: made.address ?? null,
        imageDigest: made.imageDigest ?? null,
        env: {},
      }),
    )
    if (running?.state !== 'Running') throw notFound()
    log.info('sandbox runs', { sandbox: row.id, image: row.image, ms: now() - began })
    return running
  } catch (error) {
    const refused = cancelled.aborted
      ? refusal('DOCKER::SANDBOX_DELETED', 'The sandbox was deleted before it was ready', { cause: error })
      : signal.aborted
        ? refusal('GENERAL::STOPPING', 'The server is stopping: try again in a moment', { cause: error })
        : deadline.aborted
          ? refusal(
              'DOCKER::SANDBOX_START_FAILED',
              `The sandbox was not ready within ${timeoutMs / 1000} seconds`,
              { cause: error },
            )
          : refusalOfStart(error)
    try {
      await settleFailedStart(lives, row.id, refused.message)
    } catch (trouble) {
      log.error('a failed start could not be written down yet', { sandbox: row.id, error: trouble })
      lives.doubts.add(row.id, now())
    }
    throw refused
  } finally {
    progress.end()
  }
}

async function settleFailedStart(lives: Lives, id: string, message: string): Promise<void> {
  const { store, runtime, settings, now, log, signal, doubts } = lives
  // The runtime leaves nothing behind by its own promise; asking it costs little, and makes it true.
  let removed = true
  try {
    await runtime.remove(id, { graceMs: 0 }, AbortSignal.timeout(removeTimeoutMs(settings)))
  } catch (error) {
    removed = false
    log.error('what is left of a failed start could not be removed yet', { sandbox: id, error })
    doubts.add(id, now())
  }
  // Much may have happened meanwhile: the caller was told of it, or has deleted it.
  const current = store.get(id)
  if (!current) return
  // A start that the program's own stop interrupted goes on after its next start.
  if (current.acknowledged && current.state === 'Pending' && signal.aborted) return
  if (current.acknowledged || current.state !== 'Pending') {
    store.change(id, (row) =>
      row.state === 'Pending'
        ? stepOf(row, 'start_failed', now(), { reason: 'PROVISIONING_ERROR', message, env: {} })
        : undefined,
    )
    return
  }
  if (removed) store.delete(id, { at: now(), isKnown: false })
  else
    store.change(id, (row) =>
      stepOf(row, 'remove', now(), { reason: 'PROVISIONING_ERROR', hidden: true, env: {} }),
    )
}

function specOf(row: SandboxRow, image: RuntimeSpec['image']): RuntimeSpec {
  const policy = pullPolicyOf(row.extensions)
  return {
    id: row.id,
    tenant: row.tenant,
    image: { ...image, ...(policy && { policy }), ...(row.platform && { platform: row.platform }) },
    ...(row.snapshotId !== null && { snapshotId: row.snapshotId }),
    entrypoint: row.entrypoint,
    env: row.env,
    limits: row.limits,
    ...(row.networkPolicy && { networkPolicy: row.networkPolicy }),
    ...(row.credentialProxy && { credentialProxy: true }),
    mounts: row.mounts,
    allowNamespaces: row.extensions[ISOLATION_EXTENSION] === 'enable',
    execdToken: row.execdToken,
    egressToken: row.egressToken,
  }
}
