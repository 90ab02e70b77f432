// What of the product's configuration egress needs, in the form in which it needs it.

import { isIP, isIPv4, isIPv6 } from 'node:net'
import { type Config, ConfigError } from '../lib/config.ts'
import type { NameServer } from './dns/upstream.ts'

export type EgressConfig = {
  dataDir: string
  logLevel: Config['log']['level']
  subnet: string
  defaultAction: 'allow' | 'deny'
  /** Empty: those of the host. */
  nameServers: NameServer[]
}

export const HELP = `Lets each sandbox reach what its network policy names, and nothing else.

node egress/main.ts [--config FILE] [--data-dir DIR] [--teardown]

  --config FILE    the configuration (default ~/.sandbox.toml)
  --data-dir DIR   where its state lies (default /var/lib/opensandbox)
  --teardown       remove everything of this installation from the kernel and forget its registrations, then exit

Rules of running sandboxes stay in the kernel when egress stops; nothing new is opened until it is back. When it stops and no
sandbox is left, it removes its table and its interface itself.
`

/** Takes its part of the configuration; throws ConfigError with every problem. */
export function readEgressConfig(config: Config): EgressConfig {
  const problems: string[] = []
  const nameServers: NameServer[] = []
  for (const text of config.egress.upstreamDns) {
    const server = parseNameServer(text)
    if (server) nameServers.push(server)
    else
      problems.push(
        `egress.upstream_dns must list IP addresses, each with or without a port, such as "192.0.2.53" or "[2001:db8::1]:53", but it has "${text}"`,
      )
  }
  if (problems.length > 0) throw new ConfigError(problems)
  return {
    dataDir: config.server.dataDir,
    logLevel: config.log.level,
    subnet: config.runtime.subnet,
    defaultAction: config.egress.defaultAction,
    nameServers,
  }
}

/** `address`, `address:port`, `[v6]` or `[v6]:port`. */
export function parseNameServer(text: string): NameServer | undefined {
  if (isIP(text.trim()) !== 0) return { address: text.trim(), port: 53 }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text.trim())
  const address = match?.[1] ?? match?.[2] ?? ''
  if (match?.[1] === undefined ? !isIPv4(address) : !isIPv6(address)) return undefined
  const port = match?.[3] === undefined ? 53 : Number(match[3])
  return port >= 1 && port <= 65_535 ? { address, port } : undefined
}

/** The name servers of a resolv.conf: at most ten, those on the host itself last (contract: egress.md 3). */
export function parseResolvConf(text: string): NameServer[] {
  const found = new Set<string>()
  for (const line of text.split('\n')) {
    const address = /^\s*nameserver\s+(\S+)/.exec(line)?.[1]
    if (address && isIP(address) !== 0 && address !== '0.0.0.0' && address !== '::') found.add(address)
  }
  const isLocal = (address: string) => address === '::1' || address.startsWith('127.')
  const servers = [...found].sort((a, b) => Number(isLocal(a)) - Number(isLocal(b)))
  return servers.slice(0, 10).map((address) => ({ address, port: 53 }))
}
