// How a request went, for whoever writes it down or counts it.

import type { Plan } from '../decision/plan.ts'
import type { RequestHead } from '../http1/head.ts'

/** Where the time of a request went, in milliseconds; 0 where it took none. */
export type Legs = {
  /** Until it was known what is to be done: asking control, waiting for a sandbox to start or to wake. */
  waitMs: number
  /** Until a connection to the sandbox was there. */
  connectMs: number
  /** From then until its answer began. */
  firstByteMs: number
}

export type Outcome = {
  head: RequestHead | undefined
  plan: Plan | undefined
  client: string
  isHttp2?: true
  status: number
  /** From its head until its end. */
  ms: number
  legs: Legs
  bytesIn: number
  bytesOut: number
  reason?: string
  /** A refusal that another try may not meet, such as of a port that nothing listens on yet. */
  isPassing?: boolean
}
