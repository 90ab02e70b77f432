// Which ranges of addresses the host knows of, by its interfaces and its routes, without those of this installation.

import type { RunProgram } from '../lib/run-program.ts'
import { askIp } from './ip.ts'

export type AddressEntry = {
  ifname: string
  addr_info?: { family?: string; local?: string; prefixlen?: number }[]
}
export type RouteEntry = { dst?: string; dev?: string; type?: string }
export type UsedRange<Range> = { range: Range; owner: string }

export async function usedRanges<Range>({
  run,
  family,
  interfacePrefix,
  parse,
  isNone,
}: {
  run: RunProgram
  family: '-4' | '-6'
  interfacePrefix: string
  parse: (cidr: string) => Range
  /** Whether a route means no network of somebody else's. */
  isNone: (dst: string, type: string | undefined) => boolean
}): Promise<UsedRange<Range>[]> {
  const [addresses, routes] = await Promise.all([
    askIp<AddressEntry>(run, [family, 'address', 'show']),
    askIp<RouteEntry>(run, [family, 'route', 'show', 'table', 'all']),
  ])
  const isOurs = (name: string | undefined) => name?.startsWith(interfacePrefix) === true
  const used: UsedRange<Range>[] = []
  for (const { ifname, addr_info = [] } of addresses)
    for (const { local, prefixlen } of addr_info)
      if (local && prefixlen !== undefined && !isOurs(ifname))
        used.push({ range: parse(`${local}/${prefixlen}`), owner: `interface ${ifname}` })
  for (const { dst, dev, type } of routes) {
    // Parts of everything (VPNs split the default route so) leave no range free and mean no network of their own.
    if (!dst || dst === 'default' || isOurs(dev) || /\/[0-7]$/.test(dst) || isNone(dst, type)) continue
    used.push({ range: parse(dst), owner: dev ? `the route to ${dst} by ${dev}` : `the route to ${dst}` })
  }
  return used
}
