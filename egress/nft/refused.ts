// Packets that the kernel refused, as lines in the log and events of the record. The kernel notes each once in sets of bounded size;
// this reads them (shares.ts). It is also how egress learns that a table of its own has gone.

import type { Logger } from '../../lib/log.ts'
import type { Decided, DecisionRecord } from '../record.ts'
import { createRefusalLog } from '../refusal-log.ts'
import type { Nft } from './apply.ts'
import { formatFrame, isMore, parseRefused, type Refused, type RefusedPacket } from './refused-element.ts'

/** A set of the kernel, and what stands in it. */
type Noted = { family: 'inet' | 'netdev'; name: string; set: Refused['set'] }

export type RefusedLogOptions<Known extends { id: string }> = {
  nft: Pick<Nft, 'list'>
  table: string
  /** Whether sandboxes have IPv6. */
  ipv6?: boolean
  /** Whether what is refused of IPv6 is noted where sandboxes have none (sidecar/pod-rules.ts). */
  notesIpv6?: boolean
  /** Whether there is the table of what is neither IPv4 nor ARP (frame-rules.ts). */
  seesFrames?: () => boolean
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

/** Gives a function that tells what was refused since its last call, and says whether the tables were there. */
export function createRefusedLog<Known extends { id: string }>({
  nft,
  table,
  ipv6 = false,
  notesIpv6 = false,
  seesFrames = () => false,
  sandboxOf,
  explain,
  record,
  log,
  now,
}: RefusedLogOptions<Known>): () => Promise<boolean> {
  const tell = createRefusalLog(log, 'connection denied', now)
  let before = new Set<string>()
  return async () => {
    const sets = [
      ...packetSets(ipv6),
      ...(notesIpv6 ? [WITHOUT_IPV6] : []),
      ...(seesFrames() ? frameSets(ipv6) : []),
    ]
    const listed = await Promise.all(sets.map(({ family, name }) => nft.list('set', family, table, name)))
    const gone = (family: Noted['family']) => {
      const first = sets.findIndex((each) => each.family === family)
      return first >= 0 && !listed[first]
    }
    // The first of a table is in every one of ours, also of an earlier version.
    if (gone('inet') || (gone('netdev') && seesFrames())) return false
    const seen = new Set<string>()
    const fresh: Refused[] = []
    for (const [index, { set: kind }] of sets.entries())
      for (const element of listed[index]?.flatMap(({ set }) => set?.elem ?? []) ?? []) {
        const refused = parseRefused(kind, element)
        if (!refused) continue
        const key = JSON.stringify(refused)
        seen.add(key)
        if (!before.has(key)) fresh.push(refused)
      }
    before = seen
    for (const refused of fresh) {
      const sandbox = sandboxOf(refused.interface)
      const reason = sandbox && refused.set !== 'kinds' ? explain?.(sandbox, refused) : undefined
      const what = describe(refused, reason)
      if (sandbox) record.add(sandbox.id, { kind: 'connection', verdict: 'deny', ...what })
      const { address, protocol, port } = what
      tell(sandbox?.id ?? refused.interface, {
        event: `${address} ${protocol} ${port} ${what.reason}`,
        what: { address, protocol, port: port || undefined },
        reason: what.reason,
      })
    }
    return true
  }
}

const packetSets = (ipv6: boolean): Noted[] =>
  (ipv6 ? ['', '6'] : ['']).flatMap((version) =>
    (['refused', 'spoofed'] as const).map((set) => ({ family: 'inet', name: `${set}${version}`, set })),
  )
const WITHOUT_IPV6: Noted = { family: 'inet', name: 'refused6', set: 'frames' }
/** Where sandboxes have IPv6, it is judged with the rest. */
const frameSets = (ipv6: boolean): Noted[] =>
  (ipv6 ? (['kinds'] as const) : (['kinds', 'frames'] as const)).map((set) => ({
    family: 'netdev',
    name: set,
    set,
  }))

type Described = Pick<Decided, 'reason' | 'address' | 'protocol' | 'port'>

function describe(refused: Refused, reason = REASON): Described {
  if (isMore(refused)) return { reason: MORE }
  if (refused.set === 'kinds') return { reason: `nobody takes a ${formatFrame(refused)}` }
  const { set, address, protocol, port } = refused
  if (set === 'spoofed')
    return { reason: `it says that it comes from ${address}, which is not the sandbox's own` }
  return { address, reason, ...(protocol !== undefined && { protocol }), ...(port !== undefined && { port }) }
}
