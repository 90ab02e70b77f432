import type { Ledger } from '../../../image/ledger.ts'
import type { StoredImage } from '../../images.ts'
import type { Content } from './contents.ts'
import { type Names, ORIGINS } from './names.ts'

/** A content of the daemon as it is told to operators. */
export function describeContent(
  { id, kind, image }: Content,
  known: { ledger: Ledger; names: Names; users: number; isKept: boolean; now: number },
): StoredImage {
  const { ledger, names, users, isKept, now } = known
  const { references, isShared } = ledger.namesOf(id)
  const [digest] = image.digests.map((name) => name.slice(name.indexOf('@') + 1))
  // One that nobody has used since this is written down is as old as that.
  if (ledger.lastUse(id) === undefined) ledger.touch(id)
  return {
    id,
    references: references.length > 0 ? references : image.tags.filter((tag) => !names.read(tag)),
    ...(digest !== undefined && { digest }),
    origin: ORIGINS[kind],
    sizeBytes: image.sizeBytes,
    isShared: isShared || image.digests.length === 0,
    createdAt: image.namedAt,
    lastUsedAt: ledger.lastUse(id) ?? now,
    users,
    isKept,
  }
}
