// What files hold: copied with its holes as holes, by the shortest way that the file systems of both sides have.

import type { Calls } from './calls.ts'
import type { Stat } from './libc.ts'

const SEEK_DATA = 3
const SEEK_HOLE = 4
const FICLONE = 0x40049409
const COPY_CHUNK = 16 << 20

export class Content {
  readonly #calls: Calls
  readonly #checkIn: () => void
  /** Whether the file system has said that it cannot share blocks. */
  #cannotShare = false
  /** Whether the two sides have turned out to be different file systems, between which only bytes go. */
  #isFromOtherDisk = false

  constructor(calls: Calls, checkIn: () => void) {
    this.#calls = calls
    this.#checkIn = checkIn
  }

  /** Copies all of a file, from one that is open to one that is empty; shares the blocks where the file system can. */
  copy(from: number, to: number, { size, blocks }: Stat): void {
    if (size === 0) return
    if (!this.#cannotShare) {
      if (this.#calls.ioctl(to, FICLONE, from) === 0) return
      this.#cannotShare = true
    }
    // Who has blocks for all of it has no holes, and need not be asked where they are.
    if (blocks * 512 >= size) this.#copyRange(from, to, 0, size)
    else {
      this.#calls.check('ftruncate', this.#calls.ftruncate(to, size))
      for (const [start, end] of this.data(from, size)) this.#copyRange(from, to, start, end)
    }
  }

  /** The parts of a file that are no holes. */
  *data(fd: number, size: number): Generator<[start: number, end: number]> {
    for (let [start, end] = this.#nextData(fd, 0, size); start < size; ) {
      yield [start, end]
      ;[start, end] = this.#nextData(fd, end, size)
    }
  }

  /** Where data begins and ends at or after an offset; both the size when there is no more. */
  #nextData(fd: number, at: number, size: number): [number, number] {
    if (at >= size) return [size, size]
    const start = this.#calls.lseek(fd, at, SEEK_DATA)
    // There is only a hole behind it; or the file has become shorter.
    if (start < 0) return [size, size]
    const end = this.#calls.lseek(fd, start, SEEK_HOLE)
    return [Math.min(start, size), Math.min(end < 0 ? size : end, size)]
  }

  #copyRange(from: number, to: number, start: number, end: number): void {
    if (start > 0) {
      this.#calls.check('lseek', this.#calls.lseek(from, start, 0))
      this.#calls.check('lseek', this.#calls.lseek(to, start, 0))
    }
    for (let at = start; at < end; ) {
      this.#checkIn()
      const size = Math.min(end - at, COPY_CHUNK)
      const done = this.#isFromOtherDisk
        ? this.#calls.sendfile(to, from, null, size)
        : this.#calls.copy(from, null, to, null, size, 0)
      if (done === 0) return // it has become shorter
      if (done > 0) at += done
      // A sandbox with a disk of its own.
      else if (!this.#isFromOtherDisk && this.#calls.code() === 'EXDEV') this.#isFromOtherDisk = true
      else throw this.#calls.error('copy')
    }
  }
}
