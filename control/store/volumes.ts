// Named volumes and their uses. What a sandbox mounts is written in the transaction that writes the sandbox; what its end leaves
// over is marked in the one that deletes it. So at no moment there is a volume that nothing would ever remove.

import { randomBytes } from 'node:crypto'
import type { Statement } from 'better-sqlite3'
import { Watchers } from '../watchers.ts'
import type { Database } from './database.ts'

/** `making`: its files may not be there yet. `removing`: they may not be there any more, and its name is free. */
export const VOLUME_STATES = ['making', 'ready', 'removing'] as const
export type VolumeState = (typeof VOLUME_STATES)[number]

export const VOLUME_LIFETIMES = [
  'kept', // until somebody removes it
  'asked', // by itself: kept once it is made
  'unproven', // by a create: kept once a sandbox with it has run, gone when none did
  'with_sandbox', // gone with the last sandbox that mounts it
] as const
export type VolumeLifetime = (typeof VOLUME_LIFETIMES)[number]

export type VolumeRow = {
  key: string
  tenant: string
  name: string
  state: VolumeState
  lifetime: VolumeLifetime
  createdBy: string | null
  createdAt: number
}
/** Whose volume of which name. */
export type VolumeName = { tenant: string; name: string }
export type NewVolume = VolumeName & Pick<VolumeRow, 'lifetime' | 'createdBy' | 'createdAt'>

/** A mount of a named volume, as a create asks for it. */
export type VolumeClaim = {
  name: string
  createIfMissing: boolean
  deleteWithSandbox: boolean
  subPath?: string
  target: string
  readOnly: boolean
}
/** A mount of a named volume, as a sandbox has it. */
export type VolumeUse = {
  key: string
  name: string
  state: VolumeState
  subPath: string | null
  target: string
  readOnly: boolean
}

const COLUMNS = 'key, tenant, name, state, lifetime, created_by AS createdBy, created_at AS createdAt'
const LEFT_OVER = `state <> 'removing' AND lifetime <> 'kept'
  AND NOT EXISTS (SELECT 1 FROM volume_uses WHERE volume_key = volumes.key)`

export class VolumeStore {
  readonly #database: Database
  readonly #prepared
  readonly #watchers = new Watchers<[]>()

  constructor(database: Database) {
    this.#database = database
    this.#prepared = prepareAll(database)
  }

  /** Calls `watcher` whenever files have to go, until the returned function is called. */
  watch(watcher: () => void): () => void {
    return this.#watchers.add(watcher)
  }

  get(wanted: VolumeName): VolumeRow | undefined {
    return this.#prepared.get.get(wanted)
  }

  /** One page of a tenant's, or of everybody's, by name, and how many there are in all. */
  list(
    tenant: string | undefined,
    { limit, offset }: { limit: number; offset: number },
  ): { rows: VolumeRow[]; total: number } {
    const wanted = { tenant: tenant ?? null }
    const rows = this.#prepared.list.all({ ...wanted, limit, offset })
    return { rows, total: this.#prepared.count.get(wanted)?.total ?? 0 }
  }

  count(tenant: string): number {
    return this.#prepared.count.get({ tenant })?.total ?? 0
  }

  /** The sandboxes that mount a volume, by id: at most `limit` of them. */
  users(key: string, limit: number): string[] {
    return this.#prepared.users.all({ key, limit }).map(({ id }) => id)
  }

  /** Writes a new volume. Throws when its tenant has one of this name. */
  insert(volume: NewVolume): VolumeRow {
    const row: VolumeRow = { ...volume, key: `v${randomBytes(12).toString('hex')}`, state: 'making' }
    this.#prepared.insert.run(row)
    return row
  }

  /** Writes what a new sandbox mounts, and the volumes that are to be made for it. Belongs to the transaction of its row. */
  claim(
    sandbox: { id: string; tenant: string; createdBy: string | null; createdAt: number },
    claims: readonly VolumeClaim[],
  ): void {
    const { id, tenant, createdBy, createdAt } = sandbox
    for (const { name, deleteWithSandbox, subPath, target, readOnly } of claims) {
      const lifetime = deleteWithSandbox ? 'with_sandbox' : 'unproven'
      const { key } =
        this.get({ tenant, name }) ?? this.insert({ tenant, name, lifetime, createdBy, createdAt })
      this.#prepared.use.run({ id, target, key, subPath: subPath ?? null, readOnly: readOnly ? 1 : 0 })
    }
  }

  /** What a sandbox mounts. */
  usesOf(sandboxId: string): VolumeUse[] {
    return this.#prepared.uses.all({ id: sandboxId }).map((use) => ({ ...use, readOnly: use.readOnly === 1 }))
  }

  /** Its files are there. */
  made(key: string): void {
    this.#prepared.made.run({ key })
  }

  /** A sandbox runs: what was made for it stays. */
  prove(sandboxId: string): void {
    this.#prepared.prove.run({ id: sandboxId })
  }

  /** Marks what nothing mounts any more and nobody wants to keep. Belongs to the transaction that deletes a sandbox. */
  markLeftOver(): void {
    this.#tell(this.#prepared.markLeftOver.run().changes)
  }

  /** Marks volumes that were asked for before `since` and never made. */
  markAbandoned(since: number): void {
    this.#tell(this.#prepared.markAbandoned.run({ since }).changes)
  }

  /** Marks one to be removed, unless it is in use. */
  markRemoved(wanted: VolumeName): 'marked' | 'in_use' | 'absent' {
    return this.#database.transact(() => {
      const volume = this.get(wanted)
      if (!volume) return 'absent'
      if (this.users(volume.key, 1).length > 0) return 'in_use'
      this.#tell(this.#prepared.mark.run({ key: volume.key }).changes)
      return 'marked'
    })
  }

  /** Those whose files are to go. */
  going(): VolumeRow[] {
    return this.#prepared.going.all()
  }

  /** The keys of all, those that are being removed too. */
  keys(): string[] {
    return this.#prepared.keys.all().map(({ key }) => key)
  }

  /** How large one was found to be. */
  sized(key: string, { bytes, at }: { bytes: number; at: number }): void {
    this.#prepared.sized.run({ key, bytes, at })
  }

  /** That its size was looked for in vain; what was found before still counts. */
  notSized(key: string, at: number): void {
    this.#prepared.notSized.run({ key, at })
  }

  /** Everyone of whom there is one. */
  tenants(): string[] {
    return this.#prepared.tenants.all().map(({ tenant }) => tenant)
  }

  /** The keys of a tenant's whose size was looked for before `since`, or never. */
  unsized(tenant: string, since: number): string[] {
    return this.#prepared.unsized.all({ tenant, since }).map(({ key }) => key)
  }

  delete(key: string): void {
    this.#prepared.delete.run({ key })
  }

  #tell(marked: number): void {
    if (marked > 0) this.#watchers.tell()
  }
}

