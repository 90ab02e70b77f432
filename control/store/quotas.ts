// What tenants may have, and what they have.

import { and, count, eq, inArray, ne, sql } from 'drizzle-orm'
import type { SandboxState } from '../../lib/api/lifecycle.ts'
import type { Database } from './database.ts'
import { type Quota, quotas, sandboxes, snapshots } from './schema.ts'

/** States in which a sandbox takes something of the machine. */
const COUNTED: SandboxState[] = ['Pending', 'Running', 'Pausing', 'Paused', 'Resuming', 'Stopping']

export type Usage = {
  sandboxes: number
  nanoCpus: number
  memoryBytes: number
}

/** What a tenant keeps on the disk, beside its sandboxes. */
export type Kept = {
  /** Those behind forks, too. */
  snapshots: number
  /** How many of them are behind forks: nobody sees them, and they go with the last sandbox that was made from them. */
  forkedSnapshots: number
  snapshotBytes: number
  volumes: number
  /** As far as their sizes are known. */
  volumeBytes: number
  /** Those of which no size was ever found, though it was looked for. */
  unmeasuredVolumes: number
}

type VolumesKept = Pick<Kept, 'volumes' | 'volumeBytes' | 'unmeasuredVolumes'>

export class QuotaStore {
  readonly #database: Database
  readonly #volumes

  constructor(database: Database) {
    this.#database = database
    this.#volumes = database.raw.prepare<{ tenant: string }, VolumesKept>(
      `SELECT count(*) AS volumes, coalesce(sum(size_bytes), 0) AS volumeBytes,
          count(*) FILTER (WHERE size_bytes IS NULL AND sized_at IS NOT NULL) AS unmeasuredVolumes
        FROM volumes
        WHERE tenant = @tenant AND state <> 'removing'`,
    )
  }

  /** What an admin has set, or undefined when the configuration decides. */
  get(tenant: string): Quota | undefined {
    return this.#database.orm.select().from(quotas).where(eq(quotas.tenant, tenant)).get()?.limits
  }

  set(tenant: string, limits: Quota, at: number): void {
    this.#database.orm
      .insert(quotas)
      .values({ tenant, limits, changedAt: at })
      .onConflictDoUpdate({ target: quotas.tenant, set: { limits, changedAt: at } })
      .run()
  }

  delete(tenant: string): boolean {
    return this.#database.orm.delete(quotas).where(eq(quotas.tenant, tenant)).run().changes > 0
  }

  /** Everyone of whom there is a sandbox or a quota. */
  tenants(): string[] {
    const { orm } = this.#database
    const owners = orm.selectDistinct({ tenant: sandboxes.tenant }).from(sandboxes).all()
    const limited = orm.select({ tenant: quotas.tenant }).from(quotas).all()
    return [...new Set([...owners, ...limited].map(({ tenant }) => tenant))].sort()
  }

  /** What the sandboxes of a tenant may use, all together. Those that a pool keeps warm are not the tenant's yet. */
  usage(tenant: string): Usage {
    const found = this.#database.orm
      .select({
        sandboxes: count(),
        nanoCpus: sql<number>`coalesce(sum(json_extract(${sandboxes.limits}, '$.nanoCpus')), 0)`,
        memoryBytes: sql<number>`coalesce(sum(json_extract(${sandboxes.limits}, '$.memoryBytes')), 0)`,
      })
      .from(sandboxes)
      .where(and(eq(sandboxes.tenant, tenant), eq(sandboxes.warm, false), inArray(sandboxes.state, COUNTED)))
      .get()
    return found ?? { sandboxes: 0, nanoCpus: 0, memoryBytes: 0 }
  }

  /** What a tenant keeps. What it has asked to be deleted does not count any more. */
  kept(tenant: string): Kept {
    const counted = this.#database.orm
      .select({
        snapshots: count(),
        forkedSnapshots: sql<number>`coalesce(sum(${snapshots.hidden}), 0)`,
        snapshotBytes: sql<number>`coalesce(sum(${snapshots.sizeBytes}), 0)`,
      })
      .from(snapshots)
      .where(and(eq(snapshots.tenant, tenant), ne(snapshots.state, 'Deleting')))
      .get()
    const volumes = this.#volumes.get({ tenant })
    return {
      ...(counted ?? { snapshots: 0, forkedSnapshots: 0, snapshotBytes: 0 }),
      ...(volumes ?? { volumes: 0, volumeBytes: 0, unmeasuredVolumes: 0 }),
    }
  }
}
