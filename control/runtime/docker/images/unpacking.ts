// Holds a pull to what its image may take while the daemon unpacks it: a few megabytes can unpack to as much as the disk holds, and the
// daemon tells only how much of what came it has read. Of its data, the layers that came since the pull began are looked at, and
// only when so much of the disk has gone meanwhile that they may be too large.

import { readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { messageOf } from '../../../../lib/errors.ts'
import type { Logger } from '../../../../lib/log.ts'
import { runProgram } from '../../../../lib/run-program.ts'
import { pause } from '../../../async.ts'
import { formatSize } from '../../../image/follow-size.ts'
import { RuntimeError } from '../../runtime.ts'

const EVERY_MS = 100
const WALK_TIMEOUT_MS = 60_000
/** The writable part of a container has a sibling with this at the end of its name; that of an image has none. */
const OF_CONTAINER = '-init'

export class Unpacking {
  readonly #folder: string
  readonly #log: Logger
  #pulls = 0

  /** `folder` is where the daemon's storage driver keeps layers, each in a directory of its own. */
  constructor(folder: string, log: Logger) {
    this.#folder = folder
    this.#log = log
  }

  /**
   * Does a pull with a signal that aborts once more has been unpacked than may be. Which layer belongs to which of several pulls
   * nobody can tell: together they may take what each of them may.
   */
  async within<T>(
    { maxBytes, shownAs }: { maxBytes: number; shownAs: string },
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const over = new AbortController()
    const ended = new AbortController()
    const watching = AbortSignal.any([signal, ended.signal])
    this.#pulls++
    const watched = this.#watch(maxBytes, watching).then(
      (isTooLarge) => {
        if (isTooLarge)
          over.abort(
            new RuntimeError(
              'image_too_large',
              `Image "${shownAs}" is too large: it may take at most ${formatSize(maxBytes)} (runtime.image_max_unpacked_bytes)`,
            ),
          )
      },
      (error) => {
        if (!watching.aborted)
          this.#log.warn('a pull goes on without a look at what is unpacked', { error: messageOf(error) })
      },
    )
    try {
      return await work(AbortSignal.any([signal, over.signal]))
    } catch (error) {
      signal.throwIfAborted()
      throw over.signal.aborted ? over.signal.reason : error
    } finally {
      ended.abort()
      await watched
      this.#pulls--
    }
  }

  /** Resolves to true once it is too much, and to false when there is no more to watch. */
  async #watch(maxBytes: number, signal: AbortSignal): Promise<boolean> {
    const before = new Set(await readdir(this.#folder))
    let left = await freeAt(this.#folder)
    let used = 0
    while (!signal.aborted) {
      await pause(EVERY_MS, signal)
      const now = await freeAt(this.#folder)
      if (signal.aborted || used + left - now <= maxBytes) continue
      used = await this.#sizeOfNew(before, signal)
      left = now
      if (used > maxBytes * this.#pulls) return true
    }
    return false
  }

  async #sizeOfNew(before: Set<string>, signal: AbortSignal): Promise<number> {
    const names = new Set(await readdir(this.#folder))
    const layers = [...names].filter(
      (name) =>
        !before.has(name) &&
        /^[\w-]+$/.test(name) &&
        !name.endsWith(OF_CONTAINER) &&
        !names.has(name + OF_CONTAINER),
    )
    if (layers.length === 0) return 0
    const args = ['--summarize', '--total', '--block-size=1', '--one-file-system', '--']
    // Of what goes while this walks it complains, and counts the rest.
    const { stdout } = await runProgram('du', [...args, ...layers.map((name) => join(this.#folder, name))], {
      signal,
      timeoutMs: WALK_TIMEOUT_MS,
    })
    return Number(/^(\d+)\ttotal$/m.exec(stdout)?.[1] ?? 0)
  }
}

async function freeAt(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}
