// What control asks (lib/api/egress-admin.ts).

import { isIPv4 } from 'node:net'
import { Hono } from 'hono'
import { z } from 'zod'
import type { EgressAuthority, EgressNetwork, EgressRegistration } from '../../lib/api/egress-admin.ts'
import { checkNetworkPolicy, formatPolicyProblem, parseAddress4 } from '../../lib/api/network-policy.ts'
import { ApiError } from '../../lib/errors.ts'
import type { Authorities } from '../interception/authority.ts'
import type { EgressMetrics } from '../metrics.ts'
import { covers, parseRange } from '../policy/addresses.ts'
import type { Sandboxes } from '../sandboxes.ts'
import { readBody } from './body.ts'

const ID = /^[a-z0-9-]{1,63}$/

const registrationSchema = z.object({
  address: z.string().refine((address) => isIPv4(address), 'must be an IPv4 address'),
  interface: z.string().max(15),
  policy: z.unknown().optional(),
  token: z.string().min(16).max(1024),
  credentialProxy: z.boolean().optional(),
  tenant: z.string().min(1).max(256).optional(),
})

export type AdminDeps = {
  metrics?: Pick<EgressMetrics, 'format' | 'contentType'>
  network: EgressNetwork
  sandboxes: Sandboxes
  authorities: Pick<Authorities, 'authorityOf' | 'remove'>
  /** What else is kept of a sandbox. */
  vaults: { forget(id: string): void }
  /** Called after a registration, for what need not be waited for. */
  onRegistered: (interfaceName: string) => void
  /** Likewise when nothing is registered with an interface any more. */
  onRemoved: (interfaceName: string) => void
}

export function adminRoutes({
  network,
  sandboxes,
  authorities,
  vaults,
  metrics,
  onRegistered,
  onRemoved,
}: AdminDeps): Hono {
  const routes = new Hono()
  routes.get('/healthz', (context) => context.text('ok'))
  routes.get('/metrics', async (context) =>
    context.text((await metrics?.format()) ?? '', 200, metrics && { 'Content-Type': metrics.contentType }),
  )
  routes.get('/network', (context) => context.json(network))
  routes.get('/sandboxes', (context) => context.json({ sandboxes: sandboxes.list() }))
  routes.put('/sandboxes/:id', async (context) => {
    const id = readId(context.req.param('id'))
    const registration = readRegistration(await readBody(context.req.raw), network)
    const before = sandboxes.get(id)?.interface
    await sandboxes.register(id, registration)
    if (before !== undefined && before !== registration.interface) onRemoved(before)
    onRegistered(registration.interface)
    return context.body(null, 204)
  })
  routes.put('/sandboxes/:id/authority', (context) => {
    const { certificate } = authorities.authorityOf(readId(context.req.param('id')))
    return context.json({ certificate } satisfies EgressAuthority)
  })
  routes.delete('/sandboxes/:id', async (context) => {
    const id = readId(context.req.param('id'))
    // Before the sandbox itself, so that nothing stays that nobody would ever remove; and once more, for what a client wrote meanwhile.
    vaults.forget(id)
    const before = sandboxes.get(id)?.interface
    try {
      await sandboxes.remove(id)
    } finally {
      vaults.forget(id)
      authorities.remove(id)
      if (before !== undefined) onRemoved(before)
    }
    return context.body(null, 204)
  })
  return routes
}

function readId(id: string): string {
  if (!ID.test(id))
    throw new ApiError(400, 'INVALID_ID', 'The id of a sandbox must be 1 to 63 of a-z, 0-9 and "-"')
  return id
}

/** Reads a registration, or throws an ApiError that names the field. */
function readRegistration(body: string, network: EgressNetwork): EgressRegistration {
  const invalid = (field: string, message: string) =>
    new ApiError(400, 'INVALID_REGISTRATION', `${field} ${message}`)
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch (error) {
    throw new ApiError(400, 'INVALID_JSON', 'The body must be JSON', { cause: error })
  }
  const parsed = registrationSchema.safeParse(value)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw invalid(issue?.path.join('.') || 'the body', issue?.message ?? 'is not valid')
  }
  const { address, interface: name, policy, token, tenant, credentialProxy } = parsed.data
  const registration = {
    address,
    interface: name,
    token,
    ...(tenant !== undefined && { tenant }),
    ...(credentialProxy && { credentialProxy }),
  }
  const subnet = parseRange(network.subnet)
  if (
    !covers([subnet], address) ||
    [subnet.first, subnet.last].includes(parseAddress4(address)) ||
    address === network.gateway
  )
    throw invalid(
      'address',
      `must be a free one of ${network.subnet}, not its first, second or last, but it is "${address}"`,
    )
  const suffix = name.slice(network.interfacePrefix.length)
  if (!name.startsWith(network.interfacePrefix) || !/^[A-Za-z0-9_-]{1,8}$/.test(suffix))
    throw invalid(
      'interface',
      `must be "${network.interfacePrefix}" and 1 to 8 more of letters, digits, "_" and "-", but it is ${JSON.stringify(name)}`,
    )
  if (policy === undefined || policy === null) return registration
  const checked = checkNetworkPolicy(policy)
  if (!('policy' in checked)) throw invalid('policy', formatPolicyProblem(checked))
  return { ...registration, policy: checked.policy }
}
