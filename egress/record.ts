// What sandboxes tried and what was decided, for who asks: the last decisions of each one by one, and every name and address that it
// wanted, as long as there is room. All of it is in memory and goes with the sandbox; the log says the same for longer.

import type { NetworkPolicy, PolicyAction } from '../lib/api/network-policy.ts'

/** One decision. */
export type DecisionEvent = {
  /** Counts up within a sandbox, without gaps. */
  sequence: number
  /** RFC 3339, UTC. */
  at: string
  kind: 'name' | 'connection'
  verdict: PolicyAction
  reason: string
  rule?: string
  /** It stands for so many of the same. */
  count?: number
  name?: string
  address?: string
  protocol?: string
  port?: number
  /** Of a connection that egress has relayed, when it has ended. */
  bytesSent?: number
  bytesReceived?: number
  durationMs?: number
}

export type Decided = Omit<DecisionEvent, 'sequence' | 'at'>

export type DecisionPage = {
  events: DecisionEvent[]
  /** What `after` must be to go on from here. */
  next: number
  /** So many were asked for and are not kept any more. */
  lost: number
}

export type RecordLimits = { perSandbox: number; wantedPerSandbox: number; sandboxes: number }

const LIMITS: RecordLimits = { perSandbox: 500, wantedPerSandbox: 1000, sandboxes: 2000 }
const MAX_TEXT = 300

type Entry = { events: DecisionEvent[]; sequence: number; wanted: Map<string, PolicyAction> }

export class DecisionRecord {
  readonly #limits: RecordLimits
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()

  constructor({ limits = LIMITS, now = Date.now }: { limits?: RecordLimits; now?: () => number } = {}) {
    this.#limits = limits
    this.#now = now
  }

  add(id: string, decided: Decided): void {
    const entry = this.#entryOf(id)
    entry.events.push({
      sequence: ++entry.sequence,
      at: new Date(this.#now()).toISOString(),
      ...decided,
      reason: decided.reason.slice(0, MAX_TEXT),
    })
    // In one go now and then: taking the first of an array away moves all others.
    if (entry.events.length >= this.#limits.perSandbox * 2) entry.events.splice(0, this.#limits.perSandbox)
    const wanted = decided.name ?? decided.address
    if (wanted === undefined) return
    if (entry.wanted.size < this.#limits.wantedPerSandbox || entry.wanted.has(wanted))
      entry.wanted.set(wanted, decided.verdict)
  }

  /** The decisions after one, the oldest first. */
  page(id: string, { after, limit }: { after: number; limit: number }): DecisionPage {
    const kept = this.#entries.get(id)?.events.slice(-this.#limits.perSandbox) ?? []
    const events = kept.filter(({ sequence }) => sequence > after).slice(0, limit)
    const first = kept[0]?.sequence ?? after + 1
    return { events, next: events.at(-1)?.sequence ?? after, lost: Math.max(0, first - 1 - after) }
  }

  /** A policy that allows what the sandbox wanted, and nothing else. What is denied now is in it only when asked for. */
  propose(id: string, { includeDenied }: { includeDenied: boolean }): NetworkPolicy {
    const wanted = [...(this.#entries.get(id)?.wanted ?? [])]
    const targets = wanted
      .filter(([, verdict]) => includeDenied || verdict === 'allow')
      .map(([target]) => target)
    return {
      defaultAction: 'deny',
      egress: targets.sort().map((target) => ({ action: 'allow', target })),
    }
  }

  remove(id: string): void {
    this.#entries.delete(id)
  }

  #entryOf(id: string): Entry {
    const known = this.#entries.get(id)
    if (known) return known
    const entry: Entry = { events: [], sequence: 0, wanted: new Map() }
    this.#entries.set(id, entry)
    if (this.#entries.size > this.#limits.sandboxes)
      for (const [first] of this.#entries) if (this.#entries.delete(first)) break
    return entry
  }
}
