// The keys that admins have made. The key itself is never here, only its hash.

import { and, asc, eq, gt, isNull, or, type SQL } from 'drizzle-orm'
import type { Database } from './database.ts'
import { apiKeys } from './schema.ts'

export type KeyRow = typeof apiKeys.$inferSelect

export class KeyStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** Writes a new key. False when the name is taken. */
  insert(row: KeyRow): boolean {
    return this.#database.orm.insert(apiKeys).values(row).onConflictDoNothing().run().changes > 0
  }

  get(id: string): KeyRow | undefined {
    return this.#database.orm.select().from(apiKeys).where(eq(apiKeys.id, id)).get()
  }

  /** Whether a key was ever made. Rows stay when a key ends, as this keeps closed what it has closed. */
  hasAny(): boolean {
    return this.#database.orm.select({ id: apiKeys.id }).from(apiKeys).limit(1).get() !== undefined
  }

  /** All keys, revoked ones too, in the order of their making; of one tenant, or of all. */
  list(tenant?: string): KeyRow[] {
    const where: SQL | undefined = tenant === undefined ? undefined : eq(apiKeys.tenant, tenant)
    return this.#database.orm.select().from(apiKeys).where(where).orderBy(asc(apiKeys.createdAt)).all()
  }

  /** Revokes a key, also one that was replaced and still opens for a while. False when there is none, or it is revoked already. */
  revoke(id: string, at: number): boolean {
    return (
      this.#database.orm
        .update(apiKeys)
        .set({ revokedAt: at })
        .where(and(eq(apiKeys.id, id), or(isNull(apiKeys.revokedAt), gt(apiKeys.revokedAt, at))))
        .run().changes > 0
    )
  }

  /**
   * Puts a new key in the place of an old one, which keeps its name with the id behind it, and opens until `oldUntil`.
   * Undefined when the old one is no key that opens.
   */
  rotate(
    id: string,
    replacement: Pick<KeyRow, 'id' | 'hash' | 'createdAt' | 'createdBy'>,
    oldUntil: number,
  ): KeyRow | undefined {
    const { orm, transact } = this.#database
    return transact(() => {
      const old = this.get(id)
      if (!old || old.revokedAt !== null) return undefined
      // One that still opens for a while ends then of itself; one that does not has no end that could be ahead.
      const until = Math.min(oldUntil, old.expiresAt ?? oldUntil)
      const end = until > replacement.createdAt ? { expiresAt: until } : {}
      orm
        .update(apiKeys)
        .set({ name: `${old.name} (${old.id})`, revokedAt: until, ...end })
        .where(eq(apiKeys.id, id))
        .run()
      return orm
        .insert(apiKeys)
        .values({ ...old, ...replacement, lastUsedAt: null })
        .returning()
        .get()
    })
  }

  used(id: string, at: number): void {
    this.#database.orm.update(apiKeys).set({ lastUsedAt: at }).where(eq(apiKeys.id, id)).run()
  }
}
