// Connections that the kernel refused, as lines in the log. The kernel notes each once in a set of bounded size; this reads it.
// It is also how egress learns that its table has gone.

import type { Logger } from '../../lib/log.ts'
import type { DecisionRecord } from '../record.ts'
import type { Nft, NftElement } from './apply.ts'

export type RefusedConnection = { interface: string; address: string; protocol: string; port: number }

export type RefusedLogOptions = {
  nft: Pick<Nft, 'list'>
  table: string
  /** The sandbox behind an interface. */
  sandboxOf: (interfaceName: string) => { id: string } | undefined
  record: Pick<DecisionRecord, 'add'>
  log: Logger
}

const REASON = 'no rule opens this address, and no allowed name led to it by TCP'
/** Lines per reading; the rest is counted. */
const MAX_LINES = 50

/** Gives a function that logs what was refused since its last call, and says whether the table was there. */
export function createRefusedLog({
  nft,
  table,
  sandboxOf,
  record,
  log,
}: RefusedLogOptions): () => Promise<boolean> {
  let before = new Set<string>()
  return async () => {
    const listed = await nft.list('set', 'inet', table, 'refused')
    if (!listed) return false
    const seen = new Set<string>()
    const fresh: RefusedConnection[] = []
    for (const element of listed.flatMap(({ set }) => set?.elem ?? [])) {
      const refused = parseRefused(element)
      if (!refused) continue
      const key = JSON.stringify(refused)
      seen.add(key)
      if (!before.has(key)) fresh.push(refused)
    }
    before = seen
    for (const { interface: name, address, protocol, port } of fresh) {
      const id = sandboxOf(name)?.id
      if (id !== undefined)
        record.add(id, { kind: 'connection', verdict: 'deny', reason: REASON, address, protocol, port })
    }
    for (const { interface: name, address, protocol, port } of fresh.slice(0, MAX_LINES))
      log.info('connection denied', {
        sandbox: sandboxOf(name)?.id ?? name,
        address,
        protocol,
        port: port || undefined,
        verdict: 'deny',
        reason: REASON,
      })
    if (fresh.length > MAX_LINES)
      log.info('connections denied', { verdict: 'deny', unsaid: fresh.length - MAX_LINES })
    return true
  }
}

function parseRefused(element: NftElement): RefusedConnection | undefined {
  if (typeof element === 'string') return undefined
  const { val } = element.elem
  if (typeof val !== 'object' || val === null || !('concat' in val) || !Array.isArray(val.concat))
    return undefined
  const [name, address, protocol, port] = val.concat as unknown[]
  return { interface: String(name), address: String(address), protocol: String(protocol), port: Number(port) }
}
