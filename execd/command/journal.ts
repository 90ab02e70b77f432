// Output that outlives its process, bounded: first in memory, as most commands say little, then on disk in two files, of which the
// older is dropped when the newer is full. Positions count every byte that was ever written, so a reader's cursor stays true after
// bytes have been dropped, and, as the name of the older file says where it begins, in another life of execd too.

import { closeSync, mkdirSync, openSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemCodeOf } from '../../lib/errors.ts'
import { numberedFiles, openPart, readPart, removeFile, sizeOf } from './journal-files.ts'
import type { OutputSink } from './output.ts'

/** More pieces in memory than this are put together: a piece costs more than the byte that it may hold. */
const MAX_PIECES = 64

const TAIL_BYTES = 4

export type JournalOptions = {
  path: string
  /** How much of it is kept on disk: at most this, and at least half of it once there was as much. Asked when a file is full. */
  maxBytes: () => number
  /** Nothing is written to disk before there is more than this. */
  memoryBytes?: number
}

/** A stretch of what a journal holds, opened: it stays what it is whatever happens to the journal. */
export type JournalReading = {
  /** The position behind its last byte. */
  end: number
  /** How many bytes `chunks` gives, unless someone cuts the files short meanwhile. */
  length: number
  chunks(): Iterable<Buffer>
  /** Its last few bytes. */
  tail(): Buffer
  close(): void
}

export class Journal {
  readonly #path: string
  readonly #maxBytes: () => number
  readonly #memoryBytes: number
  /** What is not on disk yet, from position 0 on. */
  #memory: Buffer[] | undefined = []
  #fd: number | undefined
  #openFlag: 'w' | 'a' = 'w'
  #hasFile = false
  #isClosed = false
  /** Where the current file begins, and the one before it. */
  #currentStart = 0
  #previousStart = 0
  #end = 0
  #lostError: unknown

  constructor({ path, maxBytes, memoryBytes = 0 }: JournalOptions) {
    this.#path = path
    this.#maxBytes = maxBytes
    this.#memoryBytes = memoryBytes
  }

  /** Goes on with what an earlier life has left on disk; `numbered` is for who restores many in one directory. */
  static restore(options: JournalOptions, numbered = numberedFiles(dirname(options.path))): Journal {
    const journal = new Journal(options)
    journal.#restore(numbered.get(options.path) ?? [])
    return journal
  }

  /** How many bytes were ever written. */
  get end(): number {
    return this.#end
  }

  /** The position of the oldest byte that is still there. */
  get start(): number {
    return this.#previousStart
  }

  /** How much of it is in memory. */
  get bytesInMemory(): number {
    return this.#memory ? this.#end : 0
  }

  /** How much of it is on disk. */
  get bytesOnDisk(): number {
    return this.#memory ? 0 : this.#end - this.#previousStart
  }

  /** Whether it has gone to disk, be it empty. */
  get hasFile(): boolean {
    return this.#hasFile
  }

  /** The first error that made bytes get lost, such as a full disk. */
  get lostError(): unknown {
    return this.#lostError
  }

