// Which images are removed when there are too many, and removing them.

import type { Images, StoredImage } from '../runtime/images.ts'

export type KeepLimits = {
  /** What nobody has used for longer goes. */
  maxAgeMs?: number
  /** When all together take more, the least recently used go. */
  maxBytes?: number
}

export type Collected = { removed: StoredImage[]; totalBytes: number }

/** The images that should go, the least recently used first. Never one that is needed, or that the configuration names. */
export function decideCollection(
  images: StoredImage[],
  { maxAgeMs = Number.POSITIVE_INFINITY, maxBytes = Number.POSITIVE_INFINITY }: KeepLimits,
  now: number,
): StoredImage[] {
  let total = images.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  const idle = images
    .filter(({ users, isKept }) => users === 0 && !isKept)
    .sort((one, other) => one.lastUsedAt - other.lastUsedAt)
  return idle.filter(({ lastUsedAt, sizeBytes }) => {
    if (now - lastUsedAt <= maxAgeMs && total <= maxBytes) return false
    total -= sizeBytes
    return true
  })
}

/** Removes what should go. What somebody has begun to use meanwhile stays. */
export async function collectImages(
  images: Images,
  { limits, now, signal }: { limits: KeepLimits; now: number; signal: AbortSignal },
): Promise<Collected> {
  const all = await images.list(signal)
  const removed: StoredImage[] = []
  for (const image of decideCollection(all, limits, now)) {
    signal.throwIfAborted()
    if ((await images.remove(image.id, signal)) === 'removed') removed.push(image)
  }
  const bytesOf = (some: StoredImage[]) => some.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  return { removed, totalBytes: bytesOf(all) - bytesOf(removed) }
}
