// How much is done at once. Whoever works on the thread that answers requests holds all of them up meanwhile; so a slice is
// sized by how long the one before it took, and as much of the time as it took is left to the others several times over.

/** What a slice should take. Nothing waits longer than a few of these, even when one comes out several times too large. */
const AIM_MS = 3
const SMALLEST = 10
const LARGEST = 5000
/** Of the time, upkeep takes one part in so many. */
const SHARE = 5
const LONGEST_PAUSE_MS = 250

export const FIRST_SLICE = 50

/** How large the next slice is after one of `size` took `tookMs`: at most twice as large, as small as it has to be. */
export function nextSlice(size: number, tookMs: number): number {
  const fitting = tookMs <= 0 ? size * 2 : Math.floor((size * AIM_MS) / tookMs)
  return Math.min(Math.max(Math.min(fitting, size * 2), SMALLEST), LARGEST)
}

/** How long the others have after a slice that took `tookMs`. */
export function pauseAfter(tookMs: number): number {
  return Math.min(Math.max(Math.ceil(tookMs * (SHARE - 1)), 1), LONGEST_PAUSE_MS)
}
