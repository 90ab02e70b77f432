// The name servers of the host, which may change at any moment: when it moves, or a VPN begins.

import { isIP } from 'node:net'
import type { DnsUpstream } from '../../lib/name-server.ts'
import { readIfThere } from '../../lib/program.ts'

const FRESH_MS = 5000

/** Those that were given; without any, those of the host as they are. */
export function nameServersOf(given: readonly DnsUpstream[]): () => readonly DnsUpstream[] {
  if (given.length > 0) return () => given
  let known: DnsUpstream[] = []
  let readAt = 0
  return () => {
    if (Date.now() - readAt > FRESH_MS) {
      known = parseResolvConf(readIfThere('/etc/resolv.conf') ?? '')
      readAt = Date.now()
    }
    return known
  }
}

/** The name servers of a resolv.conf: at most ten, those on the host itself last (contract: egress.md 3). */
export function parseResolvConf(text: string): DnsUpstream[] {
  const found = new Set<string>()
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1]
    if (address && isIP(address) !== 0 && address !== '0.0.0.0' && address !== '::') found.add(address)
  }
  const isLocal = (address: string) => address === '::1' || address.startsWith('127.')
  const servers = [...found].sort((a, b) => Number(isLocal(a)) - Number(isLocal(b)))
  return servers.slice(0, 10).map((address) => ({ by: 'udp', address, port: 53 }))
}
