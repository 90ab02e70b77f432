// What clients have been told, and with it what must be true. Of each sandbox that somebody was given it keeps what was
// acknowledged for certain and what may or may not have happened, because the answer was lost or something else went on; an
// answer or a state that neither allows is a fault of control.

import { decideStep, STEPS } from '../../../control/sandbox/state.ts'
import type { SandboxState } from '../../../lib/api/lifecycle.ts'

/** How late a deadline may be kept. */
export const LATENESS_MS = 2000

/** A value that was asked for; `until` is when it was known how that went, in numbers of changes. */
type Asked<T> = { value: T; until: number }

export class KnownSandbox {
  readonly id: string
  readonly tenant: string
  readonly isPooled: boolean
  /** What it is in for certain, until something else may have happened. */
  exact: 'Running' | 'Paused' | 'Ended' | undefined
  /** A deletion was asked for, and may have been done; `gone`: it was acknowledged. */
  mayBeDeleted = false
  isDeleted = false
  /** Its time was over once, whatever clock says so now. */
  mayBeExpired = false
  /** Something happened to it behind control's back, since all was calm. */
  isDisturbed = false
  /** Operations that are under way. */
  busy = 0
  /** Counts what was done to it, so that an operation knows whether it was alone. */
  touched = 0
  readonly labels = new Map<string, 'set' | 'maybe' | 'removed'>()
  #expiries: Asked<number | null>[]

  constructor(
    id: string,
    tenant: string,
    { expiresAt, isPooled }: { expiresAt: number | null; isPooled: boolean },
  ) {
    this.id = id
    this.tenant = tenant
    this.isPooled = isPooled
    this.#expiries = [{ value: expiresAt, until: 0 }]
  }

  get expiries(): (number | null)[] {
    return this.#expiries.map(({ value }) => value)
  }

  /** Without an end it never gets one: every renewal of it is refused, those still under way included. */
  get hasEnd(): boolean {
    return !this.expiries.includes(null)
  }

  /** The first moment at which its time may be over. */
  get earliestEnd(): number {
    return Math.min(...this.expiries.map((at) => at ?? Number.POSITIVE_INFINITY))
  }

  get latestEnd(): number {
    return Math.max(...this.expiries.map((at) => at ?? Number.POSITIVE_INFINITY))
  }

  beginRenewal(expiresAt: number): Asked<number | null> {
    const asked = { value: expiresAt, until: Number.POSITIVE_INFINITY }
    this.#expiries.push(asked)
    return asked
  }

  /** A renewal was acknowledged: what had been settled when it began does not count any more. */
  settleRenewal(asked: Asked<number | null>, began: number, at: number): void {
    asked.until = at
    this.#expiries = this.#expiries.filter((other) => other === asked || other.until >= began)
  }

  refuseRenewal(asked: Asked<number | null>): void {
    this.#expiries = this.#expiries.filter((other) => other !== asked)
  }

  /** Nobody will ever know how a renewal went. */
  loseRenewal(asked: Asked<number | null>, at: number): void {
    asked.until = at
  }

  /** Takes what is seen while nothing is under way. */
  observeExpiry(value: number | null, at: number): void {
    this.#expiries = [{ value, until: at }]
  }

  /** The clock was set, and control moved the end along; `mayHave`: perhaps. */
  shift(byMs: number, mayHave: boolean): void {
    const moved = this.#expiries.map(({ value, until }) => ({
      value: value === null ? null : value + byMs,
      until,
    }))
    this.#expiries = mayHave ? [...this.#expiries, ...moved] : moved
  }

  /** Something happened to it that nobody has asked control for. */
  disturb(): void {
    this.exact = undefined
    this.isDisturbed = true
    this.touched++
  }

  /** Whether it must be there at `now`. */
  mustLive(): boolean {
    return !this.mayBeDeleted && !this.mayBeExpired
  }

  /** Whether what is shown of its labels is what was acknowledged. */
  labelProblem(shown: Record<string, string>): string | undefined {
    for (const [key, state] of this.labels) {
      if (state === 'set' && shown[key] !== 'x')
        return `the metadata "${key}" that was acknowledged is not there`
      if (state === 'removed' && key in shown) return `the metadata "${key}" that was removed is there`
    }
    for (const key of Object.keys(shown))
      if (!this.labels.has(key)) return `nobody has asked for the metadata "${key}"`
    return undefined
  }
}

/** Whether the table of states has a step from one to the other. */
export function isLegal(from: SandboxState, to: SandboxState): boolean {
  return STEPS.some((step) => {
    const decision = decideStep(from, step)
    return decision.allowed && decision.state === to
  })
}

type LoggedEvent = { sandboxId: string; type: string; state: SandboxState | null }

export type Replay = { problems: string[]; states: Map<string, SandboxState> }

/** Reads a log of events as a client would that knows nothing else: what there is, in what state, and what cannot be. */
export function replayEvents(events: LoggedEvent[]): Replay {
  const problems: string[] = []
  const states = new Map<string, SandboxState>()
  const seen = new Set<string>()
  const ended = new Set<string>()
  for (const { sandboxId: id, type, state } of events) {
    const before = states.get(id)
    // A snapshot outlives its sandbox, and what happens to it is told in the history of that one.
    if (ended.has(id) && type !== 'snapshot')
      problems.push(`${id} has the event ${type} in the log after its end`)
    if (type === 'created' || type === 'claimed') {
      if (seen.has(id)) problems.push(`${id} begins twice in the log`)
      seen.add(id)
    } else if (type === 'state' && state) {
      if (!seen.has(id)) problems.push(`${id} has the state ${state} in the log before it begins there`)
      else if (before === undefined ? state !== 'Pending' && state !== 'Running' : !isLegal(before, state))
        problems.push(`${id} goes from ${before} to ${state} in the log`)
      states.set(id, state)
    } else if (type === 'deleted') {
      if (before !== 'Stopping' && before !== 'Pending') problems.push(`${id} ends in the log as ${before}`)
      states.delete(id)
      ended.add(id)
    }
  }
  return { problems, states }
}
