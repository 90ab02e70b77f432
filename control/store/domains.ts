// Names of their own that sandboxes are reached by.

import { and, asc, count, eq } from 'drizzle-orm'
import { Watchers } from '../watchers.ts'
import type { Database } from './database.ts'
import { domains } from './schema.ts'

export type DomainRow = typeof domains.$inferSelect

export class DomainStore {
  readonly #database: Database
  readonly #watchers = new Watchers<[sandboxId: string]>()

  constructor(database: Database) {
    this.#database = database
  }

  /** Calls `watcher` after every change of a sandbox's names, until the returned function is called. */
  watch(watcher: (sandboxId: string) => void): () => void {
    return this.#watchers.add(watcher)
  }

  /** Gives a name to a port, or another port to a name that the sandbox has. Says why it cannot. */
  put(row: DomainRow, most: number): 'put' | 'taken' | 'too_many' {
    const outcome = this.#database.transact(() => {
      const { orm } = this.#database
      const { name, sandboxId, port } = row
      const there = orm.select().from(domains).where(eq(domains.name, name)).get()
      if (there && there.sandboxId !== sandboxId) return 'taken'
      if (there) {
        orm.update(domains).set({ port }).where(eq(domains.name, name)).run()
        return 'put'
      }
      const has = orm.select({ has: count() }).from(domains).where(eq(domains.sandboxId, sandboxId)).get()
      if ((has?.has ?? 0) >= most) return 'too_many'
      orm.insert(domains).values(row).run()
      return 'put'
    })
    if (outcome === 'put') this.#watchers.tell(row.sandboxId)
    return outcome
  }

  of(sandboxId: string): DomainRow[] {
    return this.#database.orm
      .select()
      .from(domains)
      .where(eq(domains.sandboxId, sandboxId))
      .orderBy(asc(domains.name))
      .all()
  }

  /** False when the sandbox does not have it. */
  remove(sandboxId: string, name: string): boolean {
    const isGone =
      this.#database.orm
        .delete(domains)
        .where(and(eq(domains.name, name), eq(domains.sandboxId, sandboxId)))
        .run().changes > 0
    if (isGone) this.#watchers.tell(sandboxId)
    return isGone
  }
}
