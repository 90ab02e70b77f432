// Gives a warm sandbox to a caller. It is taken out of its pool by one transaction and stays hidden until all is done that the
// request asks for: its network policy in force, its variables known to execd. Only then anybody can see it. What does not get
// that far goes back to the pool's keeper, which removes it; so does what a death of this process leaves in between.

import { messageOf } from '../../lib/errors.ts'
import { refusal } from '../errors.ts'
import { type Owner, requestedValues } from '../sandbox/create.ts'
import type { Lives } from '../sandbox/lives.ts'
import type { CreatePlan } from '../sandbox/plan.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { PlannedPool, PoolDeps } from './pools.ts'
import { isSame } from './shape.ts'

const PREPARE_TIMEOUT_MS = 10_000
/** So many sandboxes may turn out unusable before the caller hears of it. */
const ATTEMPTS = 3
const MAX_ENV_BYTES = 100_000

export type Claim = {
  from: PlannedPool
  /** What the caller is to get. */
  plan: CreatePlan
  owner: Owner
  /** Variables beside those that the pool's sandboxes were started with. */
  env?: Record<string, string>
  templateId?: string
}

/** A sandbox of the pool, running and the caller's, or undefined when none is warm. Rejects when the tenant's quota is used up. */
export async function claimWarm(
  deps: PoolDeps,
  claim: Claim,
  caller: AbortSignal,
): Promise<SandboxRow | undefined> {
  const { lives, pools } = deps
  const { store, now, log } = lives
  const { pool, revision } = claim.from
  const { tenant, name } = pool
  let isAdmitted = false
  let trouble: unknown
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (!pools.hasWarm(pool, revision)) break
    // Nothing is awaited between the quota and the taking.
    if (!isAdmitted) lives.quotas.admit(tenant, claim.plan.limits)
    isAdmitted = true
    const tell = startClock(lives)
    const taken = store.takeWarm(
      { tenant, pool: name, revision },
      {
        ...requestedValues(claim.plan, claim.owner),
        templateId: claim.templateId ?? null,
        // It has been running for long; for its new owner it begins now.
        activeAt: claim.plan.idleSeconds === undefined ? null : now(),
      },
    )
    if (!taken) break
    try {
      const deadline = AbortSignal.timeout(PREPARE_TIMEOUT_MS)
      await prepare(deps, taken, claim, AbortSignal.any([caller, lives.signal, deadline]))
      const revealed = caller.aborted ? undefined : store.reveal(taken.id, now(), claim.owner.mark)
      if (revealed) {
        tell({ isFailed: false })
        log.info('sandbox claimed', {
          sandbox: taken.id,
          pool: name,
          tenant,
          ms: now() - claim.plan.createdAt,
        })
        return revealed
      }
      trouble = new Error('It ended while it was claimed')
    } catch (error) {
      trouble = error
    }
    tell({ isFailed: true })
    giveBack(deps, taken.id)
    if (lives.signal.aborted)
      throw refusal('GENERAL::STOPPING', 'The server is stopping: try again in a moment')
    if (caller.aborted)
      throw refusal('DOCKER::SANDBOX_DELETED', 'The caller left before the sandbox was ready')
    log.warn('a warm sandbox could not be claimed', {
      sandbox: taken.id,
      pool: name,
      error: messageOf(trouble),
    })
  }
  if (trouble)
    throw refusal('DOCKER::SANDBOX_START_FAILED', `Cannot make a warm sandbox of pool "${name}" ready`, {
      cause: trouble,
    })
  return undefined
}

function startClock({ observer }: Pick<Lives, 'observer'>): (how: { isFailed: boolean }) => void {
  const beganAt = Date.now()
  const began = performance.now()
  return ({ isFailed }) =>
    observer.createPhaseDone({ phase: 'claim', beganAt, ms: performance.now() - began, isFailed })
}

/** Hands a sandbox that nobody got to the keeper: of no shape that is wanted, it is removed. */
export function giveBack({ lives }: Pick<PoolDeps, 'lives'>, id: string): void {
  lives.store.change(id, () => ({ warm: true, poolRevision: null }))
}

async function prepare(deps: PoolDeps, taken: SandboxRow, claim: Claim, signal: AbortSignal): Promise<void> {
  await Promise.all([
    requireRunning(deps, taken, signal),
    putPolicy(deps, taken, claim, signal),
    putEnv(deps, taken, claim.env ?? {}, signal),
  ])
}

/** Its end may not have been reported yet. */
async function requireRunning({ lives }: PoolDeps, { id }: SandboxRow, signal: AbortSignal): Promise<void> {
  const real = await lives.runtime.inspect(id, signal)
  if (real?.state !== 'running') throw new Error(`It is ${real?.state ?? 'gone'}`)
}

async function putPolicy(
  { askEgress }: PoolDeps,
  { id, egressToken, networkPolicy }: SandboxRow,
  { from }: Claim,
  signal: AbortSignal,
): Promise<void> {
  if (!networkPolicy || isSame(networkPolicy, from.plan.networkPolicy ?? null)) return
  const body = Buffer.from(JSON.stringify(networkPolicy))
  const answer = await askEgress({ id, method: 'PUT', token: egressToken, body, signal })
  if (answer.status !== 200) throw new Error(`Egress answered its policy with ${answer.status}`)
}

async function putEnv(
  { execd }: PoolDeps,
  { address, execdToken }: SandboxRow,
  env: Record<string, string>,
  signal: AbortSignal,
): Promise<void> {
  if (Object.keys(env).length === 0) return
  const outcome = await execd.run(
    { address: address ?? '', token: execdToken },
    { line: `printf %s "$${CARRIER}" >> "$EXECD_ENVS"`, envs: { [CARRIER]: formatEnvFile(env) } },
    signal,
  )
  if (!outcome.ok) throw new Error(`execd could not take its variables: ${outcome.reason}`)
}

const CARRIER = 'OPENSANDBOX_CLAIM_ENV'

/** Variables as execd's environment file has them (execd/command/environment.ts). Throws a 400 for what cannot stand there. */
export function formatEnvFile(env: Record<string, string>): string {
  const lines = Object.entries(env).map(([name, value]) => {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      throw refusal(
        'SANDBOX::INVALID_PARAMETER',
        'env: with extensions.poolRef a name must be letters, digits and "_", and must not begin with a digit',
      )
    return value.includes("'") ? `${name}=${quoteDouble(value)}\n` : `${name}='${value}'\n`
  })
  const text = lines.join('')
  if (Buffer.byteLength(text) > MAX_ENV_BYTES)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `env: with extensions.poolRef all variables together must have at most ${MAX_ENV_BYTES} bytes`,
    )
  return text
}

function quoteDouble(value: string): string {
  const escapes: Record<string, string> = { '\\': '\\\\', '"': '\\"', '\n': '\\n', '\r': '\\r', '\t': '\\t' }
  return `"${value.replace(/[\\"\n\r\t]/g, (char) => escapes[char] ?? char)}"`
}
