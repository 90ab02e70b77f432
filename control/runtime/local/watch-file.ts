// Waiting for a file that another process makes by renaming it into place.

import { type FSWatcher, readFileSync, watch } from 'node:fs'
import { join } from 'node:path'
import { systemCodeOf } from '../../../lib/errors.ts'

/** The parsed content of `folder/name` as soon as it is there. Rejects with the signal's reason. */
export function waitForJson<T>(folder: string, name: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    let watcher: FSWatcher | undefined
    const finish = (act: () => void) => {
      watcher?.close()
      signal.removeEventListener('abort', abort)
      act()
    }
    const abort = () => finish(() => reject(signal.reason))
    const look = () => {
      try {
        const value = readJson<T>(join(folder, name))
        if (value !== undefined) finish(() => resolve(value))
      } catch (error) {
        finish(() => reject(error))
      }
    }
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', abort)
    try {
      watcher = watch(folder, look)
      watcher.on('error', (error) => finish(() => reject(error)))
    } catch (error) {
      return finish(() => reject(error))
    }
    // It may have come before the watch.
    look()
  })
}

/** The parsed content of a file, or undefined when it is not there. */
export function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined
    throw error
  }
}
