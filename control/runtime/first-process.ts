// Whether a sandbox's first process is still there, asked again and again at the cost of one short read.

import { closeSync, openSync, readSync } from 'node:fs'
import { isRunning, type SandboxRecord } from './sandbox-record.ts'

/** A process that has ended and was not waited for has no memory any more (proc(5), /proc/pid/statm). */
const NO_MEMORY = '0 '
const LONGEST = 64

export class FirstProcess implements Disposable {
  readonly #record: SandboxRecord
  /** What is read from it is of this process for ever, though another one may get its id. Absent when it had ended, or files ran out. */
  readonly #file: number | undefined
  readonly #bytes = Buffer.alloc(LONGEST)

  constructor(record: SandboxRecord) {
    this.#record = record
    const file = record.init && openStatm(record.init.pid)
    // Judged after it was opened: before, its id may have become another one's.
    if (file !== undefined && !isRunning(record)) closeSync(file)
    else this.#file = file
  }

  get isRunning(): boolean {
    if (this.#file === undefined) return isRunning(this.#record)
    try {
      const length = readSync(this.#file, this.#bytes, 0, LONGEST, 0)
      return length > 0 && !this.#bytes.toString('latin1', 0, length).startsWith(NO_MEMORY)
    } catch {
      return false // no such process any more
    }
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file)
  }
}

function openStatm(pid: number): number | undefined {
  try {
    return openSync(`/proc/${pid}/statm`, 'r')
  } catch {
    return undefined // no such process, or no more files may be open
  }
}
