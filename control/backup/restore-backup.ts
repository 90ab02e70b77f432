// Puts a backup in the place of the database. Everything about it is checked before anything is touched; what is replaced is
// kept; and at each moment there is either the old database or the new one, because control would take an empty one for a new
// installation, and every sandbox for something that nobody needs.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { openLock } from '../../lib/lock.ts'
import { carryKeys, checkDatabase, foldLog } from '../store/copy.ts'
import { hashFile, syncDirectory, syncFile } from './files.ts'
import { DATABASE_FILE, MANIFEST_FILE, type Manifest, parseManifest } from './manifest.ts'

export type RestoreOptions = {
  /** The directory of the backup. */
  from: string
  dataDir: string
  /** The newest migration that this program knows. */
  schemaVersion: number
  now: number
}

export type Restored = {
  manifest: Manifest
  /** Where the database lies that was there before; absent when there was none. */
  replaced?: string
  /** Keys that were made or changed since the backup, and are as they were just before the restore. */
  carriedKeys: number
  warnings: string[]
}

export async function restoreBackup(options: RestoreOptions): Promise<Restored> {
  const { from, dataDir, schemaVersion, now } = options
  const manifest = readManifest(from)
  if (manifest.schemaVersion > schemaVersion)
    throw new Error(
      `Cannot restore "${from}": its database is of version ${manifest.schemaVersion}, made by a newer program (${manifest.programVersion}); this one knows ${schemaVersion}`,
    )
  using lock = openLock(join(dataDir, 'control.lock'))
  if (!lock)
    throw new Error(`Cannot restore while control runs with the data directory "${dataDir}": stop it first`)
  const fresh = join(dataDir, `${DATABASE_FILE}.restoring`)
  try {
    await copyChecked(join(from, DATABASE_FILE), fresh, manifest)
    return { manifest, ...replace(dataDir, fresh, now) }
  } catch (error) {
    throw new Error(`Cannot restore "${from}": ${messageOf(error)}`, { cause: error })
  } finally {
    for (const suffix of ['', '-journal']) rmSync(fresh + suffix, { force: true })
  }
}

function readManifest(from: string): Manifest {
  const path = join(from, MANIFEST_FILE)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new Error(
      `Cannot restore "${from}": it is no directory that npm run backup has made: ${messageOf(error)}`,
    )
  }
  try {
    return parseManifest(text)
  } catch (error) {
    throw new Error(`Cannot restore "${from}": its ${MANIFEST_FILE} cannot be used: ${messageOf(error)}`)
  }
}

/** Copies the database of a backup into the data directory, and checks the copy, as that is what will be used. */
async function copyChecked(source: string, fresh: string, manifest: Manifest): Promise<void> {
  rmSync(fresh, { force: true })
  copyFileSync(source, fresh)
  chmodSync(fresh, 0o600)
  const { size } = statSync(fresh)
  if (size !== manifest.bytes || (await hashFile(fresh)) !== manifest.sha256)
    throw new Error(`its ${DATABASE_FILE} is not the one that its manifest was written for`)
  const facts = checkDatabase(fresh)
  if (facts.schemaVersion !== manifest.schemaVersion)
    throw new Error(
      `its ${DATABASE_FILE} is of version ${facts.schemaVersion}, and its manifest says ${manifest.schemaVersion}`,
    )
}

function replace(dataDir: string, fresh: string, now: number): Omit<Restored, 'manifest'> {
  const current = join(dataDir, DATABASE_FILE)
  const hasCurrent = existsSync(current)
  const replaced = `${current}.replaced-${new Date(now).toISOString().replace(/[-:]/g, '')}`
  const seen = hasCurrent ? closeOld(current, fresh, replaced) : { carriedKeys: 0, warnings: [] }
  syncFile(fresh)
  // A log that is left belongs to the old one alone; with the new one it would destroy it.
  for (const suffix of ['-wal', '-shm', '-journal']) rmSync(current + suffix, { force: true })
  if (hasCurrent) linkSync(current, replaced)
  renameSync(fresh, current)
  syncDirectory(dataDir)
  return { ...(hasCurrent && { replaced }), ...seen }
}

/** Makes the old database one file again, and takes over what must not be forgotten of it. */
function closeOld(
  current: string,
  fresh: string,
  replaced: string,
): Pick<Restored, 'carriedKeys' | 'warnings'> {
  // Copied before SQLite looks at it, which removes a log that it takes for another database's.
  const log = `${current}-wal`
  if (existsSync(log)) copyFileSync(log, `${replaced}-wal`)
  try {
    foldLog(current)
    const carriedKeys = carryKeys(current, fresh)
    rmSync(`${replaced}-wal`, { force: true })
    return { carriedKeys, warnings: [] }
  } catch (error) {
    if (systemCodeOf(error)?.startsWith('SQLITE_BUSY')) {
      rmSync(`${replaced}-wal`, { force: true })
      throw new Error(`another program uses "${current}"`, { cause: error })
    }
    return {
      carriedKeys: 0,
      warnings: [
        `The database that is replaced could not be read (${messageOf(error)}): the keys are those of the backup, also ones that were revoked since`,
      ],
    }
  }
}
