import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { Progress } from './shared-work.ts'

const EVERY_MS = 1000

export type FollowOptions = {
  signal: AbortSignal
  progress: Progress
  everyMs?: number
  /** Called once when nothing has come for so long. */
  stall?: { afterMs: number; tell: () => void }
}

/**
 * Tells how much skopeo has brought into an OCI layout so far, when that has changed, until `stop` or the signal. skopeo itself
 * tells it to terminals alone.
 */
export function followSize(
  layout: string,
  { signal, progress, everyMs = EVERY_MS, stall }: FollowOptions,
): { stop: () => void } {
  let isOver = false
  let told = ''
  let last = { size: -1, at: performance.now() }
  let timer: NodeJS.Timeout | undefined
  const stop = () => {
    isOver = true
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
  const look = async () => {
    const size = await sizeOf(layout)
    if (isOver) return
    const text = formatSize(size)
    if (size > 0 && text !== told) progress(text)
    told = text
    const now = performance.now()
    if (size !== last.size) last = { size, at: now }
    if (stall && now - last.at > stall.afterMs) {
      stop()
      return stall.tell()
    }
    timer = setTimeout(look, everyMs)
  }
  signal.addEventListener('abort', stop, { once: true })
  timer = setTimeout(look, everyMs)
  if (signal.aborted) stop()
  return { stop }
}

/** The bytes of the files in a layout: what is complete in `blobs/sha256`, and what is still coming beside it. */
async function sizeOf(layout: string): Promise<number> {
  const sizes = await Promise.all(
    [layout, join(layout, 'blobs/sha256')].map(async (folder) => {
      // It is not there yet, or a file was renamed between the two looks: the next one sees it.
      const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
      const files = entries.filter((entry) => entry.isFile())
      const found = await Promise.all(
        files.map(({ name }) => stat(join(folder, name)).catch(() => undefined)),
      )
      return found.reduce((sum, file) => sum + (file?.size ?? 0), 0)
    }),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}

/** As people read it: `34.5 MB`. */
export function formatSize(bytes: number): string {
  if (bytes < 1e6) return `${Math.ceil(bytes / 1e3)} kB`
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e9).toFixed(2)} GB`
}
