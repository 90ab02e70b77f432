// Packets that the kernel refused, as lines in the log and events of the record. The kernel notes each once in sets of bounded size;
// this reads them. It is also how egress learns that its table has gone.

import type { Logger } from '../../lib/log.ts'
import type { Decided, DecisionRecord } from '../record.ts'
import type { Nft, NftElement } from './apply.ts'

/** What was refused on its way, and what came from an address that is not the sandbox's own. IPv6 is dropped before any rule sees it. */
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
  /** The sandbox behind an interface. */
  sandboxOf: (interfaceName: string) => Known | undefined
  /** Why the policy in force refuses a packet, when it does. */
  explain?: (sandbox: Known, packet: RefusedPacket) => string | undefined
  record: Pick<DecisionRecord, 'add'>
  log: Logger
}

const REASON = 'no rule opens this address, and no allowed name led to it by TCP'
/** Lines per reading; the rest is counted. */
const MAX_LINES = 50

/** Gives a function that tells what was refused since its last call, and says whether the table was there. */
export function createRefusedLog<Known extends { id: string }>({
  nft,
  table,
  sandboxOf,
  explain,
  record,
  log,
}: RefusedLogOptions<Known>): () => Promise<boolean> {
  let before = new Set<string>()
  return async () => {
    const listed = await Promise.all(REFUSED_SETS.map((name) => nft.list('set', 'inet', table, name)))
    // The first is in every table of ours, also of an earlier version.
    if (!listed[0]) return false
    const seen = new Set<string>()
    const fresh: RefusedPacket[] = []
    for (const [index, name] of REFUSED_SETS.entries())
      for (const element of listed[index]?.flatMap(({ set }) => set?.elem ?? []) ?? []) {
        const refused = parseRefused(name, element)
        if (!refused) continue
        const key = JSON.stringify(refused)
        seen.add(key)
        if (!before.has(key)) fresh.push(refused)
      }
    before = seen
    for (const [index, packet] of fresh.entries()) {
      const sandbox = sandboxOf(packet.interface)
      const what = describe(packet, sandbox && explain?.(sandbox, packet))
      if (sandbox) record.add(sandbox.id, { kind: 'connection', verdict: 'deny', ...what })
      const { reason, address, protocol, port } = what
      if (index < MAX_LINES)
        log.info('connection denied', {
          sandbox: sandbox?.id ?? packet.interface,
          address,
          protocol,
          port: port || undefined,
          verdict: 'deny',
          reason,
        })
    }
    if (fresh.length > MAX_LINES)
      log.info('connections denied', { verdict: 'deny', unsaid: fresh.length - MAX_LINES })
    return true
  }
}

type Described = Pick<Decided, 'reason' | 'address' | 'protocol' | 'port'>

function describe({ set, address, protocol, port }: RefusedPacket, reason = REASON): Described {
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
    ...(protocol !== undefined && { protocol: String(protocol) }),
    ...(port !== undefined && { port: Number(port) }),
  }
}
