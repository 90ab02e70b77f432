// What a sandbox is shown in place of the certificate of a server: made when it is first asked for, and kept for a while, so many for
// each sandbox and in all.

import { createSecureContext, type SecureContext } from 'node:tls'
import { SharedCache, type SharedCacheLimits } from '../../lib/shared-cache.ts'
import { formatKey, makeCertificate, makeKeyPair } from '../../lib/x509.ts'
import type { Authority } from './authority.ts'

const DAY_MS = 86_400_000
/** Short, as it can be had again at any time. Its beginning lies back for sandboxes whose clock does. */
const DAYS = 7
const SKEW_DAYS = 7
/** It is made anew while the old one is good for long enough yet. */
const RENEWED_AFTER_MS = 2 * DAY_MS

type Leaf = { context: SecureContext; madeAt: number }

export class Leaves {
  readonly #now: () => number
  readonly #leaves: SharedCache<Leaf>
  /** One for all: it signs nothing that lasts, and making one takes longer than all the rest. */
  readonly #keys = makeKeyPair()

  constructor({ now = Date.now, ...limits }: SharedCacheLimits & { now?: () => number }) {
    this.#leaves = new SharedCache(limits)
    this.#now = now
  }

  get size(): number {
    return this.#leaves.size
  }

  contextOf(sandboxId: string, authority: Authority, serverName: string): SecureContext {
    const id = `${sandboxId} ${serverName}`
    const now = this.#now()
    const known = this.#leaves.get(id)
    if (known && now - known.madeAt < RENEWED_AFTER_MS) return known.context
    const leaf = this.#make(authority, serverName, now)
    this.#leaves.set(sandboxId, id, leaf)
    return leaf.context
  }

  /** Forgets those of a sandbox, as its authority goes. */
  remove(sandboxId: string): void {
    this.#leaves.removeAll(sandboxId)
  }

  #make(authority: Authority, serverName: string, now: number): Leaf {
    const certificate = makeCertificate({
      name: serverName.slice(0, 64),
      publicKey: this.#keys.publicKey,
      issuer: authority,
      notBefore: now - SKEW_DAYS * DAY_MS,
      notAfter: now + DAYS * DAY_MS,
      serverNames: [serverName],
    })
    const context = createSecureContext({
      key: formatKey(this.#keys.privateKey),
      cert: certificate + authority.certificate,
      minVersion: 'TLSv1.2',
    })
    return { context, madeAt: now }
  }
}
