// All keys that open the API: those of the configuration, and those that admins have made. A key is looked up by its hash:
// keys are random, so how long a look-up takes tells nothing about any of them.

import { hashKey, type Role } from '../../lib/access.ts'
import type { KeyRow, KeyStore } from '../store/keys.ts'
import { DEFAULT_TENANT, type Principal } from './principal.ts'

/** How exactly it is known when a key was last used: writing down every use would make every read a write. */
const USED_EVERY_MS = 60_000

export type ConfiguredKey = { name: string; hash: string; role: Role; tenant?: string }

export type KeyringOptions = {
  /** `server.api_key`: the operator's one key. */
  apiKey?: string
  configured?: ConfiguredKey[]
  store: KeyStore
  now: () => number
}

export class Keyring {
  readonly #store: KeyStore
  readonly #now: () => number
  #configured = new Map<string, Principal>()
  /** Kept in memory, as every request asks; this process is the only one that changes them. */
  #made = new Map<string, KeyRow>()

  constructor({ store, now, ...keys }: KeyringOptions) {
    this.#store = store
    this.#now = now
    this.configure(keys)
    this.refresh()
  }

  /** Whether any key is asked for; without one the server answers this machine alone. */
  get isNeeded(): boolean {
    return this.#configured.size > 0 || this.#made.size > 0
  }

  /** Takes the keys of a configuration that was read anew. */
  configure({ apiKey, configured = [] }: Pick<KeyringOptions, 'apiKey' | 'configured'>): void {
    const principals = new Map<string, Principal>()
    for (const { hash, ...principal } of configured) principals.set(hash, principal)
    if (apiKey) principals.set(hashKey(apiKey), { name: DEFAULT_TENANT, role: 'admin' })
    this.#configured = principals
  }

  /** Reads the made keys anew, after one was made, rotated or revoked. */
  refresh(): void {
    const now = this.#now()
    this.#made = new Map(
      this.#store
        .list()
        .filter((row) => opensAt(row, now))
        .map((row) => [row.hash, row]),
    )
  }

  /** Who a key belongs to, or undefined when it opens nothing. */
  find(key: string): Principal | undefined {
    const hash = hashKey(key)
    const configured = this.#configured.get(hash)
    if (configured) return configured
    const row = this.#made.get(hash)
    const now = this.#now()
    if (!row || !opensAt(row, now)) return undefined
    if (now - (row.lastUsedAt ?? 0) >= USED_EVERY_MS) {
      row.lastUsedAt = now
      try {
        this.#store.used(row.id, now)
      } catch {
        // Reads go on when nothing can be written; that this was not written down costs less than an answer.
      }
    }
    return { name: row.name, role: row.role, ...(row.tenant !== null && { tenant: row.tenant }) }
  }
}

function opensAt({ expiresAt, revokedAt }: KeyRow, now: number): boolean {
  return (expiresAt === null || expiresAt > now) && (revokedAt === null || revokedAt > now)
}
