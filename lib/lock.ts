// A lock on a file that ends with the process however it ends: SQLite holds it in the kernel.

import Database from 'better-sqlite3'
import { systemCodeOf } from './errors.ts'

/** Takes the lock for this process, or returns undefined when another has it. */
export function openLock(path: string): Disposable | undefined {
  const database = new Database(path, { timeout: 0 })
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
