import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, systemCodeOf } from '../../lib/errors.ts'
import { checkDatabase, copyDatabase } from '../store/copy.ts'
import { hashFile, syncDirectory, writeDurably } from './files.ts'
import { DATABASE_FILE, formatManifest, MANIFEST_FILE, type Manifest } from './manifest.ts'

export type BackupOptions = {
  dataDir: string
  /** A directory that does not exist yet; `defaultPlace` when absent. */
  to?: string
  programVersion: string
  now: number
}

/** Where a backup lies when nobody says where: below the data directory, named by its time. */
function defaultPlace(dataDir: string, now: number): string {
  return join(dataDir, 'backups', new Date(now).toISOString().replace(/[-:]|\.\d+/g, ''))
}

/**
 * Copies control's database as it is at this moment, also while control runs, checks the copy, and says in a manifest what it
 * is. The manifest comes last: a directory without one is no backup. Nothing of it can be read by others.
 */
export async function takeBackup(options: BackupOptions): Promise<{ place: string; manifest: Manifest }> {
  const { dataDir, programVersion, now } = options
  const source = join(dataDir, DATABASE_FILE)
  if (!existsSync(source))
    throw new Error(`Cannot back up the data directory "${dataDir}": there is no ${DATABASE_FILE} in it`)
  const place = options.to ?? defaultPlace(dataDir, now)
  makePlace(place, options.to === undefined ? join(dataDir, 'backups') : undefined)
  try {
    const copy = join(place, DATABASE_FILE)
    // Made before SQLite opens it, so that at no moment it is there with another mode.
    writeDurably(copy, '')
    await copyDatabase(source, copy)
    const facts = checkDatabase(copy)
    const manifest: Manifest = {
      kind: 'opensandbox-edge-backup',
      format: 1,
      takenAt: new Date(now).toISOString(),
      ...facts,
      programVersion,
      bytes: statSync(copy).size,
      sha256: await hashFile(copy),
    }
    writeDurably(join(place, MANIFEST_FILE), formatManifest(manifest))
    syncDirectory(place)
    return { place, manifest }
  } catch (error) {
    rmSync(place, { recursive: true, force: true })
    throw new Error(`Cannot back up "${source}": ${messageOf(error)}`, { cause: error })
  }
}

function makePlace(place: string, parent: string | undefined): void {
  try {
    if (parent !== undefined) mkdirSync(parent, { recursive: true, mode: 0o700 })
    mkdirSync(place, { mode: 0o700 })
  } catch (error) {
    if (systemCodeOf(error) === 'EEXIST')
      throw new Error(`Cannot make the backup "${place}": it is there already; name a directory that is not`)
    throw new Error(`Cannot make the backup "${place}": ${messageOf(error)}`)
  }
}
