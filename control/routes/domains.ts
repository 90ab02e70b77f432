import { Hono } from 'hono'
import {
  canonicalName,
  type DomainAnswer,
  domainRequestSchema,
  isAllowedName,
  MAX_DOMAINS,
} from '../../lib/api/domains.ts'
import { EGRESS_PORT, EXECD_PORT } from '../../lib/api/guest.ts'
import { formatTime } from '../../lib/api/lifecycle-parts.ts'
import type { AppDeps, AppEnv, AppSettings } from '../app-deps.ts'
import { readBody } from '../body.ts'
import { refusal } from '../errors.ts'
import type { DomainRow } from '../store/domains.ts'
import { visibleSandbox } from './visible.ts'

/** Names of their own for ports of sandboxes, of those that the operator gives away. */
export function domainRoutes({ lives, settings }: AppDeps): Hono<AppEnv> {
  const { domains } = lives.store
  const routes = new Hono<AppEnv>()

  routes.put('/sandboxes/:id/domains/:name', async (context) => {
    const { port } = await readBody(context, domainRequestSchema)
    const sandbox = visibleSandbox(context, lives)
    const name = requireName(context.req.param('name'), settings)
    if (port === EXECD_PORT || port === EGRESS_PORT)
      throw refusal(
        'SANDBOX::INVALID_PARAMETER',
        `port must not be ${port}: what is there has no name of its own`,
      )
    const row: DomainRow = {
      name,
      sandboxId: sandbox.id,
      port,
      createdAt: lives.now(),
      createdBy: context.get('principal').name,
    }
    const outcome = domains.put(row, MAX_DOMAINS)
    if (outcome === 'taken') throw refusal('GENERAL::CONFLICT', `The name "${name}" is another sandbox's`)
    if (outcome === 'too_many')
      throw refusal('GENERAL::CONFLICT', `A sandbox has at most ${MAX_DOMAINS} names: take one away`)
    const kept = domains.of(sandbox.id).find((each) => each.name === name) ?? row
    return context.json(formatDomain(kept))
  })

  routes.get('/sandboxes/:id/domains', (context) =>
    context.json({ items: domains.of(visibleSandbox(context, lives).id).map(formatDomain) }),
  )

  routes.delete('/sandboxes/:id/domains/:name', (context) => {
    const { id } = visibleSandbox(context, lives)
    const name = canonicalName(context.req.param('name'))
    if (name === undefined || !domains.remove(id, name))
      throw refusal('GENERAL::NOT_FOUND', 'The sandbox does not have this name')
    return context.body(null, 204)
  })

  return routes
}

/** A name that the operator gives away and does not have himself: by those the API is reached, with the keys of everybody. */
function requireName(text: string, settings: AppSettings): string {
  const name = canonicalName(text)
  if (name === undefined)
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `name must be a full host name in ASCII, but it is "${text.slice(0, 100)}"`,
    )
  const { customDomains = [], domain, eip = '', gateway } = settings
  const own = [domain, nameIn(eip), nameIn(gateway?.address ?? '').replace(/^\*\./, '')].filter(
    (each) => each !== '',
  )
  if (own.some((each) => name === each || name.endsWith(`.${each}`)))
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      `name must not be, or lie below, a name of this server, but it is "${name}"`,
    )
  if (!isAllowedName(name, customDomains))
    throw refusal(
      'SANDBOX::INVALID_PARAMETER',
      customDomains.length === 0
        ? 'This server gives no names away: front.custom_domains of its configuration says which'
        : `name must be one of ${customDomains.join(', ')}, but it is "${name}"`,
    )
  return name
}

function nameIn(address: string): string {
  return address
    .replace(/^[a-z]+:\/\//i, '')
    .replace(/[:/].*$/s, '')
    .toLowerCase()
}

function formatDomain({ createdAt, createdBy, ...row }: DomainRow): DomainAnswer {
  return { ...row, createdAt: formatTime(createdAt), ...(createdBy !== null && { createdBy }) }
}
