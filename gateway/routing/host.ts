// How a sandbox's port is named: `{id}-{port}` as the first label of a host name below the sandbox domain, or as a token in
// a header (contract: gateway.md 2.1). Parsed from the right, because an id may hold hyphens. A signed token
// `{id}-{port}-{expires}-{signature}` names the same port, and brings along what opens it (gateway/access/grant.ts).

import { type RouteSignature, readSignature } from '../../lib/signature.ts'

export type SandboxAddress = { id: string; port: number; signed?: RouteSignature }

/** What a host name says: a sandbox's port, something of a sandbox that is misspelt, or another host. */
export type HostReading =
  | { kind: 'sandbox'; address: SandboxAddress }
  | { kind: 'invalid'; problem: string }
  | { kind: 'other' }

const ID = /^[A-Za-z0-9](?:[A-Za-z0-9_-]{0,126}[A-Za-z0-9])?$/
const PORT = /^[1-9]\d{0,4}$/

/** Whether a text can be a sandbox's id at all. */
export function isSandboxId(text: string): boolean {
  return ID.test(text)
}

/** A port from its decimal digits, without sign and leading zeros; undefined when no port has this number. */
export function parsePort(text: string): number | undefined {
  if (!PORT.test(text)) return undefined
  const port = Number(text)
  return port <= 65535 ? port : undefined
}

/** Reads `{id}-{port}`, or `{id}-{port}-{expires}-{signature}`. */
export function parseToken(token: string): SandboxAddress | undefined {
  const parts = token.split('-')
  if (parts.length >= 4) {
    const [portText, expires, signature] = parts.slice(-3) as [string, string, string]
    const signed = readSignature(expires, signature)
    const address = signed && toAddress(parts.slice(0, -3).join('-'), portText)
    if (address) return { ...address, signed }
  }
  return toAddress(parts.slice(0, -1).join('-'), parts.at(-1) ?? '')
}

/** Reads the routing header's value: a token, or a whole host name or address that begins with one. */
export function parseIngressTo(value: string): SandboxAddress | undefined {
  const label =
    value
      .replace(/^https:\/\//, '')
      .replace(/^http:\/\//, '')
      .split('.')[0] ?? ''
  return parseToken(label)
}

/** Reads a `Host` value, with a port or without, against the domain below which the sandboxes' names lie. */
export function parseHost(host: string, domain: string): HostReading {
  const name = nameOf(host)
  if (
    name.length <= domain.length + 1 ||
    !name.endsWith(domain) ||
    name[name.length - domain.length - 1] !== '.'
  )
    return { kind: 'other' }
  const label = name.slice(0, -domain.length - 1)
  const address = label.includes('.') ? undefined : parseToken(label)
  if (address) return { kind: 'sandbox', address }
  // What ends like a port was meant for a sandbox; other names below the domain are the operator's own.
  return /-\d+$/.test(label)
    ? { kind: 'invalid', problem: `the host name must be {id}-{port}.${domain}, with a port from 1 to 65535` }
    : { kind: 'other' }
}

/** The host name of a sandbox's port, as browsers use it. */
export function formatHost({ id, port, signed }: SandboxAddress, domain: string): string {
  return `${id}-${port}${signed ? `-${signed.expires}-${signed.signature}` : ''}.${domain}`
}

/** A `Host` value's name in lower case, without its port and without the final dot of a full name. */
export function nameOf(host: string): string {
  const colon = host.lastIndexOf(':')
  const name = colon > host.lastIndexOf(']') ? host.slice(0, colon) : host
  return (name.endsWith('.') ? name.slice(0, -1) : name).toLowerCase()
}

/** A `Host` value's port with its colon, or nothing. */
export function portSuffixOf(host: string): string {
  return /:\d+$/.exec(host)?.[0] ?? ''
}

/** Whether a `Host` value names the loopback interface. */
export function isLoopbackName(host: string): boolean {
  const name = nameOf(host)
  return name === 'localhost' || name === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
}

function toAddress(id: string, portText: string): SandboxAddress | undefined {
  const port = parsePort(portText)
  return port !== undefined && ID.test(id) ? { id, port } : undefined
}
