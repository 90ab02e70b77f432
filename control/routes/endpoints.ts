import { Hono } from 'hono'
import { SECURE_ACCESS_HEADER } from '../../lib/access.ts'
import { TOKEN_IN_PATH } from '../../lib/api/execd.ts'
import { EGRESS_PORT, EXECD_PORT } from '../../lib/api/guest.ts'
import {
  EGRESS_TOKEN_HEADER,
  type Endpoint,
  EXECD_TOKEN_HEADER,
  endpointQuerySchema,
  ORIGIN_HEADER,
} from '../../lib/api/lifecycle.ts'
import { MAX_EXPIRES } from '../../lib/signature.ts'
import type { AppDeps, AppEnv } from '../app-deps.ts'
import { invalid, readQuery } from '../body.ts'
import { formatEndpoint } from '../endpoint.ts'
import { refusal } from '../errors.ts'
import { publicHost } from '../public-host.ts'
import type { SandboxRow } from '../store/rows.ts'
import { visibleSandbox } from './visible.ts'

/** Where a port of a sandbox is reached (contract: lifecycle.md 4.1). It answers in every state, running or not. */
export function endpointRoutes({ lives, settings, access, proxy, trustForwarded }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.get('/sandboxes/:id/endpoints/:port', (context) => {
    const query = readQuery(context, endpointQuerySchema)
    if (query.use_server_proxy && query.expires !== undefined)
      throw refusal('SANDBOX::INVALID_PARAMETER', 'use_server_proxy and expires cannot be used together')
    // Without a gateway nobody checks a signature.
    const signing = proxy ? undefined : access.signing
    if (query.expires !== undefined && !signing)
      throw refusal(
        'SANDBOX::API_NOT_SUPPORTED',
        'expires: this server signs no endpoints, as it has no keys under ingress.secure_access',
      )
    const port = parsePort(context.req.param('port'))
    const row = visibleSandbox(context, lives)
    if (row.templateId !== null) context.header(ORIGIN_HEADER, 'template')
    // What opens execd or the policy would let a key that only reads change everything.
    const mayChange = context.get('principal').role !== 'read-only'
    const expires = query.expires === undefined ? undefined : readExpires(query.expires, lives.now())
    if (expires !== undefined && !mayChange)
      throw refusal('GENERAL::FORBIDDEN', 'A key that may only read gets no signed endpoint')
    const needsPath =
      mayChange && port === EXECD_PORT && WITHOUT_HEADERS.test(context.req.header('user-agent') ?? '')
    const at = formatEndpoint({
      settings,
      host: publicHost(context, trustForwarded),
      id: row.id,
      port,
      ...(query.use_server_proxy && { proxyPrefix: context.req.path.startsWith('/v1/') ? '/v1' : '' }),
      ...(expires !== undefined &&
        signing && { signed: { expires, keyId: signing.activeKey, keys: signing.keys } }),
    })
    const headers = {
      ...(mayChange && headersOf(row, port)),
      // A signed address opens by itself.
      ...(mayChange &&
        expires === undefined &&
        row.accessToken !== null && { [SECURE_ACCESS_HEADER]: row.accessToken }),
      ...at.headers,
    }
    const endpoint: Endpoint = {
      endpoint: `${at.endpoint}${needsPath ? TOKEN_IN_PATH + row.execdToken : ''}`,
      ...(Object.keys(headers).length > 0 && { headers }),
    }
    return context.json(endpoint)
  })
  return routes
}

/** Clients that read the address of an endpoint alone, so that the token must be in it (docs/decisions/kotlin-client.md). */
const WITHOUT_HEADERS = /^OpenSandbox-Kotlin-SDK\/1\.0\.0(?![.\d])/

/** A port from a path: 400 when it is a number that no port has, 422 when it is none. */
export function parsePort(text: string): number {
  if (!/^[+-]?\d{1,20}$/.test(text))
    throw invalid([{ type: 'int_parsing', loc: ['path', 'port'], msg: 'must be a whole number' }])
  const port = Number(text)
  if (port < 1 || port > 65535) throw refusal('DOCKER::INVALID_PORT', 'port must be from 1 to 65535')
  return port
}

/** Throws when an end has passed, or is further than a signature can say. */
function readExpires(text: string, now: number): bigint {
  const expires = BigInt(text.replace(/^\+/, ''))
  if (expires > BigInt(Math.floor(now / 1000)) && expires <= MAX_EXPIRES) return expires
  throw refusal(
    'SANDBOX::INVALID_PARAMETER',
    `expires must be seconds since 1970 that lie in the future, and at most ${MAX_EXPIRES}`,
  )
}

// Only the two ports that are ours have a secret; what the user's programs listen on is the user's to guard.
function headersOf(row: SandboxRow, port: number): Record<string, string> | undefined {
  if (port === EXECD_PORT) return { [EXECD_TOKEN_HEADER]: row.execdToken }
  if (port === EGRESS_PORT) return { [EGRESS_TOKEN_HEADER]: row.egressToken }
  return undefined
}
