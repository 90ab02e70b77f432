// Pipes with names that a session's shell opens by itself. They come from a stock of their own, so that its directory is known here
// and nobody's command lacks a pipe because of sessions.

import { closeSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import type { Pipe, PipeStock } from '../command/pipes.ts'
import { execdError } from '../http/answer.ts'
import type { Surroundings } from '../surroundings.ts'

export type NamedPipe = Pipe & { path: string }

type Owner = { uid: number; gid: number }

export class SessionPipes {
  readonly #dir: string
  readonly #stock: PipeStock

  constructor({ dir, starter }: Pick<Surroundings, 'dir' | 'starter'>) {
    this.#dir = join(dir, 'session-pipes')
    this.#stock = starter.pipes.sibling(this.#dir)
  }

  /** A pipe that the owner may open by its path for as long as `writeFd` is open. Throws a refusal when there is none to be had. */
  take(owner: Owner): NamedPipe {
    const pipe = this.#stock.take(owner)
    if (!pipe) throw execdError('SERVICE_UNAVAILABLE', 'Sessions cannot be used now, as no pipe can be made')
    return { ...pipe, path: join(this.#dir, pipe.name) }
  }

  /** Two at once, or none. */
  takeTwo(owner: Owner): [NamedPipe, NamedPipe] {
    const first = this.take(owner)
    try {
      return [first, this.take(owner)]
    } catch (error) {
      release(first)
      throw error
    }
  }

  /** Moves a pipe to `path`. It is the caller's for good, who removes it. */
  place(path: string, owner: Owner): void {
    const pipe = this.take(owner)
    try {
      renameSync(pipe.path, path)
    } finally {
      release(pipe)
    }
  }
}

/** Not ended but destroyed, which tells the stock that it will not come back. */
function release({ read, writeFd }: Pipe): void {
  read.destroy()
  closeSync(writeFd)
}
