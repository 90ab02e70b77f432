// Templates: what is to be prepared, how far it is, and under which name it can be used.

import { and, asc, count, desc, eq, inArray, isNotNull, isNull, notInArray, type SQL, sql } from 'drizzle-orm'
import type { TemplatePhase } from '../../lib/api/templates.ts'
import type { Database } from './database.ts'
import { sandboxes, templates } from './schema.ts'

export type TemplateRow = typeof templates.$inferSelect

export type TemplateFilter = {
  /** Absent: of all. */
  tenant?: string
  /** All of these. */
  labels?: [string, string][]
  limit: number
  offset: number
}

export type PhaseChange = {
  phase: TemplatePhase
  message?: string | null
  image?: string | null
  updatedAt: number
}

export class TemplateStore {
  readonly #database: Database
  readonly #published

  constructor(database: Database) {
    this.#database = database
    this.#published = preparePublished(database)
  }

  insert(template: TemplateRow): TemplateRow {
    return this.#database.orm.insert(templates).values(template).returning().get()
  }

  get(id: string): TemplateRow | undefined {
    return this.#database.orm.select().from(templates).where(eq(templates.id, id)).get()
  }

  delete(id: string): boolean {
    return this.#database.orm.delete(templates).where(eq(templates.id, id)).run().changes > 0
  }

  /** Takes a template from one of the phases `from` to another; undefined when it is in none of them, or gone. */
  move(id: string, from: TemplatePhase[], change: PhaseChange): TemplateRow | undefined {
    return this.#database.orm
      .update(templates)
      .set(change)
      .where(and(eq(templates.id, id), inArray(templates.phase, from)))
      .returning()
      .get()
  }

  /** What is to be built next, of other tenants than these: what a stop has interrupted, then the oldest that waits. */
  next(busy: readonly string[]): TemplateRow | undefined {
    return this.#database.orm
      .select()
      .from(templates)
      .where(and(inArray(templates.phase, ['Pending', 'Building']), notInArray(templates.tenant, [...busy])))
      .orderBy(asc(templates.phase), asc(templates.createdAt), asc(templates.id))
      .limit(1)
      .get()
  }

  /** The newest template that a tenant has published under a name. */
  published(tenant: string, name: string): TemplateRow | undefined {
    return this.#published.get({ tenant, name })
  }

  /** One page, newest first, and how many there are in all. */
  list({ tenant, labels = [], limit, offset }: TemplateFilter): { rows: TemplateRow[]; total: number } {
    const { orm } = this.#database
    const conditions: (SQL | undefined)[] = labels.map(
      // A key is a value of a row here, and no part of a path: whatever is in it means itself.
      ([key, value]) =>
        sql`EXISTS (SELECT 1 FROM json_each(${templates.metadata}) AS label WHERE label.key = ${key} AND label.value = ${value})`,
    )
    if (tenant !== undefined) conditions.push(eq(templates.tenant, tenant))
    const where = and(...conditions)
    const total = orm.select({ total: count() }).from(templates).where(where).get()?.total ?? 0
    const rows = orm
      .select()
      .from(templates)
      .where(where)
      .orderBy(desc(templates.createdAt), desc(templates.id))
      .limit(limit)
      .offset(offset)
      .all()
    return { rows, total }
  }

  /** Sandboxes that builds have made and that nobody else knows of. */
  leftovers(): string[] {
    return this.#database.orm
      .select({ id: sandboxes.id })
      .from(sandboxes)
      .where(and(eq(sandboxes.warm, true), isNotNull(sandboxes.templateId), isNull(sandboxes.pool)))
      .all()
      .map(({ id }) => id)
  }
}

/** Asked at every create by an image. */
function preparePublished({ orm }: Database) {
  return orm
    .select()
    .from(templates)
    .where(
      and(
        eq(templates.tenant, sql.placeholder('tenant')),
        eq(templates.phase, 'Succeeded'),
        sql`json_extract(${templates.request}, '$.publish') = ${sql.placeholder('name')}`,
      ),
    )
    .orderBy(desc(templates.updatedAt), desc(templates.id))
    .limit(1)
    .prepare()
}