type Named = Record<string, unknown>

function prepareAll({ raw }: Database) {
  const run = (sql: string): Statement<[Named?]> => raw.prepare<[Named?]>(sql)
  const ofTenant = `state <> 'removing' AND (@tenant IS NULL OR tenant = @tenant)`
  return {
    get: raw.prepare<VolumeName, VolumeRow>(
      `SELECT ${COLUMNS} FROM volumes WHERE tenant = @tenant AND name = @name AND state <> 'removing'`,
    ),
    list: raw.prepare<{ tenant: string | null; limit: number; offset: number }, VolumeRow>(
      `SELECT ${COLUMNS} FROM volumes WHERE ${ofTenant} ORDER BY tenant, name LIMIT @limit OFFSET @offset`,
    ),
    count: raw.prepare<{ tenant: string | null }, { total: number }>(
      `SELECT count(*) AS total FROM volumes WHERE ${ofTenant}`,
    ),
    users: raw.prepare<{ key: string; limit: number }, { id: string }>(
      'SELECT DISTINCT sandbox_id AS id FROM volume_uses WHERE volume_key = @key ORDER BY id LIMIT @limit',
    ),
    insert: run(
      `INSERT INTO volumes (key, tenant, name, state, lifetime, created_by, created_at)
        VALUES (@key, @tenant, @name, @state, @lifetime, @createdBy, @createdAt)`,
    ),
    use: run(
      `INSERT INTO volume_uses (sandbox_id, target, volume_key, sub_path, read_only)
        VALUES (@id, @target, @key, @subPath, @readOnly)`,
    ),
    uses: raw.prepare<{ id: string }, Omit<VolumeUse, 'readOnly'> & { readOnly: number }>(
      `SELECT key, name, state, sub_path AS subPath, target, read_only AS readOnly
        FROM volume_uses JOIN volumes ON key = volume_key WHERE sandbox_id = @id ORDER BY target`,
    ),
    made: run(
      `UPDATE volumes SET state = 'ready', lifetime = iif(lifetime = 'asked', 'kept', lifetime)
        WHERE key = @key AND state = 'making'`,
    ),
    prove: run(
      `UPDATE volumes SET lifetime = 'kept' WHERE lifetime = 'unproven'
        AND key IN (SELECT volume_key FROM volume_uses WHERE sandbox_id = @id)`,
    ),
    markLeftOver: run(`UPDATE volumes SET state = 'removing' WHERE ${LEFT_OVER} AND lifetime <> 'asked'`),
    markAbandoned: run(
      `UPDATE volumes SET state = 'removing'
        WHERE ${LEFT_OVER} AND lifetime = 'asked' AND created_at < @since`,
    ),
    mark: run(`UPDATE volumes SET state = 'removing' WHERE key = @key`),
    going: raw.prepare<[], VolumeRow>(`SELECT ${COLUMNS} FROM volumes WHERE state = 'removing'`),
    keys: raw.prepare<[], { key: string }>('SELECT key FROM volumes'),
    sized: run('UPDATE volumes SET size_bytes = @bytes, sized_at = @at WHERE key = @key'),
    notSized: run('UPDATE volumes SET sized_at = @at WHERE key = @key'),
    tenants: raw.prepare<[], { tenant: string }>(
      `SELECT DISTINCT tenant FROM volumes WHERE state <> 'removing'`,
    ),
    unsized: raw.prepare<{ tenant: string; since: number }, { key: string }>(
      `SELECT key FROM volumes WHERE tenant = @tenant AND state = 'ready' AND coalesce(sized_at, 0) <= @since
        ORDER BY sized_at LIMIT 1000`,
    ),
    delete: run('DELETE FROM volumes WHERE key = @key'),
  }
}
