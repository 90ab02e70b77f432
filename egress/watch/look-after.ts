// Until egress stops: tells what the kernel refused, and puts back what another program has taken from the rules or the routing.

import type { Logger } from '../../lib/log.ts'
import { runProgram } from '../../lib/run-program.ts'
import { openRouting } from '../connections/routing.ts'
import type { Engine } from '../engine.ts'
import { explainPacket } from '../explain.ts'
import type { Frames } from '../nft/frames.ts'
import { createRefusedLog } from '../nft/refused.ts'
import type { OwnRules } from '../own-rules.ts'
import { keepRules } from './keep-rules.ts'

export type LookingAfter = {
  rules: OwnRules
  engine: Pick<Engine, 'sandboxes' | 'record'>
  /** Where sandboxes are behind interfaces. */
  frames?: Frames
  /** Whether sandboxes have IPv6. */
  ipv6: boolean
  /** Whether the rules note what they refuse of it where sandboxes have none. */
  notesIpv6?: boolean
  /** Whatever else must be done from time to time. */
  everyTime: () => Promise<void>
  log: Logger
  signal: AbortSignal
}

/** Resolves when the signal is aborted and nothing is under way any more. */
export function lookAfter({
  rules: { table, mark, nft, ownNft },
  engine: { sandboxes, record },
  frames,
  ipv6,
  notesIpv6 = false,
  everyTime,
  log,
  signal,
}: LookingAfter): Promise<void> {
  const look = createRefusedLog({
    nft,
    table,
    ipv6,
    notesIpv6,
    seesFrames: () => sandboxes.size > 0 && frames?.isOpen === true,
    sandboxOf: (name) => sandboxes.byInterface(name),
    explain: explainPacket,
    record,
    log,
  })
  return keepRules({
    table,
    nft: ownNft,
    isOwn: (generation) => nft.isOwn(generation),
    close: () => sandboxes.close(),
    async repair() {
      await sandboxes.repair()
      await frames?.build()
    },
    openRouting: () => openRouting(mark, runProgram, { ipv6 }),
    look,
    everyTime,
    log,
    signal,
  })
}
