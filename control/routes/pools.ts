import { type Context, Hono } from 'hono'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import { type Pool, poolRequestSchema, poolUpdateSchema } from '../../lib/api/pools.ts'
import { ownTenant, type Principal } from '../access/principal.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { queryOf, readBody } from '../body.ts'
import { refusal } from '../errors.ts'
import { type PlannedPool, planPool, statusOf } from '../pools/pools.ts'
import { mostWarm, requireWithinQuota } from '../pools/quota.ts'
import type { PoolRow } from '../store/pools.ts'
import type { PoolCapacity } from '../store/schema.ts'
import { tellWarnings } from './tell-warnings.ts'
import { readTenant } from './tenant.ts'

/**
 * Pools of warm sandboxes (contract: lifecycle.md 7.4). Each tenant has its own names; the operator's keys name another tenant's
 * by `?tenant=`.
 */
export function poolRoutes({ lives, pooling, access }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  const { deps, keeper } = pooling
  const { pools } = deps

  const format = (pool: PoolRow, principal: Principal): Pool => {
    const message = keeper.troubleOf(pool)
    let revision = ''
    let problem = message
    try {
      ;({ revision } = planPool(deps, pool))
    } catch (error) {
      problem = error instanceof Error ? error.message : message
    }
    return {
      name: pool.name,
      capacitySpec: pool.capacity,
      status: {
        ...statusOf(pools.members(pool), revision),
        ...(problem !== undefined && { message: problem }),
      },
      createdAt: formatTime(pool.createdAt),
      ...(principal.tenant === undefined && { tenant: pool.tenant }),
    }
  }
  const named = (context: Context<AppEnv>): PoolRow => {
    const pool = pools.get({ tenant: tenantOf(context), name: context.req.param('name') ?? '' })
    if (!pool) throw noPool()
    return pool
  }

  /** What the operator gives a tenant is the operator's to know. */
  const requireQuota = (context: Context<AppEnv>, planned: PlannedPool) => {
    const { tenant } = context.get('principal')
    if (tenant !== undefined) requireWithinQuota(deps, access.quotas.of(tenant), planned)
  }

  routes.post('/pools', async (context) => {
    const { name, template, capacitySpec } = await readBody(context, poolRequestSchema)
    const tenant = tenantOf(context)
    checkCapacity(capacitySpec)
    const at = lives.now()
    const byOperator = context.get('principal').tenant === undefined
    const wanted = {
      tenant,
      name,
      template,
      capacity: capacitySpec,
      byOperator,
      createdAt: at,
      updatedAt: at,
    }
    const planned = planPool(deps, wanted)
    requireQuota(context, planned)
    const { warnings } = planned
    const pool = pools.insert(wanted)
    if (!pool) throw refusal('KUBERNETES::POOL_ALREADY_EXISTS', `There is a pool "${name}" already`)
    keeper.forget(pool)
    keeper.wake()
    tellWarnings(context, warnings)
    return context.json(format(pool, context.get('principal')), 201)
  })

  routes.get('/pools', (context) => {
    const principal = context.get('principal')
    const tenant = queryOf(context).has('tenant') ? tenantOf(context) : principal.tenant
    return context.json({ items: pools.list(tenant).map((pool) => format(pool, principal)) })
  })

  routes.get('/pools/:name', (context) => context.json(format(named(context), context.get('principal'))))

  routes.put('/pools/:name', async (context) => {
    const { capacitySpec, template } = await readBody(context, poolUpdateSchema)
    const pool = named(context)
    checkCapacity(capacitySpec)
    const wanted = { ...pool, capacity: capacitySpec, ...(template && { template }) }
    const isOperator = context.get('principal').tenant === undefined
    const grows = template !== undefined || mostWarm(capacitySpec) > mostWarm(pool.capacity)
    if (grows) requireQuota(context, planPool(deps, wanted))
    const changed = pools.change(pool, {
      capacity: capacitySpec,
      ...(template && { template }),
      // What the operator has given a tenant stays given while it asks for no more.
      byOperator: isOperator || (pool.byOperator && !grows),
      updatedAt: lives.now(),
    })
    if (!changed) throw noPool()
    if (template) keeper.forget(pool)
    keeper.wake()
    return context.json(format(changed, context.get('principal')))
  })

  routes.delete('/pools/:name', (context) => {
    if (!pools.delete(named(context))) throw noPool()
    keeper.wake()
    return context.body(null, 204)
  })

  return routes
}

/** Whose pools a request is about. */
function tenantOf(context: Context<AppEnv>): string {
  const principal = context.get('principal')
  const asked = queryOf(context).get('tenant')
  return asked === null ? ownTenant(principal) : readTenant(principal, asked, ['query', 'tenant'])
}

function checkCapacity({ bufferMin, bufferMax, poolMin, poolMax }: PoolCapacity): void {
  const refuse = (message: string) => {
    throw refusal('SANDBOX::INVALID_PARAMETER', `capacitySpec.${message}`)
  }
  if (bufferMin > bufferMax) refuse(`bufferMin must be <= bufferMax: ${bufferMin} is above ${bufferMax}`)
  if (poolMin > poolMax) refuse(`poolMin must be <= poolMax: ${poolMin} is above ${poolMax}`)
}

function noPool(): Error {
  return refusal('KUBERNETES::POOL_NOT_FOUND', 'There is no pool with this name')
}
