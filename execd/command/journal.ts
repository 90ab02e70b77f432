// Output that outlives its process, on disk and bounded: two files, of which the older is dropped when the newer is full.
// Positions count every byte that was ever written, so a reader's cursor stays true after bytes have been dropped.

import { closeSync, openSync, renameSync, rmSync, writeSync } from 'node:fs'
import type { OutputSink } from './output.ts'

export type JournalOptions = {
  path: string
  /** At most this many bytes are kept, and at least half of them once there were as many. */
  maxBytes: number
}

/** A stretch of one of the files, from `start` to before `end`. */
export type JournalPart = { path: string; start: number; end: number }

export class Journal {
  readonly #path: string
  readonly #halfBytes: number
  #fd: number | undefined
  /** Where the current file begins, and the one before it. */
  #currentStart = 0
  #previousStart = 0
  #end = 0
  #lostError: unknown

  constructor({ path, maxBytes }: JournalOptions) {
    this.#path = path
    this.#halfBytes = Math.max(1, Math.floor(maxBytes / 2))
    this.#fd = openSync(path, 'w', 0o600)
  }

  /** How many bytes were ever written. */
  get end(): number {
    return this.#end
  }

  /** The position of the oldest byte that is still there. */
  get start(): number {
    return this.#previousStart
  }

  /** The first error that made bytes get lost, such as a full disk. */
  get lostError(): unknown {
    return this.#lostError
  }

  /** Adds bytes. Synchronous, so that they are in order and in the page cache; a full disk loses them and is remembered. */
  append(bytes: Buffer): void {
    let rest = bytes
    while (rest.length > 0 && this.#fd !== undefined) {
      const room = this.#halfBytes - (this.#end - this.#currentStart)
      if (room <= 0) {
        this.#turn()
        continue
      }
      let written: number
      try {
        written = writeSync(this.#fd, rest, 0, Math.min(rest.length, room))
      } catch (error) {
        this.#lostError ??= error
        return
      }
      this.#end += written
      rest = rest.subarray(written)
    }
  }

  /** Takes all output of a process, both streams in the order of writing, to the very end. */
  sink(): OutputSink {
    return {
      write: (_name, bytes) => {
        this.append(bytes)
        return true
      },
      drained: () => Promise.resolve(),
      lasting: true,
      closed: () => this.close(),
    }
  }

  /** The files and stretches that hold everything from `cursor` on, in order. A cursor that was dropped means the oldest byte. */
  parts(cursor: number): JournalPart[] {
    const from = Math.max(cursor, this.start)
    const parts: JournalPart[] = []
    if (from < this.#currentStart)
      parts.push({
        path: `${this.#path}.1`,
        start: from - this.#previousStart,
        end: this.#currentStart - this.#previousStart,
      })
    if (this.#end > Math.max(from, this.#currentStart))
      parts.push({
        path: this.#path,
        start: Math.max(from, this.#currentStart) - this.#currentStart,
        end: this.#end - this.#currentStart,
      })
    return parts
  }

  /** Ends writing; the files stay. */
  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  /** Ends writing and removes the files. */
  remove(): void {
    this.close()
    rmSync(this.#path, { force: true })
    rmSync(`${this.#path}.1`, { force: true })
  }

  #turn(): void {
    this.close()
    renameSync(this.#path, `${this.#path}.1`)
    this.#fd = openSync(this.#path, 'w', 0o600)
    this.#previousStart = this.#currentStart
    this.#currentStart = this.#end
  }
}
