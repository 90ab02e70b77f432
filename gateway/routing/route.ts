// Where a request goes, from its head alone: the routing header beats the host name, the host name beats the path, and what
// is not a sandbox's is control's (contract: gateway.md 2, lifecycle.md 4.4). Pure.

import { readSignature } from '../../lib/signature.ts'
import type { RequestHead } from '../http1/head.ts'
import { isSandboxId, nameOf, parseHost, parseIngressTo, parsePort, type SandboxAddress } from './host.ts'

export type Route =
  | { kind: 'control' }
  | { kind: 'health' }
  /** Whether what is known of sandboxes is current. */
  | { kind: 'network' }
  | {
      kind: 'sandbox'
      via: 'header' | 'host' | 'path' | 'uri'
      address: SandboxAddress
      /** What the sandbox is asked for: raw path and query. */
      target: string
      /** What was taken off the front of the path; empty but for `path` and `uri`. */
      prefix: string
      /** How a signed path reads where the sandbox asks for no signature. */
      unsigned?: { target: string; prefix: string }
    }
  | { kind: 'invalid'; code: string; problem: string }

const INGRESS_TO = 'opensandbox-ingress-to'
const INGRESS_TO_DEPRECATED = 'open-sandbox-ingress'
const URI = /^\/([^/?]+)\/(\d{1,5})(?=[/?]|$)(.*)$/s
const SIGNED_REST = /^\/([0-9a-z]{1,13})\/([0-9a-f]{8}[0-9a-z])(?=[/?]|$)(.*)$/s
/** Words of the API that begin a path, and could be ids by their letters. */
const RESERVED = new Set(['v1', 'sandboxes', 'snapshots', 'templates', 'pools', 'admin', 'events'])
const PROXY_PATH = /^((?:\/v1)?\/sandboxes\/([^/?]+)\/proxy\/(\d+))(?=[/?]|$)(.*)$/s

/**
 * Decides where a request goes. `domain` is the one below which the sandboxes' host names lie; `hasUris` says that sandboxes have
 * paths of their own, `/{id}/{port}/`, unsigned ones too; `findDomain` knows the sandboxes that have names of their own.
 */
export function decideRoute(
  head: RequestHead,
  domain: string,
  hasUris = false,
  findDomain: (name: string) => SandboxAddress | undefined = () => undefined,
): Route {
  const token = readRoutingHeader(head)
  if (token !== undefined) {
    const address = token === null ? undefined : parseIngressTo(token)
    return address
      ? { kind: 'sandbox', via: 'header', address, target: head.target, prefix: '' }
      : invalid('GENERAL::BAD_REQUEST', 'the field OpenSandbox-Ingress-To must be one {id}-{port}')
  }
  const reading = parseHost(head.host, domain)
  if (reading.kind === 'sandbox')
    return { kind: 'sandbox', via: 'host', address: reading.address, target: head.target, prefix: '' }
  if (reading.kind === 'invalid') return invalid('GENERAL::BAD_REQUEST', reading.problem)
  const { target } = head
  const named = findDomain(nameOf(head.host))
  if (named) return { kind: 'sandbox', via: 'host', address: named, target, prefix: '' }
  if (target.startsWith('/sandboxes/') || target.startsWith('/v1/sandboxes/')) return readProxyPath(target)
  if (target === '/status.ok') return { kind: 'health' }
  if (target === '/status.ok/network-readiness') return { kind: 'network' }
  return readUri(target, hasUris) ?? { kind: 'control' }
}

/** `/{id}/{port}/{expires}/{signature}`, and `/{id}/{port}`, each with the sandbox's own path behind it (contract: gateway.md 2.2). */
function readUri(raw: string, hasUris: boolean): Route | undefined {
  const [, id = '', portText = '', rest = ''] = URI.exec(raw) ?? []
  const port = parsePort(portText)
  if (port === undefined || !isSandboxId(id) || RESERVED.has(id)) return undefined
  const prefix = `/${id}/${portText}`
  const unsigned = { target: toTarget(rest), prefix }
  const [, expires = '', signature = '', after = ''] = SIGNED_REST.exec(rest) ?? []
  const signed = readSignature(expires, signature)
  if (signed)
    return {
      kind: 'sandbox',
      via: 'uri',
      address: { id, port, signed },
      target: toTarget(after),
      prefix: `${prefix}/${expires}/${signature}`,
      ...(hasUris && { unsigned }),
    }
  return hasUris ? { kind: 'sandbox', via: 'uri', address: { id, port }, ...unsigned } : undefined
}

function toTarget(rest: string): string {
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** The first routing header that is not empty; null when one comes twice. */
function readRoutingHeader({ fields }: RequestHead): string | null | undefined {
  let found: string | undefined
  let deprecated: string | undefined
  for (const { key, value } of fields) {
    // Most fields are told apart by their first letters.
    if (key.length < 20 || !key.startsWith('open') || value === '') continue
    if (key === INGRESS_TO) {
      if (found !== undefined) return null
      found = value
    } else if (key === INGRESS_TO_DEPRECATED) {
      if (deprecated !== undefined) return null
      deprecated = value
    }
  }
  return found ?? deprecated
}

function readProxyPath(raw: string): Route {
  const match = PROXY_PATH.exec(raw)
  const [, prefix = '', id = '', portText = '', rest = ''] = match ?? []
  if (!match || !isSandboxId(id)) return { kind: 'control' }
  const port = parsePort(portText)
  if (port === undefined) return invalid('DOCKER::INVALID_PORT', 'port must be from 1 to 65535')
  return {
    kind: 'sandbox',
    via: 'path',
    address: { id, port },
    target: toTarget(rest),
    prefix,
  }
}

function invalid(code: string, problem: string): Route {
  return { kind: 'invalid', code, problem }
}
