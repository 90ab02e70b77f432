// What traffic does for a sandbox (contract: lifecycle.md 7.1): it renews its end, and keeps it from being paused as idle.
// Gateways tell every few seconds which sandboxes something was sent to or came from, and how long ago; only for those that
// asked for it. Most of what they tell changes a time by a few seconds and stays in memory: a row is written when it gains
// enough, and whoever is about to end or pause a sandbox asks first (`settle`). So the times are exact, and writes are rare.

import type { ActivityReport } from '../../lib/api/routes-feed.ts'
import type { Logger } from '../../lib/log.ts'
import type { SandboxChange, SandboxRow } from '../store/rows.ts'
import type { Store } from '../store/sqlite.ts'

/** What is told of longer ago is not believed: no gateway keeps it so long. */
export const MAX_AGE_MS = 15 * 60_000
/** A row is written when it gains a twentieth of what traffic gives, and at the latest a minute. */
const WRITE_SHARE = 20
const LONGEST_UNWRITTEN_MS = 60_000
/**
 * Traffic went on while no control ran. What would be due at once at the start has so long until the gateways have told
 * what they saw.
 */
const GRACE_MS = 6000

export type ActivitySettings = {
  maxTimeoutMs: number
  /** Whether traffic renews anything, as it does when nothing else is said. */
  renewsOnAccess?: boolean
  /** At least so long is between two renewals of one sandbox that are written before its end is near. */
  renewIntervalMs?: number
}

export type ActivityOptions = {
  store: Store
  now: () => number
  settings: ActivitySettings
  log: Logger
}

type Row = Pick<
  SandboxRow,
  'state' | 'hidden' | 'renewSeconds' | 'idleSeconds' | 'expiresAt' | 'activeAt' | 'lastTransitionAt'
>

/** Whether traffic means anything to a sandbox. */
export function countsTraffic({ renewSeconds, idleSeconds }: Row): boolean {
  return renewSeconds !== null || idleSeconds !== null
}

/** When an idle sandbox is to be paused; undefined when it is not. */
export function idleAtOf(row: Row): number | undefined {
  const { idleSeconds, state, hidden, activeAt, lastTransitionAt } = row
  if (idleSeconds === null || state !== 'Running' || hidden) return undefined
  return (activeAt ?? lastTransitionAt) + idleSeconds * 1000
}

/** What traffic at `at` changes: nothing is ever brought forward by it. Undefined when it is nothing. */
export function decideActivity(
  row: Row,
  at: number,
  { now, maxTimeoutMs, renewsOnAccess = true }: Omit<ActivitySettings, 'renewIntervalMs'> & { now: number },
): SandboxChange | undefined {
  if (row.state !== 'Running' || row.hidden) return undefined
  const change: SandboxChange = {}
  if (renewsOnAccess && row.renewSeconds !== null && row.expiresAt !== null) {
    const expiresAt = Math.min(at + row.renewSeconds * 1000, now + maxTimeoutMs)
    if (expiresAt > row.expiresAt) change.expiresAt = expiresAt
  }
  if (row.idleSeconds !== null && at > (row.activeAt ?? row.lastTransitionAt)) change.activeAt = at
  return Object.keys(change).length > 0 ? change : undefined
}

/** Whether a change is large enough to be written before something depends on it. */
export function isWorthWriting(
  row: Row,
  { expiresAt, activeAt }: SandboxChange,
  renewIntervalMs?: number,
): boolean {
  const isMuch = (gainMs: number, seconds: number | null, leastMs?: number) =>
    seconds !== null && gainMs >= (leastMs ?? Math.min((seconds * 1000) / WRITE_SHARE, LONGEST_UNWRITTEN_MS))
  return (
    (expiresAt != null &&
      row.expiresAt !== null &&
      isMuch(expiresAt - row.expiresAt, row.renewSeconds, renewIntervalMs)) ||
    (activeAt != null && isMuch(activeAt - (row.activeAt ?? row.lastTransitionAt), row.idleSeconds))
  )
}

