// Waiting and trying again, for whoever works beside the requests.

import { setTimeout as delay } from 'node:timers/promises'

/** Waits `ms`, or until `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** Does `work` for each item, at most `width` at a time. */
export async function eachOf<T>(
  items: Iterable<T>,
  width: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = [...items]
  const lane = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: Math.min(width, queue.length) }, lane))
}

/** Resolves to true when `work` settles within `ms`, to false when it does not. */
export async function settlesWithin(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), ms)
  })
  const settled = work.then(
    () => true as const,
    () => true as const,
  )
  try {
    return await Promise.race([settled, late])
  } finally {
    clearTimeout(timer)
  }
}

export type Backoff = { firstMs: number; longestMs: number }

/**
 * How long to wait after so many failures in a row: twice as long each time, and by chance up to a half shorter, so that what failed
 * together is not tried again together. `random` is from 0 up to 1.
 */
export function backoffMs({ firstMs, longestMs }: Backoff, failures: number, random: number): number {
  const full = Math.min(firstMs * 2 ** Math.min(failures - 1, 20), longestMs)
  return Math.round(full * (1 - random / 2))
}

/** Waits for all, also when one fails, and then throws the first failure. */
export async function settleAll(promises: Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  const failed = results.find((result) => result.status === 'rejected')
  if (failed) throw failed.reason
}
