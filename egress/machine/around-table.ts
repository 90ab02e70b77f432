// What the sandboxes of a machine need in its kernel around our table: a way through other firewalls, a guard for when the table is gone,
// routing to egress and the network itself.

import { messageOf } from '../../lib/errors.ts'
import type { Instance } from '../../lib/instance.ts'
import type { Logger } from '../../lib/log.ts'
import { readIfThere } from '../../lib/program.ts'
import { runProgram } from '../../lib/run-program.ts'
import { closeRouting } from '../connections/routing.ts'
import { closeNetwork } from '../network.ts'
import { createForeignFirewalls } from '../nft/foreign.ts'
import { formatFramesTeardown } from '../nft/frame-rules.ts'
import { closeGuard, openGuard } from '../nft/guard.ts'
import { formatTeardown } from '../nft/rules.ts'
import type { OwnRules } from '../own-rules.ts'

export type AroundTable = {
  /** Makes way through other firewalls. */
  makeWay(): Promise<void>
  /** Keeps the sandboxes closed when the rules are gone, where the kernel can. */
  guard(): Promise<void>
  /** Removes all of it, and our tables. */
  removeAll(): Promise<void>
}

export function createAroundTable({
  rules: { table, mark, nft, ownNft },
  instance: { interfacePrefix },
  stateDir,
  networkFile,
  ipv6,
  log,
}: {
  rules: OwnRules
  instance: Instance
  stateDir: string
  networkFile: string
  ipv6: boolean
  log: Logger
}): AroundTable {
  const foreign = createForeignFirewalls({
    nft,
    run: runProgram,
    interfacePrefix,
    ipv6,
    comment: table,
    log,
    readLegacyTables: () => readIfThere('/proc/net/ip_tables_names'),
  })
  const guarding = {
    nft,
    run: runProgram,
    ownNft,
    directory: stateDir,
    table,
    interfacePrefix,
    relayMark: mark,
  }
  let canGuard = true
  return {
    makeWay: () => foreign.open(),
    async guard() {
      if (!canGuard) return
      canGuard = await openGuard(guarding)
      if (!canGuard)
        log.warn(
          'this kernel does not protect a table of ours (it needs 5.12): when another program removes all rules, sandboxes are open until ours are put back',
        )
    },
    async removeAll() {
      await foreign.close()
      closeGuard({ directory: stateDir, ownNft })
      await nft.apply(formatTeardown({ table }))
      // A kernel that does not know such tables has none of ours.
      await nft.apply(formatFramesTeardown({ table })).catch((error) => {
        log.debug('cannot remove the table of frames', { error: messageOf(error) })
      })
      await closeRouting(mark, runProgram)
      await closeNetwork({ interfacePrefix, file: networkFile, run: runProgram })
    },
  }
}
