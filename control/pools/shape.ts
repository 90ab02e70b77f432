// What two sandboxes have in common when one can stand for the other. Everything that a plan says belongs to the shape unless it
// is named here as something that a claim can still write: so whatever a create learns next keeps apart, rather than mixes up.

import { createHash } from 'node:crypto'
import { canonicalJson } from '../canonical-json.ts'
import { type CreatePlan, ISOLATION_EXTENSION } from '../sandbox/plan.ts'
import { PULL_POLICY_EXTENSION } from '../sandbox/pull-policy.ts'

/** What is written into a row when it is claimed (control/sandbox/create.ts, requestedValues). */
const OF_THE_CLAIM = [
  'metadata',
  'extensions',
  'platform',
  'createdAt',
  'expiresAt',
  'renewSeconds',
  'idleSeconds',
  'secureAccess',
  'wake',
  'warnings',
] as const satisfies (keyof CreatePlan)[]

/** A short name for everything about a sandbox that cannot be changed once it runs. */
export function revisionOf(plan: CreatePlan): string {
  const { [ISOLATION_EXTENSION]: isolated, [PULL_POLICY_EXTENSION]: pullPolicy } = plan.extensions
  const shape: Record<string, unknown> = {
    ...plan,
    isolated: isolated ?? null,
    ...(pullPolicy !== undefined && { pullPolicy }),
  }
  for (const name of OF_THE_CLAIM) delete shape[name]
  return createHash('sha256').update(canonicalJson(shape)).digest('hex').slice(0, 16)
}

/** Whether two values are the same as JSON, in whatever order their fields stand. */
export function isSame(one: unknown, other: unknown): boolean {
  return canonicalJson(one) === canonicalJson(other)
}
