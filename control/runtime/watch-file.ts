// Waiting for a file that another process makes by renaming it into place.

import { closeSync, constants, type FSWatcher, fstatSync, openSync, readSync, watch } from 'node:fs'
import { join } from 'node:path'

const MAX_FILE_BYTES = 64 << 10
/** execd causes a few dozen changes until it is ready, and a hook that prints some more. */
const MAX_CHANGES = 256
const LOOK_EVERY_MS = 50

/**
 * The parsed content of `folder/name` as soon as it is there. Rejects with the signal's reason. Whoever owns the folder could change it
 * faster than changes can be read here, and nothing else would be done any more: after so many it is not watched but looked at. Of a
 * renaming, Deno tells the old name, which has to begin with the new one.
 */
export function waitForJson<T>(folder: string, name: string, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    let watcher: FSWatcher | undefined
    let changes = 0
    let timer: NodeJS.Timeout | undefined
    let isOver = false
    const finish = (act: () => void) => {
      isOver = true
      watcher?.close()
      clearInterval(timer)
      signal.removeEventListener('abort', abort)
      act()
    }
    const abort = () => finish(() => reject(signal.reason))
    const look = () => {
      const value = readJson<T>(join(folder, name))
      if (value !== undefined) finish(() => resolve(value))
    }
    const onChange = (_event: string, changed: string | null) => {
      if (isOver || timer) return
      if (++changes > MAX_CHANGES) {
        watcher?.close()
        timer = setInterval(look, LOOK_EVERY_MS)
      } else if (changed === null || changed.startsWith(name)) look()
    }
    if (signal.aborted) return reject(signal.reason)
    signal.addEventListener('abort', abort)
    try {
      watcher = watch(folder, onChange)
      watcher.on('error', (error) => finish(() => reject(error)))
    } catch (error) {
      return finish(() => reject(error))
    }
    // It may have come before the watch.
    look()
  })
}

/**
 * The parsed content of a small file that a sandbox may have made; undefined when it is not there, or is anything but a
 * regular file with JSON in it. Its root could have put a link to a file of the host there, a pipe that never ends, or a
 * file without end.
 */
export function readJson<T>(path: string): T | undefined {
  let fd: number
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch {
    return undefined // not there, or a link
  }
  try {
    const found = fstatSync(fd)
    if (!found.isFile() || found.size > MAX_FILE_BYTES) return undefined
    const bytes = Buffer.alloc(found.size)
    return JSON.parse(bytes.toString('utf8', 0, readSync(fd, bytes, 0, found.size, 0))) as T
  } catch {
    return undefined // no JSON: it is not execd's
  } finally {
    closeSync(fd)
  }
}
