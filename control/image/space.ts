// Watches how much room something takes while it is made, for what does not say beforehand how large it becomes: an archive of a few
// megabytes can unpack to as much as the disk holds. Asking the file system how much is left costs next to nothing, so the directory is
// walked only when so much has gone that it may be too large.

import { statfs } from 'node:fs/promises'
import { runProgram } from '../../lib/run-program.ts'
import { pause } from '../async.ts'
import { RuntimeError } from '../runtime/runtime.ts'
import { formatSize } from './follow-size.ts'

const EVERY_MS = 200
const WALK_TIMEOUT_MS = 60_000
/** No image that is meant well has as many; files of no size take room, too. */
const MAX_FILES = 5_000_000

export type SpaceBound = { maxBytes: number; maxFiles?: number; shownAs: string; everyMs?: number }

export type Usage = { bytes: number; files: number }

/** Does `work`, with a signal that aborts when what it makes in `folder` becomes too large. Gives what it takes at the end, too. */
export async function withinSpace<T>(
  folder: string,
  { maxBytes, maxFiles = MAX_FILES, shownAs, everyMs = EVERY_MS }: SpaceBound,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<{ result: T; usage: Usage }> {
  const over = new AbortController()
  const ended = new AbortController()
  const watching = AbortSignal.any([signal, ended.signal, over.signal])
  const requireFit = ({ bytes, files }: Usage) => {
    if (bytes <= maxBytes && files <= maxFiles) return
    const allowed = bytes > maxBytes ? formatSize(maxBytes) : `${maxFiles} files`
    throw new RuntimeError(
      'image_too_large',
      `Image "${shownAs}" is too large: it may take at most ${allowed} (runtime.image_max_unpacked_bytes)`,
    )
  }
  const watch = async () => {
    let used = { bytes: 0, files: 0 }
    let left = await leftAt(folder)
    while (!watching.aborted) {
      await pause(everyMs, watching)
      const now = await leftAt(folder)
      const most = {
        bytes: used.bytes + left.bytes - now.bytes,
        files: used.files + left.files - now.files,
      }
      if (watching.aborted || (most.bytes <= maxBytes && most.files <= maxFiles)) continue
      used = await usageOf(folder, watching)
      requireFit(used)
      left = now
    }
  }
  const watched = watch().catch((error) => {
    if (!watching.aborted) over.abort(error)
  })
  try {
    const result = await work(AbortSignal.any([signal, over.signal]))
    ended.abort()
    await watched
    // What was quick is looked at all the same.
    const usage = await usageOf(folder, signal)
    requireFit(usage)
    return { result, usage }
  } catch (error) {
    ended.abort()
    await watched
    signal.throwIfAborted()
    throw over.signal.aborted ? over.signal.reason : error
  }
}

async function leftAt(path: string): Promise<Usage> {
  const { bavail, bsize, ffree } = await statfs(path)
  return { bytes: bavail * bsize, files: ffree }
}

/** What a directory takes on the disk, a file with several names once. */
export async function usageOf(path: string, signal: AbortSignal): Promise<Usage> {
  const count = async (unit: string) => {
    const args = ['--summarize', '--one-file-system', unit, '--', path]
    // A file that goes while this walks is complained of, and counts for nothing.
    const { stdout, stderr } = await runProgram('du', args, { signal, timeoutMs: WALK_TIMEOUT_MS })
    const found = /^\d+/.exec(stdout)?.[0]
    if (found === undefined)
      throw new RuntimeError('image_pull_failed', `Cannot measure an image: ${stderr.slice(0, 200)}`)
    return Number(found)
  }
  return { bytes: await count('--block-size=1'), files: await count('--inodes') }
}
