// Lines about what sandboxes were refused: one for each event, but no more than a sandbox can be allowed to fill a disk with; what is
// left out is counted.

import type { Logger } from '../lib/log.ts'

export type Refusal = {
  /** The same for what a program does again and again. */
  event: string
  what: Record<string, unknown>
  reason: string
  rule?: string
}
export type RefusalLog = (sandbox: string, refusal: Refusal) => void

/** Lines about one sandbox: this many at once, then this many a second. */
const BURST = 100
const PER_SECOND = 10
/** The same event within this time is told once: a program asks for A and AAAA, and again. */
const SAME_MS = 1000
/** So many sandboxes are counted; of more, those that were counted first begin anew. */
const MAX_SANDBOXES = 10_000

type Budget = { left: number; at: number; unsaid: number; last: string; lastAt: number }

export function createRefusalLog(log: Logger, message: string, now: () => number = Date.now): RefusalLog {
  const budgets = new Map<string, Budget>()
  return (sandbox, { event, what, reason, rule }) => {
    const at = now()
    const budget = budgets.get(sandbox) ?? { left: BURST, at, unsaid: 0, last: '', lastAt: 0 }
    budgets.set(sandbox, budget)
    if (budgets.size > MAX_SANDBOXES) for (const [first] of budgets) if (budgets.delete(first)) break
    budget.left = Math.min(BURST, budget.left + ((at - budget.at) / 1000) * PER_SECOND)
    budget.at = at
    if (budget.last === event && at - budget.lastAt < SAME_MS) return
    budget.last = event
    budget.lastAt = at
    if (budget.left < 1) {
      budget.unsaid++
      return
    }
    budget.left -= 1
    log.info(message, {
      sandbox,
      ...what,
      verdict: 'deny',
      reason,
      rule,
      ...(budget.unsaid > 0 && { unsaid: budget.unsaid }),
    })
    budget.unsaid = 0
  }
}
