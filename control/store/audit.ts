// Who changed what, when, and whether it was allowed.

import { and, asc, eq, gt, type SQL } from 'drizzle-orm'
import type { Database } from './database.ts'
import { audit } from './schema.ts'

export type AuditRow = typeof audit.$inferSelect

export class AuditLog {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  append(row: Omit<AuditRow, 'id'>): void {
    this.#database.orm.insert(audit).values(row).run()
  }

  /** Rows after an id, the oldest first. */
  after(
    id: number,
    { tenant, actor, limit }: { tenant?: string; actor?: string; limit: number },
  ): AuditRow[] {
    const conditions: SQL[] = [gt(audit.id, id)]
    if (tenant !== undefined) conditions.push(eq(audit.tenant, tenant))
    if (actor !== undefined) conditions.push(eq(audit.actor, actor))
    return this.#database.orm
      .select()
      .from(audit)
      .where(and(...conditions))
      .orderBy(asc(audit.id))
      .limit(limit)
      .all()
  }
}
