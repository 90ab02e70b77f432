// Sandboxes of which something went wrong after the caller was answered, or could not be put right at once: a removal that
// failed, a row that could not be written because the disk was full. They are looked at again soon, with growing pauses,
// instead of when the next pass over everything happens to come.

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 30_000

export class Doubts {
  readonly #entries = new Map<string, { attempts: number; at: number }>()
  #wake = () => {}

  /** Notes that a sandbox has to be looked at. */
  add(id: string, now: number): void {
    const attempts = (this.#entries.get(id)?.attempts ?? 0) + 1
    const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (attempts - 1), LONGEST_PAUSE_MS)
    this.#entries.set(id, { attempts, at: now + pauseMs })
    this.#wake()
  }

  /** Forgets a sandbox that is as it should be. */
  clear(id: string): void {
    this.#entries.delete(id)
  }

  /** The ids whose time has come. */
  due(now: number): string[] {
    return [...this.#entries].filter(([, { at }]) => at <= now).map(([id]) => id)
  }

  /** Waits until there may be something due, or the signal aborts. */
  async wait(now: number, signal: AbortSignal): Promise<void> {
    const next = Math.min(...[...this.#entries.values()].map(({ at }) => at))
    await new Promise<void>((resolve) => {
      const settle = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', settle)
        this.#wake = () => {}
        resolve()
      }
      const timer = setTimeout(settle, Math.min(Math.max(next - now, 5), LONGEST_PAUSE_MS))
      signal.addEventListener('abort', settle)
      this.#wake = settle
      if (signal.aborted) settle()
    })
  }
}
