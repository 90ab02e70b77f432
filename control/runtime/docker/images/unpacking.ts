// Holds a pull to what its image may take while the daemon unpacks it: a few megabytes can unpack to as much as the disk holds, and the
// daemon tells only how much of what came it has read. Of its data, the layers that came since the pull began are looked at, and
// only when so much of the disk has gone meanwhile that they may be too large.

import { readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { runProgram } from '../../../../lib/run-program.ts'
import { pause } from '../../../async.ts'
import { formatSize } from '../../../image/follow-size.ts'
import { RuntimeError, type RuntimeFailure } from '../../runtime.ts'

const EVERY_MS = 100
const WALK_TIMEOUT_MS = 60_000
/** No image that is meant well has as many; files of no size take room, too. */
const MAX_FILES = 5_000_000
/** The writable part of a container has a sibling with this at the end of its name; that of an image has none. */
const OF_CONTAINER = '-init'

export class Unpacking {
  readonly #folder: string
  #pulls = 0

  /** `folder` is where the daemon's storage driver keeps layers, each in a directory of its own. */
  constructor(folder: string) {
    this.#folder = folder
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
    const fail = (failure: RuntimeFailure, message: string, cause?: unknown) =>
      over.abort(new RuntimeError(failure, message, { cause }))
    const watched = this.#watch(maxBytes, watching).then(
      (tooMuch) => {
        if (tooMuch)
          fail(
            'image_too_large',
            `Image "${shownAs}" is too large: it may take at most ${tooMuch} (runtime.image_max_unpacked_bytes)`,
          )
      },
      (error) => {
        // What cannot be measured could be anything.
        if (!watching.aborted)
          fail(
            'image_pull_failed',
            `Cannot pull image "${shownAs}": what it unpacks to cannot be measured`,
            error,
          )
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

  /** Resolves to what would be allowed once it is too much, and to undefined when there is no more to watch. */
  async #watch(maxBytes: number, signal: AbortSignal): Promise<string | undefined> {
    const before = new Set(await readdir(this.#folder))
    let left = await freeAt(this.#folder)
    let used = { bytes: 0, files: 0 }
    while (!signal.aborted) {
      await pause(EVERY_MS, signal)
      const now = await freeAt(this.#folder)
      const isFine =
        used.bytes + left.bytes - now.bytes <= maxBytes && used.files + left.files - now.files <= MAX_FILES
      if (signal.aborted || isFine) continue
      used = {
        bytes: await this.#sumOfNew('--block-size=1', before, signal),
        files: await this.#sumOfNew('--inodes', before, signal),
      }
      left = now
      if (used.bytes > maxBytes * this.#pulls) return formatSize(maxBytes)
      if (used.files > MAX_FILES * this.#pulls) return `${MAX_FILES} files`
    }
    return undefined
  }

  async #sumOfNew(unit: string, before: Set<string>, signal: AbortSignal): Promise<number> {
    const names = new Set(await readdir(this.#folder))
    const layers = [...names].filter(
      (name) =>
        !before.has(name) &&
        /^[\w-]+$/.test(name) &&
        !name.endsWith(OF_CONTAINER) &&
        !names.has(name + OF_CONTAINER),
    )
    if (layers.length === 0) return 0
    const args = ['--summarize', '--total', unit, '--one-file-system', '--']
    // Of what goes while this walks it complains, and counts the rest.
    const { stdout } = await runProgram('du', [...args, ...layers.map((name) => join(this.#folder, name))], {
      signal,
      timeoutMs: WALK_TIMEOUT_MS,
    })
    const total = /^(\d+)\ttotal$/m.exec(stdout)?.[1]
    if (total === undefined) throw new Error('du says no total')
    return Number(total)
  }
}

async function freeAt(folder: string): Promise<{ bytes: number; files: number }> {
  const { bavail, bsize, ffree } = await statfs(folder)
  return { bytes: bavail * bsize, files: ffree }
}