  /** Adds bytes. Synchronous, so that they are in order and in the page cache; a full disk loses them and is remembered. */
  append(bytes: Buffer): void {
    if (this.#isClosed || bytes.length === 0) return
    if (this.#memory) {
      if (this.#end + bytes.length <= this.#memoryBytes) {
        // A copy: a chunk is a slice of a larger buffer that should not stay for it.
        this.#memory.push(Buffer.from(bytes))
        if (this.#memory.length > MAX_PIECES) this.#memory = [Buffer.concat(this.#memory)]
        this.#end += bytes.length
        return
      }
      this.#lostError ??= this.#moveToDisk()
      if (this.#memory) return
    }
    this.#lostError ??= this.#write(bytes)
  }

  /** From now on every byte goes to disk at once, and what is in memory does now: there is a file, be it empty. */
  toDisk(): void {
    if (this.#memory) this.#moveToDisk()
    else if (!this.#hasFile) this.#lostError ??= this.#write(Buffer.alloc(0))
    if (this.#isClosed) this.#closeFile()
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

  /** Opens everything from `cursor` on. A cursor that was dropped means the oldest byte. To be closed. */
  open(cursor: number): JournalReading {
    const from = Math.min(Math.max(cursor, this.start), this.#end)
    if (this.#memory) {
      const bytes = Buffer.concat(this.#memory).subarray(from)
      return {
        end: this.#end,
        length: bytes.length,
        chunks: () => [bytes],
        tail: () => bytes.subarray(-TAIL_BYTES),
        close: () => {},
      }
    }
    const parts = [
      { path: this.#previousPath(), start: this.#previousStart, end: this.#currentStart },
      { path: this.#path, start: this.#currentStart, end: this.#end },
    ]
      .filter(({ start, end }) => end > Math.max(start, from))
      .map((part) => openPart(part.path, Math.max(part.start, from) - part.start, part.end - part.start))
      .filter((part) => part !== undefined)
    return {
      end: this.#end,
      length: parts.reduce((sum, { start, end }) => sum + end - start, 0),
      chunks: function* () {
        for (const part of parts) yield* readPart(part)
      },
      tail: () => {
        let bytes = Buffer.alloc(0)
        for (const part of parts.toReversed()) {
          const start = Math.max(part.start, part.end - TAIL_BYTES + bytes.length)
          bytes = Buffer.concat([...readPart({ ...part, start }), bytes])
        }
        return bytes
      },
      close: () => {
        for (const { fd } of parts) closeSync(fd)
      },
    }
  }

  /** Ends writing; what was written stays. */
  close(): void {
    this.#isClosed = true
    this.#closeFile()
  }

  /** Ends writing and removes everything. */
  remove(): void {
    this.close()
    this.#memory = undefined
    if (this.#hasFile) removeFile(this.#path)
    if (this.#currentStart > this.#previousStart) removeFile(this.#previousPath())
  }

  /** The error that kept some of it from being written. */
  #write(bytes: Buffer): unknown {
    let rest = bytes
    try {
      this.#fd ??= this.#openFile()
      while (rest.length > 0) {
        this.#fd ??= this.#openFile()
        const room = Math.max(1, Math.floor(this.#maxBytes() / 2)) - (this.#end - this.#currentStart)
        if (room <= 0) {
          this.#turn()
          continue
        }
        const written = writeSync(this.#fd, rest, 0, Math.min(rest.length, room))
        this.#end += written
        rest = rest.subarray(written)
      }
      return undefined
    } catch (error) {
      return error
    }
  }

  /** The error that there is when there is no place on disk: then everything stays in memory. */
  #moveToDisk(): unknown {
    const memory = Buffer.concat(this.#memory ?? [])
    this.#end = 0
    const error = this.#write(memory)
    if (error === undefined) {
      this.#memory = undefined
      return undefined
    }
    this.#closeFile()
    removeFile(this.#path)
    this.#hasFile = false
    this.#end = memory.length
    this.#currentStart = 0
    this.#previousStart = 0
    return error
  }

  #openFile(): number {
    const open = () => {
      const fd = openSync(this.#path, this.#openFlag, 0o600)
      this.#hasFile = true
      return fd
    }
    try {
      return open()
    } catch (error) {
      if (systemCodeOf(error) !== 'ENOENT') throw error
      // The directory is inside the sandbox, where anyone who is root may have removed it.
      mkdirSync(dirname(this.#path), { recursive: true, mode: 0o711 })
      return open()
    }
  }

  #closeFile(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #turn(): void {
    this.#closeFile()
    const older = this.#currentStart > this.#previousStart ? this.#previousPath() : undefined
    this.#previousStart = this.#currentStart
    this.#currentStart = this.#end
    this.#openFlag = 'w'
    if (older) removeFile(older)
    renameSync(this.#path, this.#previousPath())
  }

  #previousPath(): string {
    return `${this.#path}.${this.#previousStart}`
  }

  #restore(starts: number[]): void {
    this.#memory = undefined
    this.#openFlag = 'a'
    const newest = starts.at(-1)
    for (const start of starts.slice(0, -1)) removeFile(`${this.#path}.${start}`)
    if (newest !== undefined) {
      this.#previousStart = newest
      this.#currentStart = newest + (sizeOf(this.#previousPath()) ?? 0)
    }
    const size = sizeOf(this.#path)
    this.#end = this.#currentStart + (size ?? 0)
    this.#hasFile = size !== undefined || newest !== undefined
  }
}
