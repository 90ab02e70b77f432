// Name servers as an operator names them: an address, or a URL that says how it is spoken to.

import { isIP, isIPv4, isIPv6 } from 'node:net'

export type NameServer = { address: string; port: number }

/** How a name server is spoken to: by UDP and TCP in the clear, by TLS (RFC 7858), or by HTTPS (RFC 8484). */
export type DnsUpstream =
  | ({ by: 'udp' } & NameServer)
  | ({ by: 'tls' /** What its certificate must be for. */; serverName: string } & NameServer)
  | { by: 'https'; url: string }

/** `address`, `address:port`, `[v6]` or `[v6]:port`; undefined when it is none of them. */
export function parseNameServer(text: string, defaultPort = 53): NameServer | undefined {
  if (isIP(text.trim()) !== 0) return { address: text.trim(), port: defaultPort }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text.trim())
  const address = match?.[1] ?? match?.[2] ?? ''
  if (match?.[1] === undefined ? !isIPv4(address) : !isIPv6(address)) return undefined
  const port = match?.[3] === undefined ? defaultPort : Number(match[3])
  return port >= 1 && port <= 65_535 ? { address, port } : undefined
}

/**
 * A name server, bare or as `udp://address`, `tls://address#name` (without a name, its certificate must be for the address) or
 * `https://host/path`; undefined when it is none of them.
 */
export function parseDnsUpstream(text: string): DnsUpstream | undefined {
  const trimmed = text.trim()
  const [, scheme, rest = ''] = /^(udp|tls):\/\/(.+)$/.exec(trimmed) ?? []
  if (scheme === 'tls') {
    const [where = '', name] = rest.split('#', 2)
    const server = parseNameServer(where, 853)
    if (!server || (name !== undefined && !/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/i.test(name)))
      return undefined
    return { by: 'tls', ...server, serverName: (name ?? server.address).toLowerCase() }
  }
  if (trimmed.startsWith('https://')) {
    const url = URL.canParse(trimmed) ? new URL(trimmed) : undefined
    const isPlain = url && url.username === '' && url.password === '' && url.hash === '' && url.search === ''
    return isPlain ? { by: 'https', url: url.href } : undefined
  }
  const server = parseNameServer(scheme === 'udp' ? rest : trimmed)
  return server && { by: 'udp', ...server }
}
