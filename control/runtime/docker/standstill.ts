// Sandboxes that the daemon has stand still while it reads their files: nobody is told, and nobody pauses them meanwhile. A mark in the
// sandbox's directory says that it is ours to let go on, should the daemon, or this process, die in between.

import { existsSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Exclusive } from '../exclusive.ts'
import { RuntimeError } from '../runtime.ts'
import { EngineRefusal } from './engine.ts'

const MARK = 'held'

export type StandstillOptions = {
  /** The directory of a sandbox. */
  folderOf: (id: string) => string
  /** Lets a sandbox go on; fine when it does. */
  letGoOn: (id: string, signal: AbortSignal) => Promise<void>
}

export class Standstill {
  readonly #options: StandstillOptions
  readonly #exclusive = new Exclusive()
  readonly #held = new Set<string>()

  constructor(options: StandstillOptions) {
    this.#options = options
  }

  isHeld(id: string): boolean {
    return this.#held.has(id) || existsSync(this.#markOf(id))
  }

  /** Does something that must not happen while a sandbox stands still. Rejects with the signal's reason when that takes too long. */
  apart<T>(id: string, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#exclusive.run(
      id,
      async () => {
        await this.#letGoOn(id, signal)
        return await work()
      },
      signal,
    )
  }

  during<T>(id: string, work: () => Promise<T>): Promise<T> {
    return this.#exclusive.run(id, async () => {
      await writeFile(this.#markOf(id), '')
      this.#held.add(id)
      let isOver = true
      try {
        return await work()
      } catch (error) {
        isOver = isAnswered(error)
        throw error
      } finally {
        this.#held.delete(id)
        if (isOver) await rm(this.#markOf(id), { force: true })
      }
    })
  }

  /** Lets go on those of `ids` that a daemon or a process has held that is gone. */
  async recover(ids: readonly string[], signal: AbortSignal): Promise<void> {
    for (const id of ids)
      if (!this.#held.has(id) && existsSync(this.#markOf(id))) await this.apart(id, async () => {}, signal)
  }

  async #letGoOn(id: string, signal: AbortSignal): Promise<void> {
    if (!existsSync(this.#markOf(id))) return
    await this.#options.letGoOn(id, signal)
    await rm(this.#markOf(id), { force: true })
  }

  #markOf(id: string): string {
    return join(this.#options.folderOf(id), MARK)
  }
}

/** Whether the daemon has ended what it was asked for, as it then lets the sandbox go on by itself. */
function isAnswered(error: unknown): boolean {
  return error instanceof EngineRefusal || (error instanceof RuntimeError && error.failure !== 'unavailable')
}
