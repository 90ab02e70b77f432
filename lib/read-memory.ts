// Memory that sockets are read into again and again, instead of fresh memory for each read as streams have it: that doubles what a
// large body costs (measured: 2.0 s of processor time for 1 GiB, against 0.7 s). All read into one shared buffer, and what is kept is
// copied out of it. A connection that fills it whole gets a large one of its own, out of which nothing need be copied.

/**
 * Whose the memory of a chunk is: the receiver's; the connection's, which reads into it again unless its socket was paused
 * meanwhile; or everybody's, so that what is kept of it after the call has to be copied.
 */
export type ChunkMemory = 'given' | 'lent' | 'shared'

type OnChunk = (chunk: Buffer, memory: 'lent' | 'shared') => void

const SHARED_BYTES = 64 * 1024
const OWN_BYTES = 512 * 1024

export class ReadMemory {
  readonly #shared = Buffer.allocUnsafeSlow(SHARED_BYTES)

  /** For one connection. */
  readerFor(onChunk: OnChunk): ChunkReader {
    return new ChunkReader(this.#shared, onChunk)
  }
}

export class ChunkReader {
  #own: Uint8Array | undefined
  /** What `connect` of node:net takes. */
  readonly onread: {
    buffer: () => Uint8Array
    callback: (length: number, memory: Uint8Array) => boolean
  }

  constructor(shared: Uint8Array, onChunk: OnChunk) {
    this.onread = {
      buffer: () => this.#own ?? shared,
      callback: (length, memory) => {
        const isLent = memory === this.#own
        if (!isLent && length === shared.length) this.#own = Buffer.allocUnsafeSlow(OWN_BYTES)
        onChunk(Buffer.from(memory.buffer, memory.byteOffset, length), isLent ? 'lent' : 'shared')
        return true
      },
    }
  }

  /** Gives up the connection's own memory: somebody may still be writing out of it. */
  rest(): void {
    this.#own = undefined
  }
}
