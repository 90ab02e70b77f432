// Which addresses are this machine's own at the moment, or those of sandboxes on it, of whatever installation: a registry there is one
// that only this machine reaches, or that a sandbox plays.

import { readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import ipaddr, { type IPv4, type IPv6 } from 'ipaddr.js'
import { systemCodeOf } from '../../lib/errors.ts'

export type HostAddresses = {
  /** Of all its interfaces. */
  own: () => string[]
  /** What `/proc/net/route` and `/proc/net/ipv6_route` say. */
  routes: () => { ipv4: string; ipv6: string }
}

type Route = { to: IPv4 | IPv6; bits: number; isOfSandboxes: boolean }

/** Interfaces of sandboxes, and the one that has their gateway (instance.ts). */
const SANDBOX_INTERFACE = /^osb[0-9a-f]{4}/
const REJECTED = 0x0200
const HEX_ADDRESS = /^[0-9A-F]{8}$/

export const HOST_ADDRESSES: HostAddresses = {
  own: () => Object.values(networkInterfaces()).flatMap((each) => (each ?? []).map(({ address }) => address)),
  routes: () => ({ ipv4: readRoutes('/proc/net/route'), ipv6: readRoutes('/proc/net/ipv6_route') }),
}

/** What says whether an address is one of these. Asked for anew each time, as sandboxes come and go. */
export function lookAtHost({ own, routes }: HostAddresses): (address: string) => boolean {
  const addresses = new Set(own().map(plain))
  const { ipv4, ipv6 } = routes()
  const known = [...parseRoutes4(ipv4), ...parseRoutes6(ipv6)].sort((one, other) => other.bits - one.bits)
  return (address) => {
    const parsed = ipaddr.process(plain(address))
    if (addresses.has(parsed.toString())) return true
    // The most specific one is taken, as the kernel does.
    const route = known.find(({ to, bits }) => to.kind() === parsed.kind() && parsed.match(to, bits))
    return route?.isOfSandboxes === true
  }
}

function parseRoutes4(text: string): Route[] {
  return text.split('\n').flatMap((line): Route[] => {
    const [name = '', destination = '', , flags = '', , , , mask = ''] = line.split(/\s+/)
    if (!HEX_ADDRESS.test(destination) || !HEX_ADDRESS.test(mask)) return []
    const bits = ipaddr.IPv4.parse(address4(mask)).prefixLengthFromSubnetMask()
    if (bits === null) return []
    const to = ipaddr.IPv4.parse(address4(destination))
    return [{ to, bits, isOfSandboxes: bits > 0 && isOfSandboxes(name, flags) }]
  })
}

function parseRoutes6(text: string): Route[] {
  return text.split('\n').flatMap((line): Route[] => {
    const [destination = '', length = '', , , , , , , flags = '', name = ''] = line.trim().split(/\s+/)
    const bits = Number.parseInt(length, 16)
    if (!/^[0-9a-f]{32}$/.test(destination) || !(bits <= 128)) return []
    const groups = destination.match(/.{4}/g) ?? []
    const to = ipaddr.IPv6.parse(groups.join(':'))
    return [{ to, bits, isOfSandboxes: bits > 0 && isOfSandboxes(name, flags) }]
  })
}

/** Their subnet as a whole is routed nowhere, which a machine without another network says of everything. */
function isOfSandboxes(name: string, flags: string): boolean {
  return SANDBOX_INTERFACE.test(name) || (Number.parseInt(flags, 16) & REJECTED) !== 0
}

/** The kernel writes them as numbers in its own order of bytes. */
function address4(hex: string): string {
  return (hex.match(/../g) ?? [])
    .reverse()
    .map((byte) => Number.parseInt(byte, 16))
    .join('.')
}

/** Without what names the interface. */
function plain(address: string): string {
  return ipaddr.process(address.replace(/%.*$/, '')).toString()
}

function readRoutes(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    // A machine without IPv6 has no such file.
    if (systemCodeOf(error) === 'ENOENT') return ''
    throw error
  }
}
