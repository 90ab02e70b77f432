// What is being made and has not taken its place yet: when execd ends, it is removed, so that a sandbox that goes on does not keep
// pieces of what nobody waits for any more.

import { rmSync } from 'node:fs'
import { execdError } from '../http/answer.ts'
import { nativePath } from './name.ts'

export class Unfinished {
  readonly #paths = new Set<string>()
  readonly #beginning = new Set<Promise<unknown>>()
  #isEnding = false

  /** Makes what will stand at `path`, by `make`; from before that on it is unfinished. */
  async begin<T>(path: string, make: () => Promise<T>): Promise<T> {
    if (this.#isEnding)
      throw execdError('SERVICE_UNAVAILABLE', 'Nothing more is written, as the sandbox ends')
    this.#paths.add(path)
    const making = make()
    this.#beginning.add(making)
    try {
      return await making
    } catch (error) {
      this.#paths.delete(path)
      throw error
    } finally {
      this.#beginning.delete(making)
    }
  }

  /** Whether it was unfinished until now. */
  finish(path: string): boolean {
    return this.#paths.delete(path)
  }

  /** Removes everything that is unfinished; from here on nothing is begun. */
  async removeAll(): Promise<void> {
    this.#isEnding = true
    await Promise.allSettled(this.#beginning)
    for (const path of this.#paths) {
      try {
        rmSync(nativePath(path), { recursive: true, force: true })
      } catch {
        // Someone else holds on to it, and ends with the sandbox as well.
      }
    }
  }
}
