import { isIP, isIPv4, isIPv6 } from 'node:net'

export type NameServer = { address: string; port: number }

/** `address`, `address:port`, `[v6]` or `[v6]:port`; undefined when it is none of them. */
export function parseNameServer(text: string): NameServer | undefined {
  if (isIP(text.trim()) !== 0) return { address: text.trim(), port: 53 }
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?$/.exec(text.trim())
  const address = match?.[1] ?? match?.[2] ?? ''
  if (match?.[1] === undefined ? !isIPv4(address) : !isIPv6(address)) return undefined
  const port = match?.[3] === undefined ? 53 : Number(match[3])
  return port >= 1 && port <= 65_535 ? { address, port } : undefined
}
