// Who changed what, when, and whether it was allowed.

import type { Statement } from 'better-sqlite3'
import { and, asc, eq, gt, type SQL } from 'drizzle-orm'
import type { Database } from './database.ts'
import { audit } from './schema.ts'

export type AuditRow = typeof audit.$inferSelect

export class AuditLog {
  readonly #database: Database
  // Prepared once, as every change that is asked for has a row.
  readonly #insert: Statement<Omit<AuditRow, 'id'>>

  constructor(database: Database) {
    this.#database = database
    this.#insert = database.raw.prepare(
      `INSERT INTO audit (at, request_id, actor, role, tenant, client, method, route, target, status, code)
        VALUES (@at, @requestId, @actor, @role, @tenant, @client, @method, @route, @target, @status, @code)`,
    )
  }

  append(row: Omit<AuditRow, 'id'>): void {
    this.#insert.run(row)
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
