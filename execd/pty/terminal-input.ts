// What is typed on its way into a terminal. The kernel takes some 20 KiB that nobody reads and then says "later", and Node can not
// wait on a terminal for that to change, so we try again in growing steps, and at once when the program shows a sign of life.

import { writeSync } from 'node:fs'
import { systemCodeOf } from '../../lib/errors.ts'
import { type Input, MAX_WAITING_INPUT_BYTES } from './program.ts'

const FIRST_RETRY_MS = 1
const MAX_RETRY_MS = 50
/** What the line discipline takes for "end of file", unless a program has chosen otherwise. */
const END_OF_FILE = Buffer.from([0x04])

export class TerminalInput implements Input {
  readonly #fd: number
  readonly #isOpen: () => boolean
  #waiting: Buffer[] = []
  #waitingBytes = 0
  #retryMs = FIRST_RETRY_MS
  #timer: NodeJS.Timeout | undefined
  #drained: PromiseWithResolvers<void> | undefined

  /** `isOpen` says whether `fd` is still the terminal's: afterwards the number may be another file's. */
  constructor(fd: number, isOpen: () => boolean) {
    this.#fd = fd
    this.#isOpen = isOpen
  }

  get isFull(): boolean {
    return this.#waitingBytes >= MAX_WAITING_INPUT_BYTES
  }

  push(bytes: Buffer): boolean {
    if (!this.#isOpen()) return false
    if (bytes.length === 0) return true
    this.#waiting.push(bytes)
    this.#waitingBytes += bytes.length
    if (this.#timer === undefined) this.#flush()
    return true
  }

  drained(): Promise<void> {
    if (this.#waitingBytes === 0) return Promise.resolve()
    this.#drained ??= Promise.withResolvers<void>()
    return this.#drained.promise
  }

  end(): void {
    this.push(END_OF_FILE)
  }

  /** The program has done something, so perhaps it has read. */
  retry(): void {
    if (this.#timer === undefined) return
    this.#retryMs = FIRST_RETRY_MS
    this.#flush()
  }

  /** Nobody reads any more. */
  close(): void {
    this.#waiting = []
    this.#waitingBytes = 0
    this.#settle()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (let next = this.#waiting[0]; next; next = this.#waiting[0]) {
      const written = this.#isOpen() ? this.#write(next) : undefined
      if (written === undefined) {
        this.close()
        return
      }
      this.#waitingBytes -= written
      if (written > 0) this.#retryMs = FIRST_RETRY_MS
      if (written < next.length) {
        this.#waiting[0] = next.subarray(written)
        this.#timer = setTimeout(() => this.#flush(), this.#retryMs)
        this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS)
        return
      }
      this.#waiting.shift()
    }
    this.#settle()
  }

  /** How many bytes the kernel has taken, or undefined when it takes none any more. */
  #write(bytes: Buffer): number | undefined {
    try {
      return writeSync(this.#fd, bytes)
    } catch (error) {
      return systemCodeOf(error) === 'EAGAIN' ? 0 : undefined
    }
  }

  #settle(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#drained?.resolve()
    this.#drained = undefined
  }
}
