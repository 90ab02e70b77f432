// Where the sandbox of a create comes from: made from an image, a snapshot or a template, claimed from the pool that is named, or from one
// whose sandboxes happen to be just what is asked for.

import type { CreateRequest } from '../../lib/api/lifecycle.ts'
import { refusal } from '../errors.ts'
import { createSandbox, type Owner } from '../sandbox/create.ts'
import { type LimitRules, parseLimits } from '../sandbox/limits.ts'
import { IDLE_ENTRYPOINT, ISOLATION_EXTENSION, planCreate } from '../sandbox/plan.ts'
import { PULL_POLICY_EXTENSION } from '../sandbox/pull-policy.ts'
import { waitForChange } from '../sandbox/wait-for-change.ts'
import { createFromSnapshot, type RestoreDeps, requireNamed } from '../snapshots/restore.ts'
import type { SandboxRow } from '../store/rows.ts'
import { fillFromPublished, fillFromTemplate } from '../templates/request.ts'
import { type Claim, claimWarm, formatEnvFile } from './claim.ts'
import { type PlannedPool, type PoolDeps, placesTaken, planPool, statusOf } from './pools.ts'
import { isSame, revisionOf } from './shape.ts'

/** How long a create waits for a pool that has nothing to give. Below the time after which SDKs give up. */
const POOL_WAIT_MS = 15_000
/** What SDKs send for limits when their user named none; they cannot leave them out. */
const SDK_LIMITS = { cpu: '1', memory: '2Gi' }
const ANY_POOL = '*'

export type Fulfilled = { row: SandboxRow; warnings: string[] }

export type FulfilDeps = PoolDeps & RestoreDeps & { poolWaitMs?: number }

export async function fulfilCreate(
  deps: FulfilDeps,
  request: CreateRequest,
  owner: Owner,
  caller: AbortSignal,
): Promise<Fulfilled> {
  const { templates, lives } = deps
  const poolRef = request.extensions?.poolRef?.trim() ?? ''
  const templateId = request.templateId?.trim() ?? ''
  const snapshotId = request.snapshotId?.trim() ?? ''
  if (poolRef !== '') {
    if (templateId !== '')
      throw refusal(
        'SANDBOX::INVALID_PARAMETER',
        'templateId cannot be used together with extensions.poolRef',
      )
    return await fromPool(deps, request, { poolRef, owner, caller })
  }
  let filled = request
  if (templateId !== '') {
    const template = templates.get(templateId)
    if (template?.tenant !== owner.tenant || template.phase !== 'Succeeded')
      throw refusal(
        'FSB::TEMPLATE_NOT_FOUND',
        'There is no template with this id that a sandbox can be made from',
      )
    filled = fillFromTemplate(request, template)
  } else if (snapshotId !== '') {
    const snapshot = requireNamed(deps, owner.tenant, snapshotId)
    return await createFromSnapshot(deps, request, { snapshot, owner, caller })
  } else if (request.image && !request.image.auth) {
    const template = templates.published(owner.tenant, request.image.uri.trim())
    if (template) filled = fillFromPublished(request, template)
  }
  const plan = planCreate(filled, deps.planLimits())
  const source = templateId === '' ? {} : { templateId }
  // A login is proved by fetching with it, and a hook before the entrypoint runs for its own caller.
  if (!plan.image.auth && !request.lifecycle) {
    for (const from of poolsOfTenant(deps, owner.tenant)) {
      if (from.revision !== revisionOf(plan)) continue
      const row = await claimWarm(deps, { from, plan, owner, ...source }, caller)
      if (row) return { row, warnings: plan.warnings }
    }
  }
  return { row: await createSandbox(lives, plan, owner, caller, { source }), warnings: plan.warnings }
}

type PoolOrder = { poolRef: string; owner: Owner; caller: AbortSignal }

async function fromPool(deps: FulfilDeps, request: CreateRequest, order: PoolOrder): Promise<Fulfilled> {
  const { lives, poolWaitMs = POOL_WAIT_MS } = deps
  const { poolRef, owner, caller } = order
  for (const field of ['platform', 'volumes'] as const)
    if (request[field] !== undefined)
      throw refusal('SANDBOX::INVALID_PARAMETER', `${field} cannot be used together with extensions.poolRef`)
  // As a rule there is one, and nothing has to be watched for it.
  const atOnce = await takeFromPool(deps, request, order)
  if (atOnce) return atOnce
  const waiting = AbortSignal.any([caller, lives.signal, AbortSignal.timeout(poolWaitMs)])
  for (;;) {
    const changed = waitForChange(lives.store, {
      signal: waiting,
      concerns: ({ tenant }) => tenant === owner.tenant,
    })
    try {
      const taken = await takeFromPool(deps, request, order)
      if (taken) return taken
      if (await changed.happened) continue
    } finally {
      changed.cancel()
    }
    if (lives.signal.aborted)
      throw refusal('GENERAL::STOPPING', 'The server is stopping: try again in a moment')
    const seconds = Math.max(1, Math.ceil(poolWaitMs / 1000))
    throw refusal(
      'KUBERNETES::POOL_CAPACITY_EXHAUSTED',
      `Pool "${poolRef}" gave no sandbox within ${seconds} s: all that it may have are in use`,
      { headers: { 'Retry-After': String(seconds) } },
    )
  }
}

