// That connections are refused because there are too many: each is counted, and now and then one line says so. Whoever makes too many
// must not fill the log with it, too.

import type { Logger } from '../../lib/log.ts'
import type { CrowdedLimit } from '../front/front.ts'
import type { Tally } from './tally.ts'

const LINE_EVERY_MS = 10_000

export type CrowdLogOptions = {
  log: Logger
  tally: Pick<Tally, 'crowded'>
  /** Milliseconds of a clock that goes on evenly. */
  now: () => number
}

export function createCrowdLog({ log, tally, now }: CrowdLogOptions) {
  let toldAt = Number.NEGATIVE_INFINITY
  let untold = 0
  return (limit: CrowdedLimit, client: string): void => {
    tally.crowded(limit)
    untold++
    if (now() - toldAt < LINE_EVERY_MS) return
    log.warn('too many connections: some are refused', { limit, client, refused: untold })
    toldAt = now()
    untold = 0
  }
}
