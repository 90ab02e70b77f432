// The addresses that a sandbox has learned from DNS: which names led to each, until when, and whether the kernel has it. What is
// known here survives a change of policy as far as the new policy still allows one of the names.

import type { LearnedElement } from './nft/rules.ts'

type Entry = {
  /**
   * Names by canonical form, the one that was last answered at the end, and what each was an alias for. None for what an earlier run of
   * egress had learned.
   */
  names: Map<string, readonly string[]>
  until: number
  /** Settles once the kernel has the address; undefined while it need not have it. */
  applied: Promise<void> | undefined
}

export type LearnPlan = {
  /** What the kernel must be told; empty when it knows enough. */
  elements: LearnedElement[]
  /** Of addresses that an earlier answer is bringing into the kernel right now. */
  underWay: Promise<void>[]
}

/** So many addresses of one sandbox are known at once; a further one is refused, which its sandbox sees as a failed lookup. */
const MAX_ADDRESSES = 4096
/** Shared servers have many names. */
const MAX_NAMES_PER_ADDRESS = 128
/** Of all its names together. */
const MAX_ALIASES_PER_ADDRESS = 512
/** An address stays open a minute longer than the answer is good, and between one and six minutes (contract: egress.md 4.2). */
const GRACE_SECONDS = 60
const MAX_SECONDS = 360
/** How much longer than the answer's TTL an address must still be open to be left alone. */
const MARGIN_SECONDS = 10
/** The kernel's time began when it was told, so it may keep an element for this much longer than is noted here. */
const KERNEL_LAG_MS = 2000

/** How long an address of an answer with this TTL stays open. */
export function learnedSeconds(ttl: number): number {
  return Math.min(Math.max(ttl + GRACE_SECONDS, GRACE_SECONDS), MAX_SECONDS)
}

export class Learned {
  readonly #entries = new Map<string, Entry>()
  readonly #pins: ReadonlyMap<string, string>

  /** `pins`: addresses of names that the operator knows, whatever a name server says. */
  constructor(pins: ReadonlyMap<string, string> = new Map()) {
    this.#pins = pins
  }

  get size(): number {
    return this.#entries.size
  }

  /** Notes an answer, of a name that is an alias for others or is not. `undefined`: there are too many addresses already. */
  note(
    name: string,
    addresses: readonly string[],
    ttl: number,
    now: number,
    aliases: readonly string[] = [],
  ): LearnPlan | undefined {
    const added = addresses.filter((address) => !this.#entries.has(address)).length
    if (this.#entries.size + added > MAX_ADDRESSES) this.#dropExpired(now)
    if (this.#entries.size + added > MAX_ADDRESSES) return undefined
    const plan: LearnPlan = { elements: [], underWay: [] }
    const seconds = learnedSeconds(ttl)
    for (const address of new Set(addresses)) {
      const entry = this.#entries.get(address) ?? { names: new Map(), until: 0, applied: undefined }
      this.#entries.set(address, entry)
      entry.names.delete(name)
      entry.names.set(name, aliases)
      dropOldest(entry.names)
      const needed = now + (Math.min(ttl, MAX_SECONDS - GRACE_SECONDS) + MARGIN_SECONDS) * 1000
      if (entry.applied && entry.until >= needed) {
        plan.underWay.push(entry.applied)
        continue
      }
      const isThere = entry.applied !== undefined && entry.until + KERNEL_LAG_MS > now
      entry.until = now + seconds * 1000
      plan.elements.push({ address, seconds, ...(isThere && { isThere }) })
    }
    return plan
  }

  /** Says that the kernel is being told; when it refuses, the next answer tells it again. */
  applying(elements: readonly LearnedElement[], applied: Promise<void>): void {
    for (const { address } of elements) {
      const entry = this.#entries.get(address)
      if (entry) entry.applied = applied
    }
    applied.catch(() => {
      for (const { address } of elements) {
        const entry = this.#entries.get(address)
        if (entry?.applied === applied) entry.applied = undefined
      }
    })
  }

  has(address: string): boolean {
    return this.#entries.has(address)
  }

  /** Whether an answer for the name had the address. For what an earlier run has learned, nobody knows which name it was. */
  leads(name: string, address: string): boolean {
    const entry = this.#entries.get(address)
    return this.leadsSurely(name, address) || entry?.names.size === 0
  }

  /** The same where a secret depends on it: what an earlier run has learned is no proof of any name. */
  leadsSurely(name: string, address: string): boolean {
    return this.#pins.get(name) === address || (this.#entries.get(address)?.names.has(name) ?? false)
  }

  /** What the name was an alias for when it led to the address; of what is not known, nothing. */
  aliasesOf(name: string, address: string): readonly string[] {
    return this.#entries.get(address)?.names.get(name) ?? []
  }

  /** Takes over what the kernel still has from an earlier run of egress. */
  adopt(elements: readonly LearnedElement[], now: number): void {
    for (const { address, seconds } of elements.slice(0, MAX_ADDRESSES))
      this.#entries.set(address, {
        names: new Map(),
        until: now + seconds * 1000,
        applied: Promise.resolve(),
      })
  }

  /** Forgets every address that no name leads to which is still allowed, as an alias for what it was. */
  retain(isAllowed: (name: string, aliases: readonly string[]) => boolean): void {
    for (const [address, { names }] of this.#entries) {
      for (const [name, aliases] of names) if (!isAllowed(name, aliases)) names.delete(name)
      if (names.size === 0) this.#entries.delete(address)
    }
  }

  /** What the kernel should have, with the time that is left. */
  elements(now: number): LearnedElement[] {
    this.#dropExpired(now)
    return [...this.#entries]
      .filter(([, { until }]) => until > now)
      .map(([address, { until }]) => ({ address, seconds: Math.ceil((until - now) / 1000) }))
  }

  #dropExpired(now: number): void {
    for (const [address, { until }] of this.#entries)
      if (until + KERNEL_LAG_MS <= now) this.#entries.delete(address)
  }
}

/** A name that is forgotten is asked for again. */
function dropOldest(names: Map<string, readonly string[]>): void {
  let aliases = 0
  for (const each of names.values()) aliases += each.length
  for (const [oldest, { length }] of names) {
    if (names.size <= MAX_NAMES_PER_ADDRESS && aliases <= MAX_ALIASES_PER_ADDRESS) return
    names.delete(oldest)
    aliases -= length
  }
}
