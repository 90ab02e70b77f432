// N sandboxes from one that runs: an addition to the contract. A hidden snapshot is taken once; all are made from it, and it goes
// with the last of them. All or nothing: when one cannot be made, the others go again, and the caller hears why.

import type { CreateRequest } from '../../lib/api/lifecycle.ts'
import { type ForkRequest, SNAPSHOT_STATES } from '../../lib/api/snapshots.ts'
import type { EgressAnswer, EgressRequest } from '../egress-client.ts'
import { refusal } from '../errors.ts'
import type { Owner } from '../sandbox/create.ts'
import { ISOLATION_EXTENSION, planCreate } from '../sandbox/plan.ts'
import { isLive } from '../sandbox/state.ts'
import type { SandboxRow } from '../store/rows.ts'
import type { SnapshotKeeper } from './keeper.ts'
import { removeForks } from './remove-forks.ts'
import { createFromSnapshot, type RestoreDeps } from './restore.ts'
import { acceptSnapshot } from './take.ts'

/** Below the time after which SDKs give up. What takes longer is a snapshot that somebody should keep. */
const SNAPSHOT_WAIT_MS = 20_000
const EGRESS_TIMEOUT_MS = 5000

export type ForkDeps = RestoreDeps & {
  keeper: SnapshotKeeper
  askEgress: (request: EgressRequest) => Promise<EgressAnswer>
}

export type ForkOrder = { source: SandboxRow; request: ForkRequest; owner: Owner; caller: AbortSignal }

/** Makes them, and returns their rows. Rejects with ApiError; nothing is left then. */
export async function forkSandbox(
  deps: ForkDeps,
  { source, request, owner, caller }: ForkOrder,
): Promise<{ rows: SandboxRow[]; warnings: string[] }> {
  const { lives, keeper } = deps
  const wanted = requestOfFork(request, source, request.networkPolicy ?? (await policyInForce(deps, source)))
  // What is wrong with the request is told before the source is touched.
  planCreate({ ...wanted, image: { uri: source.image } }, deps.planLimits())
  const { id } = acceptSnapshot(deps, source, { createdBy: owner.createdBy, hidden: true })
  const release = keeper.hold(id)
  try {
    keeper.wake()
    const waiting = AbortSignal.any([caller, lives.signal, AbortSignal.timeout(SNAPSHOT_WAIT_MS)])
    const snapshot = await keeper.outcome(id, waiting).catch(() => undefined)
    if (lives.signal.aborted)
      throw refusal('GENERAL::STOPPING', 'The server is stopping: try again in a moment')
    if (snapshot?.state !== 'Ready')
      throw refusal(
        'SNAPSHOT::RUNTIME_CREATE_FAILED',
        snapshot?.message ??
          `The files of the sandbox could not be kept within ${SNAPSHOT_WAIT_MS / 1000} seconds: take a snapshot, and create from that`,
      )
    const made = await makeAll(deps, wanted, { snapshot, count: request.count, owner, caller })
    // From here on all of it stays, whatever happens to this process, and whatever has become of the snapshot meanwhile.
    deps.snapshots.move(id, SNAPSHOT_STATES, { inFork: false })
    return made
  } finally {
    release()
  }
}

async function makeAll(
  deps: ForkDeps,
  wanted: CreateRequest,
  { count, ...from }: Parameters<typeof createFromSnapshot>[2] & { count: number },
): Promise<{ rows: SandboxRow[]; warnings: string[] }> {
  const begun = Array.from({ length: count }, () => createFromSnapshot(deps, wanted, from))
  const results = await Promise.allSettled(begun)
  const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = results.find((result) => result.status === 'rejected')
  if (!failed) return { rows: made.map(({ row }) => row), warnings: made[0]?.warnings ?? [] }
  await removeForks(
    deps.lives,
    made.map(({ row }) => row.id),
  )
  throw failed.reason
}

/** What is not asked for otherwise is as in the source. Its variables are not kept, so they cannot be; volumes are not shared. */
function requestOfFork(
  request: ForkRequest,
  source: SandboxRow,
  networkPolicy: CreateRequest['networkPolicy'],
): CreateRequest {
  const { timeout, metadata, env, resourceLimits, entrypoint } = request
  const isolation = source.extensions[ISOLATION_EXTENSION]
  return {
    ...(timeout !== undefined && { timeout }),
    ...(metadata && { metadata }),
    ...(env && { env }),
    ...(networkPolicy && { networkPolicy }),
    // Its vault stays with the source: a fork trusts an authority of its own and begins without secrets.
    ...(source.credentialProxy && networkPolicy && { credentialProxy: { enabled: true } }),
    // What only some may reach is reached by nobody else through a copy of it.
    ...(source.accessToken !== null && { secureAccess: true }),
    ...(isolation !== undefined && { extensions: { [ISOLATION_EXTENSION]: isolation } }),
    entrypoint: entrypoint ?? source.entrypoint,
    resourceLimits: resourceLimits ?? limitsOf(source),
  }
}

/** As it is now: it may have been changed since the source was made, and a fork must not reach what its source may not. */
async function policyInForce(
  { askEgress, lives }: ForkDeps,
  { id, egressToken, state }: SandboxRow,
): Promise<CreateRequest['networkPolicy']> {
  if (!isLive(state)) return undefined // it is refused for that
  const signal = AbortSignal.any([lives.signal, AbortSignal.timeout(EGRESS_TIMEOUT_MS)])
  try {
    const { status, body } = await askEgress({ id, method: 'GET', token: egressToken, signal })
    if (status !== 200) throw new Error(`Egress answered with ${status}`)
    const { policy } = JSON.parse(Buffer.from(body).toString()) as { policy: CreateRequest['networkPolicy'] }
    return policy
  } catch (error) {
    throw refusal('BACKEND_CONNECTION_FAILED', 'The network policy of the sandbox cannot be read', {
      cause: error,
    })
  }
}

function limitsOf({ limits }: SandboxRow): Record<string, string> {
  const { nanoCpus, memoryBytes, diskBytes, gpus } = limits
  return {
    ...(nanoCpus !== undefined && { cpu: String(nanoCpus / 1e9) }),
    ...(memoryBytes !== undefined && { memory: String(memoryBytes) }),
    ...(diskBytes !== undefined && { disk: String(diskBytes) }),
    ...(gpus !== undefined && { gpu: gpus < 0 ? 'all' : String(gpus) }),
  }
}
