// Requests that name many files: what is to be done for each of them is done some at a time, and others are answered in between.

import type { Pace } from './turns.ts'

/** So many keep the thread pool busy, and take less than a slice. */
const BATCH_ITEMS = 64

/** What `map` makes of each item, in their order. Fails with the first failure, after which no further batch begins. */
export async function mapInBatches<Item, Made>(
  items: readonly Item[],
  pace: Pace,
  map: (item: Item, index: number) => Made | Promise<Made>,
): Promise<Made[]> {
  const made: Made[] = []
  for (let from = 0; from < items.length; from += BATCH_ITEMS) {
    if (pace.isDue) await pace.rest()
    const batch = items.slice(from, from + BATCH_ITEMS)
    made.push(...(await Promise.all(batch.map(async (item, index) => await map(item, from + index)))))
  }
  return made
}
