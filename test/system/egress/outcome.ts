// What became of a case, out of what arrived, what was recorded, and what the case itself saw. Pure.

import type { AttackCase } from './cases/case.ts'
import type { DecisionEvent } from './product.ts'

/** What the program of a case said of itself. */
export type Performed = { number: number; outcome: string; targets: [string | null, number | null][] }

export type Outcome = {
  id: string
  what: string
  /** What the case itself saw. */
  seen: string
  arrived: boolean
  /** Undefined: nothing was to be recorded. */
  recorded?: string
  /** Undefined: as it must be. */
  wrong?: string
}

export type Evidence = {
  performed: Performed | undefined
  /** How many frames of it were seen where nothing of it may be. */
  arrivals: number
  events: readonly DecisionEvent[]
  token: string
}

const UNSENT = /PermissionError|OSError|^exit [1-9]|ConnectionRefusedError|denied|not permitted/

/** Judges one case. */
export function judge(one: AttackCase, { performed, arrivals, events, token }: Evidence): Outcome {
  const { id, what } = one
  const arrived = arrivals > 0
  if (!performed) return { id, what, seen: '', arrived, wrong: 'it was not performed' }
  const seen = performed.outcome
  const base = { id, what, seen, arrived }
  if (one.expect === 'allowed')
    return arrived && !/Error/.test(seen)
      ? base
      : { ...base, wrong: `it was to arrive, but ${arrived ? 'failed' : 'nothing was seen'}` }
  if (arrived) return { ...base, wrong: `it arrived: ${arrivals} frames` }
  switch (one.recorded) {
    case 'quiet':
      return base
    case 'unsent':
      return UNSENT.test(seen) ? base : { ...base, wrong: 'the sandbox was able to send it' }
    default: {
      const found = findEvent(one, performed, events, token)
      if (found) return { ...base, recorded: found.reason }
      return { ...base, wrong: 'nothing was recorded of it' }
    }
  }
}

function findEvent(
  { recorded }: AttackCase,
  { targets }: Performed,
  events: readonly DecisionEvent[],
  token: string,
): DecisionEvent | undefined {
  return events.find((event) => {
    if (event.verdict !== 'deny') return false
    if (event.name?.includes(token)) return true
    return targets.some(([target, port]) => {
      if (target === null) return false
      if (event.name === target) return true
      if (recorded === 'frame') return event.reason.endsWith(`a frame of type ${target}`)
      if (recorded === 'spoofed') return event.reason.includes(`comes ${target},`)
      // An IPv4 address leaves as what it is, however it was written.
      const isAddress = event.address === target || event.address === target.replace(/^::ffff:/, '')
      if (recorded === 'name' || !isAddress) return false
      return port === null || !event.port || event.port === port
    })
  })
}
