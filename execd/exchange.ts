// The exchange directory as execd sees it (lib/api/guest.ts): the boot file is taken from it, what became of the sandbox is put
// into it.

import { existsSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ExitFile, ReadyFile } from '../lib/api/guest.ts'

/** How long the runtime may take to connect the sandbox once execd runs. */
const BOOT_TIMEOUT_MS = 30_000

/**
 * Takes the text of the boot file as soon as the runtime has put it there: nothing of the user's may run before. `keep` is given it
 * while it is still there.
 */
export async function takeBootFile(
  dir: string,
  keep: (text: string) => void,
  signal: AbortSignal,
): Promise<string> {
  const path = join(dir, 'boot.json')
  if (!existsSync(path)) await appears(dir, path, signal)
  const text = readFileSync(path, 'utf8')
  keep(text)
  rmSync(path)
  return text
}

/** Removes what says something about an earlier life, and the name of the file that lives leave to each other (state.ts). */
export function tidy(dir: string): void {
  for (const name of ['ready.json', '.state']) rmSync(join(dir, name), { force: true })
}

/** Puts a file into the directory; a reader never sees half of it. */
export function report(dir: string, name: 'ready.json', value: ReadyFile): void
export function report(dir: string, name: 'exit.json', value: ExitFile): void
export function report(dir: string, name: string, value: ReadyFile | ExitFile): void {
  const path = join(dir, name)
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

function appears(dir: string, path: string, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      clearTimeout(timer)
      watcher.close()
      signal.removeEventListener('abort', stop)
      act()
    }
    const stop = () => finish(() => reject(new Error(`Stopped before there was a "${path}"`)))
    signal.addEventListener('abort', stop)
    const look = () => existsSync(path) && finish(resolve)
    const timer = setTimeout(
      () =>
        finish(() => reject(new Error(`There was no "${path}" within ${BOOT_TIMEOUT_MS / 1000} seconds`))),
      BOOT_TIMEOUT_MS,
    )
    const watcher = watch(dir, look)
    watcher.once('error', (error) => finish(() => reject(error)))
    // It may have come before the watch.
    look()
    if (signal.aborted) stop()
  })
}
