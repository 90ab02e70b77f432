// A key as it came with a request, judged: for the API's routes, and for traffic of sandboxes where that needs one too.

import { API_KEY_HEADER } from '../../lib/access.ts'
import { notFound, refusal } from '../errors.ts'
import type { Store } from '../store/sqlite.ts'
import type { Keyring } from './keyring.ts'
import { maySee, type Principal } from './principal.ts'

/** A key as it was sent, and the address that it came from, if that is known. */
export type GivenKey = { key: string | undefined; from: string | undefined }

/** Who holds the key that was sent. Throws ApiError when none was, when it opens nothing, or when that cannot be told. */
export async function requireKey(keyring: Keyring, { key, from }: GivenKey): Promise<Principal> {
  if (!key)
    throw refusal('MISSING_API_KEY', `The header ${API_KEY_HEADER} is required and must hold the API key`)
  const principal = await keyring.find(key, from)
  if (!principal)
    throw refusal('INVALID_API_KEY', `The header ${API_KEY_HEADER} does not hold an API key of this server`)
  return principal
}

/** Lets traffic of a sandbox pass for those alone whose it is. Throws ApiError. */
export async function requireKeyFor(
  { keyring, store }: { keyring: Keyring; store: Pick<Store, 'get'> },
  id: string,
  given: GivenKey,
): Promise<void> {
  const principal = await requireKey(keyring, given)
  const row = store.get(id)
  if (!row || row.hidden || !maySee(principal, row.tenant)) throw notFound()
}
