// Takes over what an earlier version has pulled without a login. It named contents after references as they were written, and kept no
// ledger.

import type { Contents } from './contents.ts'
import type { Ledger } from './ledger.ts'
import { formatReference, parseReference } from './reference.ts'
import { contentId } from './sources.ts'

/** Notes in the ledger what it does not have of such contents. */
export async function adoptOldContents(
  contents: Contents,
  ledger: Ledger,
  aliases: Record<string, string>,
): Promise<void> {
  for (const { id, reference, digest, origin } of await contents.list()) {
    if (origin !== 'registry' || digest !== undefined) continue
    const written = Object.hasOwn(aliases, reference) ? (aliases[reference] ?? '') : reference
    const parsed = parseReference(written)
    if (id === contentId(`registry ${written}`) && 'reference' in parsed)
      await ledger.note(formatReference(parsed.reference), { id }, true)
  }
}
