// Where a request goes, from its head alone: the routing header beats the host name, the host name beats the path, and what
// is not a sandbox's is control's (contract: gateway.md 2, lifecycle.md 4.4). Pure.

import { isSandboxId, parseHost, parseIngressTo, parsePort, type SandboxAddress } from './host.ts'
import type { RequestHead } from './http1/head.ts'

export type Route =
  | { kind: 'control' }
  | { kind: 'health' }
  | {
      kind: 'sandbox'
      via: 'header' | 'host' | 'path'
      address: SandboxAddress
      /** What the sandbox is asked for: raw path and query. */
      target: string
      /** What was taken off the front of the path; empty but for `path`. */
      prefix: string
    }
  | { kind: 'invalid'; code: string; problem: string }

const INGRESS_TO = 'opensandbox-ingress-to'
const INGRESS_TO_DEPRECATED = 'open-sandbox-ingress'
const PROXY_PATH = /^((?:\/v1)?\/sandboxes\/([^/?]+)\/proxy\/(\d+))(?=[/?]|$)(.*)$/s

/** Decides where a request goes. `domain` is the one below which the sandboxes' host names lie. */
export function decideRoute(head: RequestHead, domain: string): Route {
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
  if (target.startsWith('/sandboxes/') || target.startsWith('/v1/sandboxes/')) return readProxyPath(target)
  if (target === '/status.ok') return { kind: 'health' }
  return { kind: 'control' }
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
    target: rest.startsWith('/') ? rest : `/${rest}`,
    prefix,
  }
}

function invalid(code: string, problem: string): Route {
  return { kind: 'invalid', code, problem }
}
