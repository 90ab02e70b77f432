// What the kernel notes of what it has refused (refused-sets.ts, frame-rules.ts), as values. Pure.

import type { NftElement } from './apply.ts'
import { NO_TYPE, UNTOLD_6, UNTOLD_TYPE } from './frame-rules.ts'
import { UNTOLD } from './shares.ts'

/**
 * By the set in which it stands: `refused` on its way, `spoofed` with an address that is not the sandbox's own, `frames` of IPv6 where there
 * is none.
 */
export type RefusedPacket = {
  set: 'refused' | 'spoofed' | 'frames'
  interface: string
  /** Where it was to go; of what is spoofed, where it said that it came from. */
  address: string
  protocol?: string
  /** Zero where there is none. */
  port?: number
}
/** A frame of a type that nobody takes. */
export type RefusedFrame = { set: 'kinds'; interface: string; type: number }
export type Refused = RefusedPacket | RefusedFrame

/** As nft calls them. */
const ETHER_TYPES: Record<string, number> = {
  ip: 0x0800,
  arp: 0x0806,
  '8021q': 0x8100,
  vlan: 0x8100,
  ip6: 0x86dd,
  '8021ad': 0x88a8,
}

/** Undefined for what is no element of such a set. */
export function parseRefused(set: Refused['set'], element: NftElement): Refused | undefined {
  if (typeof element === 'string') return undefined
  const { val } = element.elem
  if (typeof val !== 'object' || val === null || !('concat' in val) || !Array.isArray(val.concat))
    return undefined
  const [name, what, protocol, port] = val.concat as unknown[]
  const known = { interface: String(name) }
  if (set === 'kinds') {
    const type = ETHER_TYPES[String(what)] ?? Number(what)
    return Number.isInteger(type) ? { set, ...known, type } : undefined
  }
  return {
    set,
    ...known,
    address: String(what),
    ...(protocol !== undefined && { protocol: protocol === 'ipv6-icmp' ? 'icmp' : String(protocol) }),
    ...(port !== undefined && { port: Number(port) }),
  }
}

/** Whether it stands for that there was more than is noted. */
export function isMore(refused: Refused): boolean {
  switch (refused.set) {
    case 'refused':
      return refused.address === UNTOLD
    case 'frames':
      return refused.address === UNTOLD_6
    case 'kinds':
      return refused.type === UNTOLD_TYPE
    case 'spoofed':
      return false
  }
}

/** What it is called in the record. */
export function formatFrame({ type }: RefusedFrame): string {
  return type === NO_TYPE ? 'frame without a type' : `frame of type 0x${type.toString(16).padStart(4, '0')}`
}
