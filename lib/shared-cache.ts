// What is kept for many in one place of bounded size, where nobody pushes out what the others have: who has its share loses its own
// oldest for what is new, and when all together are too many, whoever has most does. What was asked for last is the newest.

export type SharedCacheLimits = { each: number; total: number }

type Kept<Value> = { value: Value; whose: string }

export class SharedCache<Value> {
  readonly #limits: SharedCacheLimits
  readonly #kept = new Map<string, Kept<Value>>()
  /** The keys of each, from the oldest. */
  readonly #keys = new Map<string, Set<string>>()

  constructor(limits: SharedCacheLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#kept.size
  }

  get(key: string): Value | undefined {
    const kept = this.#kept.get(key)
    if (!kept) return undefined
    const keys = this.#keys.get(kept.whose)
    keys?.delete(key)
    keys?.add(key)
    return kept.value
  }

  /** Keeps it in the share of the one for whom it was got; whose it was before does not count. */
  set(whose: string, key: string, value: Value): void {
    this.delete(key)
    const { each, total } = this.#limits
    if ((this.#keys.get(whose)?.size ?? 0) >= each) this.#dropOldest(whose)
    else if (this.#kept.size >= total) this.#dropOldest(this.#largest())
    const keys = this.#keys.get(whose) ?? new Set()
    this.#keys.set(whose, keys.add(key))
    this.#kept.set(key, { value, whose })
  }

  delete(key: string): void {
    const kept = this.#kept.get(key)
    if (!kept) return
    this.#kept.delete(key)
    const keys = this.#keys.get(kept.whose)
    keys?.delete(key)
    if (keys?.size === 0) this.#keys.delete(kept.whose)
  }

  /** Forgets all that is kept for one. */
  removeAll(whose: string): void {
    for (const key of this.#keys.get(whose) ?? []) this.#kept.delete(key)
    this.#keys.delete(whose)
  }

  #dropOldest(whose: string): void {
    const [oldest] = this.#keys.get(whose) ?? []
    if (oldest !== undefined) this.delete(oldest)
  }

  #largest(): string {
    let largest = { whose: '', size: 0 }
    for (const [whose, { size }] of this.#keys) if (size > largest.size) largest = { whose, size }
    return largest.whose
  }
}
