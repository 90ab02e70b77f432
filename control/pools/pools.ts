// What is asked of a pool: what its sandboxes are like, how many there are, whether one more may be.

import type { SandboxState } from '../../lib/api/lifecycle.ts'
import type { EgressAnswer, EgressRequest } from '../egress-client.ts'
import type { ExecdClient } from '../execd-client.ts'
import type { Lives } from '../sandbox/lives.ts'
import { type CreatePlan, type PlanLimits, planCreate } from '../sandbox/plan.ts'
import type { PoolKey, PoolMember, PoolRow, PoolStore } from '../store/pools.ts'
import type { TemplateStore } from '../store/templates.ts'
import { fillFromPublished } from '../templates/request.ts'
import { revisionOf } from './shape.ts'
import { type PoolShape, readPoolTemplate } from './template.ts'

/** What makers of sandboxes need, beside what all changes of sandboxes share. */
export type PoolDeps = {
  lives: Lives
  pools: PoolStore
  templates: TemplateStore
  execd: ExecdClient
  askEgress: (request: EgressRequest) => Promise<EgressAnswer>
  planLimits: () => PlanLimits
}

/** States in which a sandbox takes a place in its pool. */
const TAKING: SandboxState[] = ['Pending', 'Running', 'Pausing', 'Paused', 'Resuming', 'Stopping']

export type PlannedPool = PoolShape & {
  pool: PoolRow
  /** The image as the pool names it; the plan has what a template's name stands for. */
  image: string
  plan: CreatePlan
  revision: string
}

/** What a pool's sandboxes are like by now. Throws a refusal when nothing like that can be made any more. */
export function planPool(deps: Pick<PoolDeps, 'templates' | 'planLimits'>, pool: PoolRow): PlannedPool {
  const { request: given, warnings } = readPoolTemplate(pool.template)
  const image = given.image?.uri.trim() ?? ''
  const published = deps.templates.published(pool.tenant, image)
  const request = published ? fillFromPublished(given, published) : given
  const plan = planCreate(request, deps.planLimits())
  return { pool, request, image, plan, revision: revisionOf(plan), warnings: [...warnings, ...plan.warnings] }
}

export type PoolStatus = { total: number; allocated: number; available: number; revision: string }

export function statusOf(members: PoolMember[], revision: string): PoolStatus {
  const living = members.filter(({ state }) => TAKING.includes(state) && state !== 'Stopping')
  return {
    total: living.length,
    allocated: living.filter(({ warm }) => !warm).length,
    available: living.filter((member) => isClaimable(member, revision)).length,
    revision,
  }
}

/** Whether a sandbox can be claimed at this moment. */
export function isClaimable(member: PoolMember, revision: string): boolean {
  return member.warm && member.state === 'Running' && member.revision === revision
}

/** How many places of a pool are taken; poolMax is meant for all of them. */
export function placesTaken(members: PoolMember[]): number {
  return members.filter(({ state }) => TAKING.includes(state)).length
}

export function keyOf({ tenant, name }: PoolKey): string {
  return `${tenant}/${name}`
}
