import { Exclusive } from '../exclusive.ts'

/** Sandboxes that the daemon has stand still while it reads their files: nobody is told, and nobody pauses them meanwhile. */
export class Standstill {
  readonly #exclusive = new Exclusive()
  readonly #held = new Set<string>()

  isHeld(id: string): boolean {
    return this.#held.has(id)
  }

  /** Does something that must not happen while a sandbox stands still. Rejects with the signal's reason when that takes too long. */
  apart<T>(id: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#exclusive.run(id, work, signal)
  }

  during<T>(id: string, work: () => Promise<T>): Promise<T> {
    return this.#exclusive.run(id, async () => {
      this.#held.add(id)
      try {
        return await work()
      } finally {
        this.#held.delete(id)
      }
    })
  }
}
