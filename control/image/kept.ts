// Which contents the configuration names: they stay, however long nobody has used them.

import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Ledger } from './ledger.ts'
import { formatReference } from './reference.ts'
import { type Target, targetOf } from './resolve.ts'

export type KeptDeps = {
  aliases: Record<string, string>
  ledger: Ledger
  /** The content of what is no registry's. */
  idOf: (alias: string, target: Exclude<Target, { kind: 'registry' }>) => Promise<string>
  log: Logger
}

/** The ids of their contents, as far as they are known. */
export async function keptIds({ aliases, ledger, idOf, log }: KeptDeps): Promise<Set<string>> {
  const kept = new Set<string>()
  for (const alias of new Set([...Object.keys(aliases), 'host'])) {
    try {
      const target = targetOf(alias, aliases)
      if (target.kind !== 'registry') kept.add(await idOf(alias, target))
      else {
        const { shared, guarded } = ledger.find(formatReference(target.reference))
        for (const known of [shared, guarded]) if (known) kept.add(known.id)
      }
    } catch (error) {
      log.debug('an image of the configuration cannot be read', { alias, error: messageOf(error) })
    }
  }
  return kept
}