/** A warm one, or one that is made now, of the pool as it is now: while a create waits, it may be changed or go. */
async function takeFromPool(
  deps: FulfilDeps,
  request: CreateRequest,
  { poolRef, owner, caller }: PoolOrder,
): Promise<Fulfilled | undefined> {
  const claims = planClaims(deps, request, poolRef, owner)
  for (const claim of claims) {
    const row = await claimWarm(deps, claim, caller)
    if (row) return { row, warnings: claim.plan.warnings }
  }
  for (const claim of claims) {
    const row = await makeCold(deps, claim, caller)
    if (row) return { row, warnings: claim.plan.warnings }
  }
  return undefined
}

/** Makes one now, when none is warm and the pool may have one more. */
async function makeCold(
  deps: FulfilDeps,
  claim: Claim,
  caller: AbortSignal,
): Promise<SandboxRow | undefined> {
  const { pool, revision } = claim.from
  const isFull = () => placesTaken(deps.pools.members(pool)) >= pool.capacity.poolMax
  if (isFull()) return undefined
  const full = new Error('The pool has no place')
  try {
    const plan = { ...claim.plan, env: { ...claim.plan.env, ...claim.env } }
    return await createSandbox(deps.lives, plan, claim.owner, caller, {
      source: { pool: { name: pool.name, revision } },
      requirePlace: () => {
        if (isFull()) throw full
      },
    })
  } catch (error) {
    if (error === full) return undefined
    throw error
  }
}

/** The pool that is meant, or for `*` those that fit, the least used first. */
function planClaims(deps: FulfilDeps, request: CreateRequest, poolRef: string, owner: Owner): Claim[] {
  if (poolRef !== ANY_POOL) {
    const pool = deps.pools.get({ tenant: owner.tenant, name: poolRef })
    if (!pool) throw refusal('KUBERNETES::POOL_NOT_FOUND', 'There is no pool with this name')
    return [planClaim(deps, request, planPool(deps, pool), owner)]
  }
  const fitting = poolsOfTenant(deps, owner.tenant)
    .filter((from) => differenceFrom(request, from, deps.planLimits()) === undefined)
    .map((from) => ({ from, used: usedShare(deps, from) }))
    .sort((one, other) => one.used - other.used)
  if (fitting.length === 0)
    throw refusal('KUBERNETES::POOL_NOT_FOUND', 'There is no pool whose sandboxes are as this request asks')
  return fitting.map(({ from }) => planClaim(deps, request, from, owner))
}

function planClaim(deps: FulfilDeps, request: CreateRequest, from: PlannedPool, owner: Owner): Claim {
  const different = differenceFrom(request, from, deps.planLimits())
  if (different)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `${different} differs from what the sandboxes of pool "${from.pool.name}" have: leave it out, or create without extensions.poolRef`,
    )
  const { poolRef: _, ...extensions } = request.extensions ?? {}
  const isolation = from.request.extensions?.[ISOLATION_EXTENSION]
  const pullPolicy = from.request.extensions?.[PULL_POLICY_EXTENSION]
  const plan = planCreate(
    {
      ...request,
      ...from.request,
      ...(request.networkPolicy && { networkPolicy: request.networkPolicy }),
      metadata: request.metadata,
      timeout: request.timeout,
      extensions: {
        ...extensions,
        ...(isolation !== undefined && { [ISOLATION_EXTENSION]: isolation }),
        ...(pullPolicy !== undefined && { [PULL_POLICY_EXTENSION]: pullPolicy }),
      },
    },
    deps.planLimits(),
  )
  // The request's own variables are judged as those of any create.
  const { env } = planCreate({ ...from.request, env: request.env ?? {} }, deps.planLimits())
  const more = Object.fromEntries(
    Object.entries(env).filter(
      ([name, value]) => name in (request.env ?? {}) && from.plan.env[name] !== value,
    ),
  )
  formatEnvFile(more)
  return { from, plan, owner, env: more }
}

/** What the request asks for and the pool's sandboxes do not have; SDKs always send some fields, with values of their own. */
function differenceFrom(
  request: CreateRequest,
  { plan, image: named }: PlannedPool,
  limits: LimitRules,
): string | undefined {
  const { image, entrypoint, resourceLimits, extensions = {} } = request
  if (image?.auth) return 'image.auth'
  const uri = image?.uri.trim() ?? ''
  if (uri !== '' && uri !== plan.image.uri && uri !== named) return 'image'
  if (entrypoint && !isSame(entrypoint, IDLE_ENTRYPOINT) && !isSame(entrypoint, plan.entrypoint))
    return 'entrypoint'
  if (resourceLimits && Object.keys(resourceLimits).length > 0 && !isSame(resourceLimits, SDK_LIMITS))
    if (!isSame(parseLimits(resourceLimits, limits).limits, plan.limits)) return 'resourceLimits'
  const isolation = extensions[ISOLATION_EXTENSION]?.trim().toLowerCase() ?? ''
  if (isolation === 'enable' && plan.extensions[ISOLATION_EXTENSION] !== 'enable')
    return `extensions["${ISOLATION_EXTENSION}"]`
  // What is warm was fetched before.
  if ((extensions[PULL_POLICY_EXTENSION]?.trim() ?? '') !== '')
    return `extensions["${PULL_POLICY_EXTENSION}"]`
  return undefined
}

/** Those that can be planned; what is wrong with another one is told where it is looked at. */
function poolsOfTenant(deps: FulfilDeps, tenant: string): PlannedPool[] {
  return deps.pools.list(tenant).flatMap((pool) => {
    try {
      return [planPool(deps, pool)]
    } catch {
      return [] // its keeper tells why
    }
  })
}

function usedShare(deps: FulfilDeps, { pool, revision }: PlannedPool): number {
  const { total, allocated } = statusOf(deps.pools.members(pool), revision)
  return total === 0 ? 0 : allocated / total
}
