// So many things at a time. Others wait for a place in the order in which they came, but whoever has many waiting shares the places
// with those that have few: of all who wait, each gets one in turn.

export class Places {
  #free: number
  /** By who waits. Those that are first here have waited longest for their turn. */
  readonly #waiting = new Map<string, Set<() => void>>()

  constructor(count: number) {
    this.#free = count
  }

  /** Resolves with what gives the place back, which may be called again. Rejects with the signal's reason. */
  take(whose: string, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const enter = () => {
        signal.removeEventListener('abort', leave)
        let isTaken = true
        resolve(() => {
          if (isTaken) this.#giveBack()
          isTaken = false
        })
      }
      const leave = () => {
        this.#forget(whose, enter)
        reject(signal.reason)
      }
      if (this.#free > 0) {
        this.#free--
        return enter()
      }
      signal.addEventListener('abort', leave, { once: true })
      const others = this.#waiting.get(whose)
      if (others) others.add(enter)
      else this.#waiting.set(whose, new Set([enter]))
    })
  }

  #giveBack(): void {
    const [first] = this.#waiting
    const [enter] = first?.[1] ?? []
    if (!first || !enter) {
      this.#free++
      return
    }
    const [whose, others] = first
    this.#forget(whose, enter)
    // To the end of those who wait.
    if (this.#waiting.delete(whose)) this.#waiting.set(whose, others)
    enter()
  }

  #forget(whose: string, enter: () => void): void {
    const others = this.#waiting.get(whose)
    others?.delete(enter)
    if (others?.size === 0) this.#waiting.delete(whose)
  }
}
