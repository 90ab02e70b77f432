// What sandboxes tried and what was decided, for who asks: the last decisions of each one by one, and every name and address that it
// wanted, as long as there is room. All of it is in memory and goes with the sandbox; the log says the same for longer.

import type { NetworkPolicy, PolicyAction } from '../lib/api/network-policy.ts'
import { EventLog } from './event-log.ts'
import { noteWanted, type ProposalOptions, proposePolicy, type Wanted } from './proposal.ts'

/** One decision. */
export type DecisionEvent = {
  /** Counts up within a sandbox, without gaps. */
  sequence: number
  /** RFC 3339, UTC. */
  at: string
  kind: 'name' | 'connection' | 'request'
  verdict: PolicyAction
  reason: string
  rule?: string
  /** It stands for so many of the same. */
  count?: number
  name?: string
  address?: string
  protocol?: string
  port?: number
  /** How it came here, when not by itself: `http` and `socks5` through the proxy. */
  via?: string
  /** Of a connection that egress has relayed, when it has ended. */
  bytesSent?: number
  bytesReceived?: number
  durationMs?: number
}

export type Decided = Omit<DecisionEvent, 'sequence' | 'at'>

/** An event as it is told: whose it is stands in each. */
export type ToldEvent = DecisionEvent & { sandboxId: string; tenant?: string }

export type DecisionPage = {
  events: ToldEvent[]
  /** What `after` must be to go on from here. */
  next: number
  /** So many were asked for and are not kept any more. */
  lost: number
}

export type RecordLimits = {
  perSandbox: number
  wantedPerSandbox: number
  sandboxes: number
  /** Events of all sandboxes together. */
  total: number
}

export type RecordOptions = {
  limits?: Partial<RecordLimits>
  tenantOf?: (id: string) => string | undefined
  /** Hears of every decision. */
  onDecided?: (decided: Decided) => void
  now?: () => number
}

const LIMITS: RecordLimits = { perSandbox: 500, wantedPerSandbox: 1000, sandboxes: 2000, total: 50_000 }
const MAX_TEXT = 300

/** `sequence`: of the newest event, from which those of the others follow. */
type Entry = { events: EventLog<Kept>; sequence: number; wanted: Wanted; watchers: Set<() => void> }
/** The time, as it is told, is written when somebody asks. */
type Kept = { atMs: number; decided: Decided }

export class DecisionRecord {
  /** Another one after a restart, when everything is counted from the beginning. */
  readonly epoch: string
  readonly #limits: RecordLimits
  readonly #now: () => number
  readonly #tenantOf: (id: string) => string | undefined
  readonly #onDecided: ((decided: Decided) => void) | undefined
  readonly #entries = new Map<string, Entry>()
  #total = 0

  constructor({ limits, tenantOf = () => undefined, onDecided, now = Date.now }: RecordOptions = {}) {
    this.#limits = { ...LIMITS, ...limits }
    this.#now = now
    this.#tenantOf = tenantOf
    this.#onDecided = onDecided
    this.epoch = now().toString(36)
  }

  add(id: string, told: Decided): void {
    this.#onDecided?.(told)
    const entry = this.#entryOf(id)
    const decided = shortened(told)
    entry.events.add({ atMs: this.#now(), decided })
    entry.sequence++
    this.#total++
    // In one go now and then: taking the first of an array away moves all others.
    if (entry.events.length >= this.#limits.perSandbox * 2) this.#drop(entry, this.#limits.perSandbox)
    if (this.#total > this.#limits.total) this.#makeRoom()
    noteWanted(entry.wanted, decided, this.#limits.wantedPerSandbox)
    for (const watcher of entry.watchers) watcher()
  }

  /** The decisions after one, the oldest first. */
  page(id: string, { after, limit }: { after: number; limit: number }): DecisionPage {
    const entry = this.#entries.get(id)
    const newest = entry?.sequence ?? after
    const length = entry?.events.length ?? 0
    /** Of the oldest event that is there, and of the oldest that is told. */
    const oldest = newest - length + 1
    const first = Math.max(oldest, newest - this.#limits.perSandbox + 1)
    const from = Math.max(first, after + 1)
    const kept = entry?.events.read(from - oldest, from - oldest + limit) ?? []
    const tenant = this.#tenantOf(id)
    const events = kept.map(({ atMs, decided }, at) => ({
      sequence: from + at,
      at: new Date(atMs).toISOString(),
      ...decided,
      sandboxId: id,
      ...(tenant !== undefined && { tenant }),
    }))
    return { events, next: events.at(-1)?.sequence ?? after, lost: Math.max(0, first - 1 - after) }
  }

  /** The sequence of the last decision, or 0. */
  newest(id: string): number {
    return this.#entries.get(id)?.sequence ?? 0
  }

  /** Resolves when something is added for the sandbox, or when the signal aborts. */
  async changed(id: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const { watchers } = this.#entryOf(id)
    await new Promise<void>((resolve) => {
      const settle = () => {
        watchers.delete(settle)
        signal.removeEventListener('abort', settle)
        resolve()
      }
      watchers.add(settle)
      signal.addEventListener('abort', settle, { once: true })
    })
  }

  /** A policy that allows what the sandbox wanted, and nothing else. What is denied now is in it only when asked for. */
  propose(id: string, options: ProposalOptions): NetworkPolicy {
    return proposePolicy(this.#entries.get(id)?.wanted ?? new Map(), options)
  }

  remove(id: string): void {
    const entry = this.#entries.get(id)
    if (!entry) return
    this.#entries.delete(id)
    this.#total -= entry.events.length
    for (const watcher of [...entry.watchers]) watcher()
  }

  #entryOf(id: string): Entry {
    const known = this.#entries.get(id)
    if (known) return known
    const entry: Entry = { events: new EventLog(), sequence: 0, wanted: new Map(), watchers: new Set() }
    this.#entries.set(id, entry)
    if (this.#entries.size > this.#limits.sandboxes) {
      const [first] = this.#entries.keys()
      if (first !== undefined) this.remove(first)
    }
    return entry
  }

  /** Half of what the sandbox has that has most, so that one which is loud takes nothing from the others. */
  #makeRoom(): void {
    let largest: Entry | undefined
    for (const entry of this.#entries.values())
      if (!largest || entry.events.length > largest.events.length) largest = entry
    if (largest) this.#drop(largest, Math.ceil(largest.events.length / 2))
  }

  #drop({ events }: Entry, count: number): void {
    events.dropOldest(count)
    this.#total -= count
  }
}

function shortened(decided: Decided): Decided {
  const { reason } = decided
  return reason.length <= MAX_TEXT ? decided : { ...decided, reason: reason.slice(0, MAX_TEXT) }
}
