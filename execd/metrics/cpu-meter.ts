// How busy the CPUs are now: the CPU time between two readings. A reader who comes regularly gets the time since its last
// visit, and nobody samples in between. Whoever comes for the first time, or after long, gets a short sample taken now: an
// average over a quiet hour would not say what goes on.

import { setTimeout as delay } from 'node:timers/promises'
import type { CpuReading } from './read.ts'

/** As long as the period over which the kernel counts out a quota. */
const SAMPLE_MS = 100
const LONGEST_GAP_MS = 10_000

export type CpuUse = { cpus: number; percent: number }

export type CpuMeterOptions = {
  read: () => CpuReading
  sleep?: (ms: number) => Promise<unknown>
}

/** Gives the use of the CPUs of late, each time it is called. */
export function createCpuMeter({ read, sleep = delay }: CpuMeterOptions): () => Promise<CpuUse> {
  let last: { reading: CpuReading; use: CpuUse } | undefined
  let sampling: Promise<CpuUse> | undefined

  const take = (from: CpuReading): CpuUse => {
    const reading = read()
    const use = { cpus: reading.cpus, percent: percentBetween(from, reading) }
    last = { reading, use }
    return use
  }
  const sample = async (): Promise<CpuUse> => {
    const from = read()
    await sleep(SAMPLE_MS)
    return take(from)
  }

  return () => {
    const age = last ? read().atMs - last.reading.atMs : Number.POSITIVE_INFINITY
    if (last && age < SAMPLE_MS) return Promise.resolve(last.use)
    if (last && age <= LONGEST_GAP_MS) return Promise.resolve(take(last.reading))
    sampling ??= sample().finally(() => {
      sampling = undefined
    })
    return sampling
  }
}

/** Of what may be used, from 0 to 100. */
export function percentBetween(from: CpuReading, to: CpuReading): number {
  const mayMs = (to.atMs - from.atMs) * to.cpus
  if (!(mayMs > 0)) return 0
  return Math.max(0, Math.min(100, (100 * (to.usedMs - from.usedMs)) / mayMs))
}
