// One launcher per data directory. SQLite holds a lock of the kernel on a file, which ends with the process however it ends.

import { join } from 'node:path'
import Database from 'better-sqlite3'
import { systemCodeOf } from '../lib/errors.ts'

/** Takes the data directory for this process, or returns undefined when another has it. */
export function openLock(dataDir: string): Disposable | undefined {
  const database = new Database(join(dataDir, 'launcher.lock'), { timeout: 0 })
  try {
    database.pragma('locking_mode = EXCLUSIVE')
    database.exec('BEGIN EXCLUSIVE')
  } catch (error) {
    database.close()
    if (systemCodeOf(error) === 'SQLITE_BUSY') return undefined
    throw error
  }
  return { [Symbol.dispose]: () => database.close() }
}
