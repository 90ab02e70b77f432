import { Hono } from 'hono'
import { TOKEN_IN_PATH } from '../../lib/api/execd.ts'
import { EGRESS_PORT, EXECD_PORT } from '../../lib/api/guest.ts'
import {
  EGRESS_TOKEN_HEADER,
  type Endpoint,
  EXECD_TOKEN_HEADER,
  endpointQuerySchema,
  ORIGIN_HEADER,
} from '../../lib/api/lifecycle.ts'
import type { AppDeps, AppEnv, AppSettings } from '../app-deps.ts'
import { invalid, readQuery } from '../body.ts'
import { refusal } from '../errors.ts'
import { publicHost } from '../public-host.ts'
import type { SandboxRow } from '../store/rows.ts'
import { visibleSandbox } from './visible.ts'

/** Where a port of a sandbox is reached (contract: lifecycle.md 4.1, design D11). It answers in every state, running or not. */
export function endpointRoutes({ lives, settings, trustForwarded }: AppDeps): Hono<AppEnv> {
  const routes = new Hono<AppEnv>()
  routes.get('/sandboxes/:id/endpoints/:port', (context) => {
    const query = readQuery(context, endpointQuerySchema)
    if (query.use_server_proxy && query.expires !== undefined)
      throw refusal('SANDBOX::INVALID_PARAMETER', 'use_server_proxy and expires cannot be used together')
    if (query.expires !== undefined)
      throw refusal('SANDBOX::API_NOT_SUPPORTED', 'expires: this runtime has no signed endpoints')
    const port = parsePort(context.req.param('port'))
    const row = visibleSandbox(context, lives)
    if (row.templateId !== null) context.header(ORIGIN_HEADER, 'template')
    // What opens execd or the policy would let a key that only reads change everything.
    const mayChange = context.get('principal').role !== 'read-only'
    const headers = mayChange ? headersOf(row, port) : undefined
    const needsPath =
      mayChange && port === EXECD_PORT && WITHOUT_HEADERS.test(context.req.header('user-agent') ?? '')
    const endpoint: Endpoint = {
      endpoint: `${formatEndpoint({
        settings,
        host: publicHost(context, trustForwarded),
        id: row.id,
        port,
        ...(query.use_server_proxy && { proxyPrefix: context.req.path.startsWith('/v1/') ? '/v1' : '' }),
      })}${needsPath ? TOKEN_IN_PATH + row.execdToken : ''}`,
      ...(headers && { headers }),
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

type EndpointParts = {
  settings: Pick<AppSettings, 'eip' | 'domain'>
  /** The host by which the client called. */
  host: string | undefined
  id: string
  port: number
  /** Set when the address must lead through the API server, under the prefix by which it was called. */
  proxyPrefix?: string
}

/** The address of a port, without scheme: a name of its own below a real domain, else a path that any client can use. */
function formatEndpoint({ settings, host, id, port, proxyPrefix }: EndpointParts): string {
  const own = readHost(host)
  if (proxyPrefix === undefined && settings.domain !== 'localhost') {
    const publicPort = /:(\d+)$/.exec(own)?.[1]
    return `${id}-${port}.${settings.domain}${publicPort ? `:${publicPort}` : ''}`
  }
  return `${settings.eip ?? own}${proxyPrefix ?? ''}/sandboxes/${id}/proxy/${port}`
}

function readHost(host: string | undefined): string {
  if (host === undefined || !/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/.test(host))
    throw refusal(
      'GENERAL::BAD_REQUEST',
      'The Host header must be a host name or address, with a port or without',
    )
  return host
}

// Only the two ports that are ours have a secret; what the user's programs listen on is the user's to guard.
function headersOf(row: SandboxRow, port: number): Record<string, string> | undefined {
  if (port === EXECD_PORT) return { [EXECD_TOKEN_HEADER]: row.execdToken }
  if (port === EGRESS_PORT) return { [EGRESS_TOKEN_HEADER]: row.egressToken }
  return undefined
}
