// How many sandboxes a pool should keep warm (contract: kubernetes.md 2.4.2). Between bufferMin and bufferMax nothing is done, so
// that a claim or two does not set everything in motion; outside of them the middle is aimed at.

import type { PoolCapacity } from '../store/schema.ts'

export type PoolCounts = {
  /** Claimed ones that are not over. */
  allocated: number
  /** Warm ones that can be claimed, now or soon. */
  buffer: number
  /** Those that are on their way out, and take their place until they are gone. */
  leaving: number
  /** It was below its bounds and has not come to the middle yet. */
  isFilling: boolean
}

export type Refill = { make: number; spare: number }

export function decideRefill(
  capacity: PoolCapacity,
  { allocated, buffer, leaving, isFilling }: PoolCounts,
): Refill {
  const { bufferMin, bufferMax, poolMin, poolMax } = capacity
  const middle = Math.floor((bufferMin + bufferMax) / 2)
  const isEnough = buffer >= (isFilling ? middle : bufferMin) && buffer <= bufferMax
  const aim = isEnough ? buffer : middle
  const wanted = Math.min(Math.max(aim, poolMin - allocated), Math.max(poolMax - allocated, 0))
  const room = Math.max(poolMax - allocated - buffer - leaving, 0)
  return { make: Math.max(Math.min(wanted - buffer, room), 0), spare: Math.max(buffer - wanted, 0) }
}