/** What lets a sandbox run until `soonest`. */
function decideGrace(row: Row, soonest: number): SandboxChange | undefined {
  if (row.state !== 'Running') return undefined
  const change: SandboxChange = {}
  if (row.renewSeconds !== null && row.expiresAt !== null && row.expiresAt < soonest)
    change.expiresAt = soonest
  const idleAt = idleAtOf(row)
  if (idleAt !== undefined && idleAt < soonest)
    change.activeAt = (row.activeAt ?? row.lastTransitionAt) + soonest - idleAt
  return Object.keys(change).length > 0 ? change : undefined
}

type Known = {
  row: Row
  seenAt: number
  /** Traffic until then counts no more: somebody has set an earlier end since. */
  endsFrom: number
}

export class Activity implements Disposable {
  readonly #options: ActivityOptions
  /** The sandboxes that traffic means something to, as they are written, and the last traffic known of. */
  readonly #known = new Map<string, Known>()
  readonly #stopWatching: () => void

  constructor(options: ActivityOptions) {
    this.#options = options
    const { store } = options
    for (const row of store.all()) this.#follow(row.id, row)
    this.#stopWatching = store.watch(({ id, row }) => this.#follow(id, row))
  }

  /** Gives sandboxes that would be ended or paused at once the time in which gateways tell of traffic. */
  grantGrace(): void {
    const { store, now } = this.#options
    const soonest = now() + GRACE_MS
    this.#forEach((id) => store.change(id, (row) => decideGrace(row, soonest)))
  }

  /** Takes what a gateway tells. */
  record(reports: readonly ActivityReport[]): void {
    const now = this.#options.now()
    for (const { id, ageMs } of reports) {
      const known = this.#known.get(id)
      const at = now - Math.max(ageMs, 0)
      if (!known || ageMs > MAX_AGE_MS || at <= known.seenAt || at <= known.endsFrom) continue
      known.seenAt = at
      const change = this.#decide(known.row, at)
      if (change && isWorthWriting(known.row, change, this.#options.settings.renewIntervalMs)) this.settle(id)
    }
  }

  /** Writes what is known of a sandbox's traffic, so that its row can be judged. */
  settle(id: string): void {
    const { seenAt, endsFrom } = this.#known.get(id) ?? { seenAt: 0, endsFrom: 0 }
    if (seenAt > endsFrom) this.#options.store.change(id, (row) => this.#decide(row, seenAt))
  }

  /** Writes everything, before the program ends. */
  settleAll(): void {
    this.#forEach((id) => this.settle(id))
  }

  /** The wall clock has jumped; the rows have been moved along. */
  shift(byMs: number): void {
    const { store } = this.#options
    for (const [id, known] of this.#known) {
      if (known.seenAt > 0) known.seenAt += byMs
      if (known.endsFrom > 0) known.endsFrom += byMs
      const row = store.get(id)
      if (row) known.row = row
    }
  }

  [Symbol.dispose](): void {
    this.#stopWatching()
  }

  /** What cannot be written for one does not keep the others from it, nor the program from starting and stopping. */
  #forEach(write: (id: string) => void): void {
    for (const id of [...this.#known.keys()])
      try {
        write(id)
      } catch (error) {
        this.#options.log.warn('the traffic of a sandbox could not be written down', { sandbox: id, error })
      }
  }

  #decide(row: Row, at: number): SandboxChange | undefined {
    const { now, settings } = this.#options
    return decideActivity(row, at, { ...settings, now: now() })
  }

  #follow(id: string, row: SandboxRow | undefined): void {
    if (!row || !countsTraffic(row)) {
      this.#known.delete(id)
      return
    }
    const known = this.#known.get(id)
    if (!known) {
      this.#known.set(id, { row, seenAt: 0, endsFrom: 0 })
      return
    }
    const before = known.row.expiresAt
    if (before !== null && row.expiresAt !== null && row.expiresAt < before)
      known.endsFrom = this.#options.now()
    known.row = row
  }
}
