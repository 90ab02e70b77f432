import { type Context, Hono } from 'hono'
import { hashKey } from '../../lib/access.ts'
import {
  auditQuerySchema,
  keyRequestSchema,
  type QuotaBody,
  quotaSchema,
  rotateRequestSchema,
} from '../../lib/api/admin.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import { createSandboxId, createToken } from '../../lib/id.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { invalid, readBody, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import type { AuditRow } from '../store/audit.ts'
import type { KeyRow } from '../store/keys.ts'
import type { Kept } from '../store/quotas.ts'
import type { Quota } from '../store/schema.ts'
import { readTenant, requireOperator, requireTenant } from './tenant.ts'

/** What a key looks like, so that one that leaked is recognised: by scanners, and by whoever finds it in a log. */
const KEY_PREFIX = 'osb_'

/** Keys, tenants and the audit, for admins; an admin of a tenant sees and changes only what is the tenant's. */
export function adminRoutes({ lives, access }: Pick<AppDeps, 'lives' | 'access'>): Hono<AppEnv> {
  const { keys, keyring, quotas, audit } = access
  const { now } = lives
  const routes = new Hono<AppEnv>()

  routes.use('/admin/*', async (context, next) => {
    const principal = context.get('principal')
    if (principal.role !== 'admin')
      throw refusal('GENERAL::FORBIDDEN', `The key "${principal.name}" is no key of an admin`)
    await next()
  })

  routes.get('/admin/keys', (context) =>
    context.json({ items: keys.list(context.get('principal').tenant).map(formatKey) }),
  )

  routes.post('/admin/keys', async (context) => {
    const principal = context.get('principal')
    const asked = await readBody(context, keyRequestSchema)
    const tenant = asked.tenant ?? principal.tenant
    if (tenant !== undefined) requireTenant(principal, tenant)
    const expiresAt = asked.expiresAt === undefined ? null : Date.parse(asked.expiresAt)
    if (expiresAt !== null && expiresAt <= now())
      throw invalid([{ type: 'value_error', loc: ['body', 'expiresAt'], msg: 'must lie in the future' }])
    if (keyring.isReserved(asked.name))
      throw refusal('GENERAL::CONFLICT', `The name "${asked.name}" is that of a key of the configuration`)
    const key = KEY_PREFIX + createToken()
    const row: KeyRow = {
      id: createSandboxId(),
      name: asked.name,
      hash: hashKey(key),
      role: asked.role,
      tenant: tenant ?? null,
      createdAt: now(),
      createdBy: principal.name,
      expiresAt,
      revokedAt: null,
      lastUsedAt: null,
    }
    if (!keys.insert(row))
      throw refusal('GENERAL::CONFLICT', `There is a key of the name "${row.name}" already`)
    keyring.refresh()
    return context.json({ ...formatKey(row), key }, 201)
  })

  routes.post('/admin/keys/:id/rotate', async (context) => {
    const { graceSeconds } = await readBody(context, rotateRequestSchema, { optional: true })
    const old = visibleKey(context)
    const key = KEY_PREFIX + createToken()
    const row = keys.rotate(
      old.id,
      {
        id: createSandboxId(),
        hash: hashKey(key),
        createdAt: now(),
        createdBy: context.get('principal').name,
      },
      now() + graceSeconds * 1000,
    )
    if (!row) throw refusal('GENERAL::CONFLICT', `The key "${old.name}" has been revoked`)
    keyring.refresh()
    return context.json({ ...formatKey(row), key }, 201)
  })

  routes.delete('/admin/keys/:id', (context) => {
    keys.revoke(visibleKey(context).id, now())
    keyring.refresh()
    return context.body(null, 204)
  })

  routes.get('/admin/tenants', (context) => {
    const { tenant } = context.get('principal')
    const names = tenant === undefined ? quotas.tenants() : [tenant]
    return context.json({ items: names.map(describeTenant) })
  })

  routes.get('/admin/tenants/:name', (context) => context.json(describeTenant(namedTenant(context))))

  routes.put('/admin/tenants/:name/quota', async (context) => {
    requireOperator(context.get('principal'), "only the operator's set quotas")
    const name = namedTenant(context)
    quotas.store.set(name, readQuota(await readBody(context, quotaSchema)), now())
    return context.json(describeTenant(name))
  })

  routes.delete('/admin/tenants/:name/quota', (context) => {
    requireOperator(context.get('principal'), "only the operator's set quotas")
    quotas.store.delete(namedTenant(context))
    return context.body(null, 204)
  })

  routes.get('/admin/audit', (context) => {
    const { after, limit, ...filter } = readQuery(context, auditQuerySchema)
    const principal = context.get('principal')
    if (filter.tenant !== undefined) requireTenant(principal, filter.tenant)
    const tenant = principal.tenant ?? filter.tenant
    const rows = audit.after(after, {
      limit,
      ...(tenant !== undefined && { tenant }),
      ...(filter.actor !== undefined && { actor: filter.actor }),
    })
    return context.json({ items: rows.map(formatAudit) })
  })

  function visibleKey(context: Context<AppEnv>): KeyRow {
    const row = keys.get(context.req.param('id') ?? '')
    const principal = context.get('principal')
    if (!row || (principal.tenant !== undefined && row.tenant !== principal.tenant))
      throw refusal('GENERAL::NOT_FOUND', 'There is no key with this id')
    return row
  }

  function namedTenant(context: Context<AppEnv>): string {
    return readTenant(context.get('principal'), context.req.param('name'), ['path', 'name'])
  }

  function describeTenant(name: string) {
    const { sandboxes, nanoCpus, memoryBytes } = quotas.store.usage(name)
    return {
      name,
      quota: formatQuota(quotas.of(name)),
      used: { sandboxes, cpu: nanoCpus / 1e9, memoryBytes, ...keptOf(quotas.store.kept(name)) },
    }
  }

  return routes
}

function formatKey({
  id,
  name,
  role,
  tenant,
  createdAt,
  createdBy,
  expiresAt,
  revokedAt,
  lastUsedAt,
}: KeyRow) {
  return {
    id,
    name,
    role,
    ...(tenant !== null && { tenant }),
    createdAt: formatTime(createdAt),
    ...(createdBy !== null && { createdBy }),
    ...(expiresAt !== null && { expiresAt: formatTime(expiresAt) }),
    ...(revokedAt !== null && { revokedAt: formatTime(revokedAt) }),
    ...(lastUsedAt !== null && { lastUsedAt: formatTime(lastUsedAt) }),
  }
}

function formatAudit({ at, tenant, client, target, code, ...row }: AuditRow) {
  return {
    ...row,
    at: formatTime(at),
    ...(tenant !== null && { tenant }),
    ...(client !== null && { client }),
    ...(target !== null && { target }),
    ...(code !== null && { code }),
  }
}

function keptOf({ snapshots, snapshotBytes, volumes, volumeBytes }: Kept) {
  return { snapshots, snapshotBytes, volumes, volumeBytes }
}

function readQuota({ cpu, ...quota }: QuotaBody): Quota {
  const given = Object.fromEntries(Object.entries(quota).filter(([, value]) => value !== undefined))
  return { ...given, ...(cpu !== undefined && { nanoCpus: Math.round(cpu * 1e9) }) }
}

function formatQuota({ nanoCpus, ...quota }: Quota) {
  return { ...quota, ...(nanoCpus !== undefined && { cpu: nanoCpus / 1e9 }) }
}
