// Turns in the order of asking, one at a time. Who no longer wants its turn leaves the line at once.

export class Turns {
  readonly #maxWaiting: number
  readonly #waiting: ((isMine: boolean) => void)[] = []
  #isTaken = false

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting
  }

  /** Whether someone has the turn now. */
  get isTaken(): boolean {
    return this.#isTaken
  }

  get waiting(): number {
    return this.#waiting.length
  }

  get isFull(): boolean {
    return this.#waiting.length >= this.#maxWaiting
  }

  /** Resolves with true when it is the caller's turn, who has to give it on; with false once `left` is aborted before. */
  take(left: AbortSignal): Promise<boolean> {
    if (left.aborted) return Promise.resolve(false)
    if (!this.#isTaken) {
      this.#isTaken = true
      return Promise.resolve(true)
    }
    return new Promise((resolve) => {
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(answer), 1)
        resolve(false)
      }
      const answer = (isMine: boolean) => {
        left.removeEventListener('abort', leave)
        resolve(isMine)
      }
      left.addEventListener('abort', leave, { once: true })
      this.#waiting.push(answer)
    })
  }

  /** Gives the turn to who has waited longest. */
  give(): void {
    const next = this.#waiting.shift()
    if (next) next(true)
    else this.#isTaken = false
  }
}
