// A request for a sandbox that is starting, or waking, waits for it, so that clients need not try again. How many wait is bounded, and
// so is how many of them wait for one sandbox.

import type { Route as FeedRoute } from '../../lib/api/routes-feed.ts'
import { Lanes } from '../../lib/lanes.ts'
import { REFUSED } from '../decision/refusal.ts'
import type { Verdict } from '../decision/verdict.ts'
import type { RouteListener } from '../routing/routes-feed.ts'
import type { Waker } from './wake.ts'

export type HoldOptions = {
  onChange: (listener: RouteListener) => () => void
  /** Absent: nothing is woken. */
  wake?: Waker
  /** How many requests wait at once; half of them for one sandbox at most. */
  maxHeld: number
  isStopping: () => boolean
}

export type Held = {
  id: string
  isWaking: boolean
  atMostMs: number
  /** What a change of the sandbox means for this request; undefined when it waits on. */
  decide(changed: FeedRoute | undefined): Verdict | undefined
}

export type Hold = (held: Held) => Verdict

export function createHold({ onChange, wake, maxHeld, isStopping }: HoldOptions): Hold {
  const places = new Lanes(maxHeld)

  return ({ id, isWaking, atMostMs, decide }) => {
    const late: Verdict = { kind: 'refuse', refusal: isWaking ? REFUSED.waking() : REFUSED.starting() }
    if (!places.isOpenTo(id) || isStopping()) return late
    const leave = places.take(id)
    let finish: (verdict: Verdict) => void = () => {}
    const verdict = new Promise<Verdict>((resolve) => {
      finish = resolve
    })
    let isOver = false
    const end = (decided: Verdict) => {
      if (isOver) return
      isOver = true
      leave()
      clearTimeout(timer)
      forget()
      finish(decided)
    }
    const timer = setTimeout(() => end(late), atMostMs)
    const forget = onChange((changedId, changed) => {
      const decided = changedId === id ? decide(changed) : undefined
      if (decided) end(decided)
    })
    if (isWaking)
      void wake?.(id).then((refusal) => {
        if (refusal) end({ kind: 'refuse', refusal })
      })
    return { kind: 'wait', verdict, cancel: () => end(late) }
  }
}
