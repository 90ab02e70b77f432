// Pipes with names that a session's shell opens by itself. They come from a stock of their own, so that its directory is known here
// and nobody's command lacks a pipe because of sessions.

import { closeSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { type Pipe, PipeStock } from '../command/pipes.ts'
import { execdError } from '../http/answer.ts'
import { hostProgram } from '../runtime-dir.ts'
import type { Surroundings } from '../surroundings.ts'

/** As many as a stock holds unused: all of them are gone when someone has removed the directory, and then new ones are made. */
const MAX_TRIES = 300

export type NamedPipe = Pipe & { path: string }

type Owner = { uid: number; gid: number }

export class SessionPipes {
  readonly #dir: string
  readonly #stock: PipeStock

  constructor({ dir, log }: Pick<Surroundings, 'dir' | 'log'>) {
    this.#dir = join(dir, 'session-pipes')
    this.#stock = new PipeStock({ dir: this.#dir, mkfifo: hostProgram('mkfifo'), log })
  }

  /** A pipe that the owner may open by its path for as long as `writeFd` is open. Throws a refusal when there is none to be had. */
  async take(owner: Owner): Promise<NamedPipe> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const pipe = await this.#stock.take(owner)
      if (pipe) return { ...pipe, path: join(this.#dir, pipe.name) }
    }
    throw execdError('SERVICE_UNAVAILABLE', 'Sessions cannot be used now, as no pipe can be made')
  }

  /** Two at once, or none. */
  async takeTwo(owner: Owner): Promise<[NamedPipe, NamedPipe]> {
    const first = await this.take(owner)
    try {
      return [first, await this.take(owner)]
    } catch (error) {
      release(first)
      throw error
    }
  }

  /** Moves a pipe to `path`. It is the caller's for good, who removes it. */
  async place(path: string, owner: Owner): Promise<void> {
    const pipe = await this.take(owner)
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
