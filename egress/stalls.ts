// Who has something waiting for it and takes none of it. Pure: what is seen at each look is compared with the look before.

export class Stalls<Who> {
  readonly #limitMs: number
  /** Those for whom something waited at the last look. */
  #seen = new Map<Who, { taken: number; since: number }>()

  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /**
   * `waiting`: everybody for whom something waits now, with a number that changes when some of it is taken. Gives those for whom it has stayed
   * the same for too long, once.
   */
  look(waiting: Iterable<readonly [who: Who, taken: number]>, now: number): Who[] {
    const before = this.#seen
    const seen: typeof before = new Map()
    const stalled: Who[] = []
    for (const [who, taken] of waiting) {
      const last = before.get(who)
      const since = last?.taken === taken ? last.since : now
      if (now - since >= this.#limitMs) stalled.push(who)
      else seen.set(who, { taken, since })
    }
    this.#seen = seen
    return stalled
  }
}
