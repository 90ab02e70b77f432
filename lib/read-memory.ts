// Memory that sockets are read into again and again, instead of fresh memory for each read as streams have it: that doubles what a
// large body costs (measured: 2.0 s of processor time for 1 GiB, against 0.7 s). All read into one shared buffer, and what is kept is
// copied out of it. A connection that fills it whole gets a large one of its own, out of which nothing need be copied.
//
// There are so many large ones and no more, of which nobody takes all: who finds none goes on with the shared one. A connection that
// reads little gives its own back after some seconds. Only a read can change what the next one goes into, so one that falls silent right
// after much keeps it until it reads again or ends.

import { Lanes } from './lanes.ts'

/**
 * Whose the memory of a chunk is: the receiver's; the connection's, which reads into it again unless its socket was paused
 * meanwhile; or everybody's, so that what is kept of it after the call has to be copied.
 */
export type ChunkMemory = 'given' | 'lent' | 'shared'

type OnChunk = (chunk: Buffer, memory: 'lent' | 'shared') => void

const SHARED_BYTES = 64 * 1024
const OWN_BYTES = 512 * 1024
/** 64 MiB together. */
const MAX_OWN = 128
const SWEEP_MS = 5000

export class ReadMemory {
  readonly #shared = Buffer.allocUnsafeSlow(SHARED_BYTES)
  readonly #places: Lanes
  /** Those that have memory of their own. */
  readonly #owners = new Set<ChunkReader>()
  #sweeping: NodeJS.Timeout | undefined

  constructor({ maxOwn = MAX_OWN }: { maxOwn?: number } = {}) {
    this.#places = new Lanes(maxOwn)
  }

  /** How many connections have memory of their own. */
  get owned(): number {
    return this.#places.taken
  }

  /** For one connection; `whose` it is says whom it competes with for large ones. Must be closed when the connection is. */
  readerFor(whose: string, onChunk: OnChunk): ChunkReader {
    return new ChunkReader(this.#shared, onChunk, (reader) => this.#takeOwn(whose, reader))
  }

  /** Takes the memory of those that have not needed it since the last time; called by a clock while there are any. */
  sweep(): void {
    for (const reader of [...this.#owners]) reader.sweep()
  }

  #takeOwn(whose: string, reader: ChunkReader): Own | undefined {
    if (!this.#places.isOpenTo(whose)) return undefined
    const leave = this.#places.take(whose)
    this.#owners.add(reader)
    this.#sweeping ??= setInterval(() => this.sweep(), SWEEP_MS).unref()
    const giveBack = () => {
      leave()
      this.#owners.delete(reader)
      if (this.#owners.size > 0) return
      clearInterval(this.#sweeping)
      this.#sweeping = undefined
    }
    return { bytes: Buffer.allocUnsafeSlow(OWN_BYTES), giveBack }
  }
}

type Own = { bytes: Buffer; giveBack: () => void }

export class ChunkReader {
  readonly #shared: Uint8Array
  #own: Own | undefined
  /** What the next read goes into. */
  #next: Uint8Array
  #wasNeeded = false
  #isClosed = false
  /** What `connect` of node:net takes. */
  readonly onread: {
    buffer: () => Uint8Array
    callback: (length: number, memory: Uint8Array) => boolean
  }

  constructor(shared: Uint8Array, onChunk: OnChunk, takeOwn: (reader: ChunkReader) => Own | undefined) {
    this.#shared = shared
    this.#next = shared
    this.onread = {
      buffer: () => this.#next,
      callback: (length, memory) => {
        if (memory === shared && length === shared.length && !this.#isClosed) {
          this.#own ??= takeOwn(this)
          this.#next = this.#own?.bytes ?? shared
        } else if (length <= shared.length) this.#next = shared
        if (this.#next !== shared) this.#wasNeeded = true
        onChunk(Buffer.from(memory.buffer, memory.byteOffset, length), memory === shared ? 'shared' : 'lent')
        return true
      },
    }
  }

  /** Gives up the connection's own memory: somebody may still be writing out of it. */
  rest(): void {
    this.#own?.giveBack()
    this.#own = undefined
    this.#next = this.#shared
  }

  /** The connection has ended. */
  close(): void {
    this.#isClosed = true
    this.rest()
  }

  sweep(): void {
    if (!this.#wasNeeded && this.#next === this.#shared) this.rest()
    this.#wasNeeded = false
  }
}
