// Which creates were sent with an Idempotency-Key, and what they were answered. A key is written in the transaction that makes
// the sandbox known, so that at no moment one is there without the other.

import { and, eq, sql } from 'drizzle-orm'
import type { Database } from './database.ts'
import { idempotency } from './schema.ts'

/** A key and the request that it was sent with, both as hashes. */
export type OnceMark = { key: string; requestHash: string }
export type OnceRow = typeof idempotency.$inferSelect

/** A larger answer is not kept: what it told stands in the row of the sandbox. */
const MAX_ANSWER_CHARS = 16 << 10

export class OnceStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** What is known of a key that was sent at `since` or later. */
  find(tenant: string, key: string, since: number): OnceRow | undefined {
    const row = this.#database.orm
      .select()
      .from(idempotency)
      .where(and(eq(idempotency.tenant, tenant), eq(idempotency.key, key)))
      .get()
    return row && row.createdAt >= since ? row : undefined
  }

  /** Notes what a key has led to, in place of what an older request with it did. */
  note({ key, requestHash }: OnceMark, sandbox: { id: string; tenant: string; createdAt: number }): void {
    const { tenant, createdAt } = sandbox
    const values = { requestHash, sandboxId: sandbox.id, createdAt, answer: null }
    this.#database.orm
      .insert(idempotency)
      .values({ tenant, key, ...values })
      .onConflictDoUpdate({ target: [idempotency.tenant, idempotency.key], set: values })
      .run()
  }

  keepAnswer(sandboxId: string, answer: string): void {
    if (answer.length > MAX_ANSWER_CHARS) return
    this.#database.orm.update(idempotency).set({ answer }).where(eq(idempotency.sandboxId, sandboxId)).run()
  }

  /** Keeps every key as old as it was when the clock is set. */
  shift(byMs: number): void {
    this.#database.orm
      .update(idempotency)
      .set({ createdAt: sql`${idempotency.createdAt} + ${byMs}` })
      .run()
  }

  forget(sandboxId: string): void {
    this.#database.orm.delete(idempotency).where(eq(idempotency.sandboxId, sandboxId)).run()
  }
}
