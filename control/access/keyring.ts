// All keys that open the API: those of the configuration, those that admins have made, and those of tenants that somebody else
// keeps. A key is looked up by its hash: keys are random, so how long a look-up takes tells nothing about any of them.
//
// Without any key the server answers this machine alone. Once there is one, or ever was, a key is asked for, and nothing that
// happens while this runs changes that back: keys that have ended must not open what they have closed.

import { hashKey } from '../../lib/access.ts'
import { type ConfiguredKey, OPERATOR_KEY } from '../../lib/config/access.ts'
import type { KeyRow, KeyStore } from '../store/keys.ts'
import type { Principal } from './principal.ts'
import type { TenantKeys } from './tenants/tenants.ts'

/** How exactly it is known when a key was last used: writing down every use would make every read a write. */
const USED_EVERY_MS = 60_000
/** No key is longer; what is longer need not be hashed, or sent to whoever keeps the tenants. */
const MAX_KEY_LENGTH = 4096

/** What the configuration says of keys. */
export type KeySettings = {
  /** `server.api_key`: the operator's one key. */
  apiKey?: string
  configured?: ConfiguredKey[]
  /** Whether keys that were made, and of which none opens any more, are as if there had been none. */
  allowNoKey?: boolean
  /** Asked for keys that are not known here. */
  tenants?: TenantKeys
}

export type KeyringOptions = KeySettings & {
  store: KeyStore
  now: () => number
}

export class Keyring {
  readonly #store: KeyStore
  readonly #now: () => number
  #configured = new Map<string, Principal>()
  #allowNoKey = false
  #tenants: TenantKeys | undefined
  #isNeeded = false
  #guardsTraffic = false
  /** Kept in memory, as every request asks; this process is the only one that changes them. */
  #made = new Map<string, KeyRow>()

  constructor({ store, now, ...settings }: KeyringOptions) {
    this.#store = store
    this.#now = now
    this.#take(settings)
    this.refresh()
  }

  /** Whether any key is asked for; without one the server answers this machine alone. */
  get isNeeded(): boolean {
    return this.#isNeeded
  }

  /** Whether a key is asked for and there is none that opens. */
  get isLockedOut(): boolean {
    const now = this.#now()
    const opens = this.#configured.size > 0 || [...this.#made.values()].some((row) => opensAt(row, now))
    return this.#isNeeded && !opens && this.#tenants === undefined
  }

  /**
   * Whether the traffic of sandboxes needs a key too, as it does where tenants are kept elsewhere (contract: v1.1.md 1.5), or were
   * since the start.
   */
  get guardsTraffic(): boolean {
    return this.#guardsTraffic
  }

  /** Takes the keys of a configuration that was read anew. */
  configure(settings: KeySettings): void {
    this.#take(settings)
    this.#judge()
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
    this.#judge()
  }

  /** Whether a name stands for a key of the configuration, so that no other may have it: the audit knows keys by their names. */
  isReserved(name: string): boolean {
    return name === OPERATOR_KEY || [...this.#configured.values()].some((key) => key.name === name)
  }

  /**
   * Who a key belongs to, or undefined when it opens nothing. `from` is the address of who sent it, if that is known. Throws ApiError when
   * it cannot be told.
   */
  async find(key: string, from?: string): Promise<Principal | undefined> {
    if (key.length > MAX_KEY_LENGTH) return undefined
    const hash = hashKey(key)
    const configured = this.#configured.get(hash)
    if (configured) return configured
    const row = this.#made.get(hash)
    const now = this.#now()
    if (row) {
      if (!opensAt(row, now)) return undefined
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
    const tenant = await this.#tenants?.find(key, from)
    return tenant && { name: tenant.name, role: 'member', tenant: tenant.namespace }
  }

  #take({ apiKey, configured = [], allowNoKey = false, tenants }: KeySettings): void {
    const principals = new Map<string, Principal>()
    for (const { hash, ...principal } of configured) principals.set(hash, principal)
    if (apiKey) principals.set(hashKey(apiKey), { name: OPERATOR_KEY, role: 'admin' })
    this.#configured = principals
    this.#allowNoKey = allowNoKey
    this.#tenants = tenants
  }

  #judge(): void {
    this.#guardsTraffic ||= this.#tenants !== undefined
    this.#isNeeded ||=
      this.#configured.size > 0 ||
      this.#tenants !== undefined ||
      this.#made.size > 0 ||
      (!this.#allowNoKey && this.#store.hasAny())
  }
}

/**
 * Whether a key opens. A replaced one does until it ends, which is when it counts as revoked; one that somebody has revoked never
 * does, also when the clock is set back to before that.
 */
function opensAt({ expiresAt, revokedAt }: KeyRow, now: number): boolean {
  return (expiresAt === null || expiresAt > now) && (revokedAt === null || revokedAt === expiresAt)
}
