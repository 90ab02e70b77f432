// Packets that the kernel refused, as lines in the log and events of the record. The kernel notes each once in sets of bounded size;
// this reads them (shares.ts). It is also how egress learns that its table has gone.

import type { Logger } from '../../lib/log.ts'
import type { Decided, DecisionRecord } from '../record.ts'
import { createRefusalLog } from '../refusal-log.ts'
import type { Nft, NftElement } from './apply.ts'
import { UNTOLD } from './shares.ts'

/**
 * What was refused on its way, and what came from an address that is not the sandbox's own. There are two more, with a 6, where
 * sandboxes have IPv6; where they have none, the kernel drops it before any rule sees it.
 */
export const REFUSED_SETS = ['refused', 'spoofed'] as const
export type RefusedSet = (typeof REFUSED_SETS)[number]

export type RefusedPacket = {
  set: RefusedSet
  interface: string
  /** Where it was to go; of what is spoofed, where it said that it came from. */
  address: string
  protocol?: string
  /** Zero where there is none. */
  port?: number
}

export type RefusedLogOptions<Known extends { id: string }> = {
  nft: Pick<Nft, 'list'>
  table: string
  /** Whether sandboxes have IPv6. */
  ipv6?: boolean
  /** The sandbox behind an interface. */
  sandboxOf: (interfaceName: string) => Known | undefined
  /** Why the policy in force refuses a packet, when it does. */
  explain?: (sandbox: Known, packet: RefusedPacket) => string | undefined
  record: Pick<DecisionRecord, 'add'>
  log: Logger
  now?: () => number
}

const REASON = 'no rule opens this address, and no allowed name led to it by TCP'
const MORE = 'more was refused than is told one by one: too much is new at once, or too often'

/** Gives a function that tells what was refused since its last call, and says whether the table was there. */
export function createRefusedLog<Known extends { id: string }>({
  nft,
  table,
  ipv6 = false,
  sandboxOf,
  explain,
  record,
  log,
  now,
}: RefusedLogOptions<Known>): () => Promise<boolean> {
  const sets = (ipv6 ? ['', '6'] : ['']).flatMap((family) =>
    REFUSED_SETS.map((kind) => ({ kind, name: `${kind}${family}` })),
  )
  const tell = createRefusalLog(log, 'connection denied', now)
  let before = new Set<string>()
  return async () => {
    const listed = await Promise.all(sets.map(({ name }) => nft.list('set', 'inet', table, name)))
    // The first is in every table of ours, also of an earlier version.
    if (!listed[0]) return false
    const seen = new Set<string>()
    const fresh: RefusedPacket[] = []
    for (const [index, { kind }] of sets.entries())
      for (const element of listed[index]?.flatMap(({ set }) => set?.elem ?? []) ?? []) {
        const refused = parseRefused(kind, element)
        if (!refused) continue
        const key = JSON.stringify(refused)
        seen.add(key)
        if (!before.has(key)) fresh.push(refused)
      }
    before = seen
    for (const packet of fresh) {
      const sandbox = sandboxOf(packet.interface)
      const what = describe(packet, sandbox && explain?.(sandbox, packet))
      if (sandbox) record.add(sandbox.id, { kind: 'connection', verdict: 'deny', ...what })
      const { reason, address, protocol, port } = what
      tell(sandbox?.id ?? packet.interface, {
        event: `${address} ${protocol} ${port} ${reason}`,
        what: { address, protocol, port: port || undefined },
        reason,
      })
    }
    return true
  }
}

type Described = Pick<Decided, 'reason' | 'address' | 'protocol' | 'port'>

function describe({ set, address, protocol, port }: RefusedPacket, reason = REASON): Described {
  if (set === 'refused' && address === UNTOLD) return { reason: MORE }
  if (set === 'spoofed')
    return { reason: `it says that it comes from ${address}, which is not the sandbox's own` }
  const packet = { address, ...(protocol !== undefined && { protocol }), ...(port !== undefined && { port }) }
  return { ...packet, reason }
}

function parseRefused(set: RefusedSet, element: NftElement): RefusedPacket | undefined {
  if (typeof element === 'string') return undefined
  const { val } = element.elem
  if (typeof val !== 'object' || val === null || !('concat' in val) || !Array.isArray(val.concat))
    return undefined
  const [name, address, protocol, port] = val.concat as unknown[]
  return {
    set,
    interface: String(name),
    address: String(address),
    ...(protocol !== undefined && { protocol: protocol === 'ipv6-icmp' ? 'icmp' : String(protocol) }),
    ...(port !== undefined && { port: Number(port) }),
  }
}
