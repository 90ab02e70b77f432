/** Lets a loop wait until somebody says that there is something to do. What is said while it works is not lost. */
export class Wake {
  #isCalled = false
  #settle = () => {}

  call(): void {
    this.#isCalled = true
    this.#settle()
  }

  /** Resolves at a call, one since the last wait included, after `ms`, or when the signal aborts. */
  async wait(signal: AbortSignal, ms?: number): Promise<void> {
    if (!this.#isCalled && !signal.aborted)
      await new Promise<void>((resolve) => {
        const timer = ms === undefined ? undefined : setTimeout(() => this.#settle(), ms)
        this.#settle = () => {
          clearTimeout(timer)
          signal.removeEventListener('abort', this.#settle)
          this.#settle = () => {}
          resolve()
        }
        signal.addEventListener('abort', this.#settle)
      })
    this.#isCalled = false
  }
}
