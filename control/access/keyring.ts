// All keys that open the API. A key is looked up by its hash: keys are random, so how long a look-up takes tells nothing
// about any of them.

import { createHash } from 'node:crypto'
import { DEFAULT_TENANT, type Principal } from './principal.ts'

export type Keyring = {
  /** Whether any key is asked for; without one the server answers this machine alone. */
  readonly isNeeded: boolean
  /** Who a key belongs to, or undefined when it opens nothing. */
  find(key: string): Principal | undefined
}

/** The hash under which a key is kept. */
export function hashKey(key: string): string {
  return createHash('sha256').update(key).digest('hex')
}

/** A ring of the one key of the configuration, which is the operator's. */
export function createKeyring({ apiKey }: { apiKey?: string }): Keyring {
  const principals = new Map<string, Principal>()
  if (apiKey) principals.set(hashKey(apiKey), { name: DEFAULT_TENANT, role: 'admin' })
  return { isNeeded: principals.size > 0, find: (key) => principals.get(hashKey(key)) }
}
