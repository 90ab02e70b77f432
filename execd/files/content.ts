// Looking for a text in files, as `grep -r` does: bytes are compared, so that any encoding of a file is fine, and lines are only
// counted in the few files that have the text at all.

import { closeSync, constants, openSync, readSync } from 'node:fs'
import type { FoundLine } from '../../lib/api/execd-files.ts'
import { systemCodeOf } from '../../lib/errors.ts'
import { nativePath } from './name.ts'
import type { Pace } from './turns.ts'

/** What is looked at in one step: there are texts that take a thousand times as long to look for as others. */
const WINDOW_BYTES = 32 << 10
const MAX_LINES = 100
const MAX_LINE_BYTES = 512
/** More than any text to look for has. */
const LINE_OVERLAP_BYTES = 8 << 10
const NEWLINE = 0x0a
const PAGE_PART_BYTES = 512
const OPEN_FLAGS = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW

export type Found = { matches?: FoundLine[]; truncated?: true; binary?: true }

export class ContentSearch {
  readonly #contains: (bytes: Buffer) => boolean
  /** How much of a window must be looked at again with the next. */
  readonly #overlap: number
  readonly #pace: Pace
  readonly #window = Buffer.allocUnsafeSlow(WINDOW_BYTES)

  constructor(text: string, { ignoreCase, pace }: { ignoreCase: boolean; pace: Pace }) {
    const wanted = ignoreCase ? text.toLowerCase() : text
    const bytes = Buffer.from(wanted)
    this.#contains = ignoreCase
      ? (part) => part.toString('utf8').toLowerCase().includes(wanted)
      : (part) => part.includes(bytes)
    // A letter of the other case can have up to three times as many bytes.
    this.#overlap = ignoreCase ? bytes.length * 3 : bytes.length - 1
    this.#pace = pace
  }

  /** What the file at `path` has of the text; undefined when nothing, or when it cannot be read. At once for small files. */
  search(path: string): Found | undefined | Promise<Found | undefined> {
    let fd: number
    try {
      // Whatever has taken the place of the file since: nobody is waited for, and no link is followed.
      fd = openSync(nativePath(path), OPEN_FLAGS)
    } catch {
      return undefined
    }
    let isOpen = true
    try {
      const length = this.#read(fd, 0)
      if (length < WINDOW_BYTES) {
        const bytes = this.#window.subarray(0, length)
        return this.#contains(bytes) ? this.#describeSmall(bytes) : undefined
      }
      isOpen = false
      return this.#searchLarge(fd)
        .catch((error: unknown) => {
          if (systemCodeOf(error) === undefined) throw error
          return undefined
        })
        .finally(() => closeSync(fd))
    } catch {
      return undefined
    } finally {
      if (isOpen) closeSync(fd)
    }
  }

  async #searchLarge(fd: number): Promise<Found | undefined> {
    let position = 0
    for (;;) {
      const length = this.#read(fd, position)
      if (this.#contains(this.#window.subarray(0, length))) break
      if (length < WINDOW_BYTES) return undefined
      position += length - this.#overlap
      if (this.#pace.isDue) await this.#pace.rest()
    }
    if (this.#isBinary(this.#read(fd, 0))) return { binary: true }
    const lines = new LineFinder(this.#contains)
    for (let at = 0; ; ) {
      const length = this.#read(fd, at)
      at += length
      if (!lines.take(this.#window.subarray(0, length)) || length === 0) return lines.end()
      if (this.#pace.isDue) await this.#pace.rest()
    }
  }

  #describeSmall(bytes: Buffer): Found {
    if (this.#isBinary(bytes.length)) return { binary: true }
    const lines = new LineFinder(this.#contains)
    lines.take(bytes)
    return lines.end()
  }

  #isBinary(length: number): boolean {
    return this.#window.subarray(0, length).includes(0)
  }

  /**
   * Fills the window: less than that is the end of the file. Some file systems give less at a time, a number of whole pages, and
   * only then is it worth to ask again.
   */
  #read(fd: number, position: number): number {
    let length = 0
    while (length < WINDOW_BYTES) {
      const read = readSync(fd, this.#window, length, WINDOW_BYTES - length, position + length)
      length += read
      if (read === 0 || read % PAGE_PART_BYTES !== 0) break
    }
    return length
  }
}

/** Finds the lines with the text in what it is given piece by piece. */
class LineFinder {
  readonly #contains: (bytes: Buffer) => boolean
  readonly #found: FoundLine[] = []
  #line = 1
  /** The beginning of a line whose end has not come yet. */
  #begun = Buffer.alloc(0)
  #isTruncated = false

  constructor(contains: (bytes: Buffer) => boolean) {
    this.#contains = contains
  }

  /** False when it has enough. */
  take(bytes: Buffer): boolean {
    let rest = this.#begun.length > 0 ? Buffer.concat([this.#begun, bytes]) : bytes
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
      if (!this.#check(rest.subarray(0, end))) return false
      rest = rest.subarray(end + 1)
      this.#line++
    }
    // A line that is longer than what is read at once is looked at in parts, which is as good as any for a file without lines.
    if (rest.length > WINDOW_BYTES) {
      if (!this.#check(rest)) return false
      rest = rest.subarray(rest.length - LINE_OVERLAP_BYTES)
    }
    this.#begun = Buffer.from(rest)
    return true
  }

  end(): Found {
    if (!this.#isTruncated && this.#begun.length > 0) this.#check(this.#begun)
    return { matches: this.#found, ...(this.#isTruncated ? { truncated: true } : {}) }
  }

  #check(line: Buffer): boolean {
    if (!this.#contains(line) || this.#found.at(-1)?.line === this.#line) return true
    this.#isTruncated = this.#found.length === MAX_LINES
    if (this.#isTruncated) return false
    this.#found.push({ line: this.#line, text: textOf(line) })
    return true
  }
}

function textOf(line: Buffer): string {
  const isWhole = line.length <= MAX_LINE_BYTES
  const text = line.subarray(0, MAX_LINE_BYTES).toString('utf8')
  return isWhole ? text.replace(/\r$/, '') : text.replace(/\ufffd{1,3}$/, '')
}
