// The links that were shared. What they carry is never here, only its hash.

import { and, asc, eq, gt, isNull, lte, sql } from 'drizzle-orm'
import { Watchers } from '../watchers.ts'
import type { Database } from './database.ts'
import { shares } from './schema.ts'

export type ShareRow = typeof shares.$inferSelect

export class ShareStore {
  readonly #database: Database
  readonly #watchers = new Watchers<[sandboxId: string]>()

  constructor(database: Database) {
    this.#database = database
  }

  /** Calls `watcher` after every change of a sandbox's links, until the returned function is called. */
  watch(watcher: (sandboxId: string) => void): () => void {
    return this.#watchers.add(watcher)
  }

  /** Writes a new one, in the place of those that have ended. False when the sandbox has `most` that hold. */
  insert(row: ShareRow, most: number): boolean {
    const { sandboxId, createdAt } = row
    const isThere = this.#database.transact(() => {
      const { orm } = this.#database
      orm
        .delete(shares)
        .where(and(eq(shares.sandboxId, sandboxId), lte(shares.expiresAt, createdAt)))
        .run()
      if (this.of(sandboxId).length >= most) return false
      orm.insert(shares).values(row).run()
      return true
    })
    if (isThere) this.tell([sandboxId])
    return isThere
  }

  /** Those of one sandbox, in the order of their making. */
  of(sandboxId: string): ShareRow[] {
    return this.#database.orm
      .select()
      .from(shares)
      .where(eq(shares.sandboxId, sandboxId))
      .orderBy(asc(shares.createdAt), asc(shares.id))
      .all()
  }

  /** False when the sandbox has none of this id. */
  revoke(sandboxId: string, id: string): boolean {
    const isGone =
      this.#database.orm
        .delete(shares)
        .where(and(eq(shares.id, id), eq(shares.sandboxId, sandboxId)))
        .run().changes > 0
    if (isGone) this.tell([sandboxId])
    return isGone
  }

  /** Uses up one that opens once: what opens from then on has another hash. False for all but the first. */
  redeem({ id, hash }: { id: string; hash: string }, next: string, now: number): boolean {
    const used = this.#database.orm
      .update(shares)
      .set({ hash: next, usedAt: now })
      .where(
        and(
          eq(shares.id, id),
          eq(shares.hash, hash),
          eq(shares.once, true),
          isNull(shares.usedAt),
          gt(shares.expiresAt, now),
        ),
      )
      .returning({ sandboxId: shares.sandboxId })
      .get()
    if (used) this.tell([used.sandboxId])
    return used !== undefined
  }

  /** The wall clock was set: what was to hold for a time holds for that time. The sandboxes whose links have changed, to be told of. */
  shift(byMs: number): string[] {
    const changed = this.#database.orm
      .update(shares)
      .set({ expiresAt: sql`${shares.expiresAt} + ${byMs}` })
      .returning({ sandboxId: shares.sandboxId })
      .all()
    return [...new Set(changed.map(({ sandboxId }) => sandboxId))]
  }

  /** Lets the watchers know that links of these sandboxes have changed. */
  tell(sandboxIds: readonly string[]): void {
    for (const id of sandboxIds) this.#watchers.tell(id)
  }
}
