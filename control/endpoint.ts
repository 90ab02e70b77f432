// How the address of a sandbox's port is written (contract: lifecycle.md 4.1, 4.2, gateway.md 1). Pure.

import { formatExpires, type SigningKeys, signRoute } from '../lib/signature.ts'
import type { AppSettings } from './app-deps.ts'
import { refusal } from './errors.ts'

export type EndpointSettings = Pick<AppSettings, 'eip' | 'domain' | 'gateway'>

type Port = {
  settings: EndpointSettings
  /** The host by which the client called. */
  host: string | undefined
  id: string
  port: number
}

export type EndpointParts = Port & {
  /** Set when the address must lead through the API server, under the prefix by which it was called. */
  proxyPrefix?: string
  signed?: { expires: bigint; keyId: string; keys: SigningKeys }
}

/** By which a request says where it goes when its address does not. */
const INGRESS_TO_HEADER = 'OpenSandbox-Ingress-To'

/** An address without scheme, and the headers that lead there. */
export function formatEndpoint(parts: EndpointParts): {
  endpoint: string
  headers?: Record<string, string>
} {
  const { settings, host, id, port, proxyPrefix, signed } = parts
  const own = readHost(host)
  if (proxyPrefix !== undefined)
    return { endpoint: `${settings.eip ?? own}${proxyPrefix}/sandboxes/${id}/proxy/${port}` }
  const name = [id, port, ...(signed ? signatureOf(parts, signed) : [])]
  const { address = '', route } = settings.gateway ?? {}
  switch (route) {
    case 'wildcard':
      return { endpoint: `${name.join('-')}${address.slice(1)}` }
    case 'header':
      return { endpoint: address, headers: { [INGRESS_TO_HEADER]: name.join('-') } }
    case 'uri':
      return { endpoint: `${address.replace(/\/+$/, '')}/${name.join('/')}` }
    default:
      if (settings.domain !== 'localhost')
        return { endpoint: `${name.join('-')}.${settings.domain}${portOf(own)}` }
      // Programs cannot look up a name below localhost, so any client gets a path.
      return signed
        ? { endpoint: `${settings.eip ?? own}/${name.join('/')}` }
        : { endpoint: `${settings.eip ?? own}/sandboxes/${id}/proxy/${port}` }
  }
}

/** The URL of a port for a browser, without a path: by a host name of its own, wherever browsers find one. */
export function formatPortUrl({ settings, host, scheme, id, port }: Port & { scheme: string }): string {
  const own = readHost(host)
  const name = `${id}-${port}`
  const { address, route } = settings.gateway ?? {}
  if (address !== undefined && route === 'wildcard') return `${scheme}://${name}${address.slice(1)}`
  if (settings.domain !== 'localhost' || isOnThisMachine(own))
    return `${scheme}://${name}.${settings.domain}${portOf(own)}`
  return `${scheme}://${settings.eip ?? own}/sandboxes/${id}/proxy/${port}`
}

function signatureOf(
  { id, port }: Port,
  { expires, keyId, keys }: NonNullable<EndpointParts['signed']>,
): [string, string] {
  const end = formatExpires(expires)
  return [end, signRoute(keys, keyId, { id, port, expires: end })]
}

function portOf(host: string): string {
  return /:\d+$/.exec(host)?.[0] ?? ''
}

function isOnThisMachine(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/i.test(host)
}

function readHost(host: string | undefined): string {
  if (host === undefined || !/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?$/.test(host))
    throw refusal(
      'GENERAL::BAD_REQUEST',
      'The Host header must be a host name or address, with a port or without',
    )
  return host
}
