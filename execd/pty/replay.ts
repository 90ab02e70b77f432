// The last output of a session, once for all who look at it. Positions count every byte that there ever was. A client has a
// position and no queue of its own: what it has not got yet is here, and when it is too slow, what it has missed is gone from
// here, so nobody's pace costs memory.

import { followSequences, lengthOfCutCharacter, lengthOfRest, type SequenceState } from './escape.ts'

export type Stream = 'stdout' | 'stderr'

export type ReplayOptions = {
  /** At most this many bytes are kept. */
  maxBytes: number
  /** At most this many changes between the streams. */
  maxRuns?: number
}

const FIRST_CAPACITY = 16 << 10
const MAX_RUNS = 8192
/** How far to look for the end of a sequence; one that is longer was never ended, or is a picture that is lost anyway. */
const MAX_SEQUENCE_BYTES = 64 << 10

/** From `start` to the next run, all is of one stream. */
type Run = { start: number; stream: Stream }

export class ReplayBuffer {
  readonly #maxBytes: number
  readonly #maxRuns: number
  /** The byte at a position is at that position modulo the length. */
  #ring: Buffer
  #start = 0
  #end = 0
  #runs: Run[] = []
  /** Within what the byte at `start` lies. */
  #stateAtStart: SequenceState = 'ground'

  constructor({ maxBytes, maxRuns = MAX_RUNS }: ReplayOptions) {
    this.#maxBytes = maxBytes
    this.#maxRuns = maxRuns
    this.#ring = Buffer.alloc(Math.min(FIRST_CAPACITY, maxBytes))
  }

  /** The position of the oldest byte that is still there. */
  get start(): number {
    return this.#start
  }

  /** How many bytes there ever were. */
  get end(): number {
    return this.#end
  }

  append(stream: Stream, bytes: Buffer): void {
    for (let at = 0; at < bytes.length; at += this.#maxBytes)
      this.#appendPiece(stream, bytes.subarray(at, at + this.#maxBytes))
  }

  /** The next bytes from `position`, of one stream. They change with the next `append`. */
  read(position: number, maxBytes: number): { stream: Stream; bytes: Buffer } {
    const index = this.#runs.findLastIndex((run) => run.start <= position)
    const end = Math.min(this.#runs[index + 1]?.start ?? this.#end, position + maxBytes)
    return { stream: this.#runs[index]?.stream ?? 'stdout', bytes: this.#piece(position, end) }
  }

  /** Writes all bytes from `position` on, of both streams, into `target` at `offset`. */
  copyFrom(position: number, target: Buffer, offset: number): void {
    for (let at = position; at < this.#end; ) {
      const piece = this.#piece(at, this.#end)
      piece.copy(target, offset + at - position)
      at += piece.length
    }
  }

  /** Where to begin for someone who has seen what is gone: not within a character or a control sequence. */
  safeStart(): number {
    const head = Buffer.alloc(Math.min(MAX_SEQUENCE_BYTES, this.#end - this.#start))
    for (let at = 0; at < head.length; ) {
      const piece = this.#piece(this.#start + at, this.#start + head.length)
      piece.copy(head, at)
      at += piece.length
    }
    const cut =
      this.#stateAtStart === 'ground' ? lengthOfCutCharacter(head) : lengthOfRest(this.#stateAtStart, head)
    return this.#start + (cut ?? 0)
  }

  #appendPiece(stream: Stream, bytes: Buffer): void {
    const overflow = this.#end - this.#start + bytes.length - this.#maxBytes
    if (overflow > 0) this.#forget(overflow)
    this.#growTo(this.#end - this.#start + bytes.length)
    if (this.#runs.at(-1)?.stream !== stream) this.#runs.push({ start: this.#end, stream })
    const at = this.#end % this.#ring.length
    const fitting = Math.min(bytes.length, this.#ring.length - at)
    bytes.copy(this.#ring, at, 0, fitting)
    bytes.copy(this.#ring, 0, fitting)
    this.#end += bytes.length
    const second = this.#runs[1]
    if (this.#runs.length > this.#maxRuns && second) this.#forget(second.start - this.#start)
  }

  #forget(count: number): void {
    const start = this.#start + count
    while (this.#start < start) {
      const piece = this.#piece(this.#start, start)
      this.#stateAtStart = followSequences(this.#stateAtStart, piece)
      this.#start += piece.length
    }
    while ((this.#runs[1]?.start ?? Number.POSITIVE_INFINITY) <= start) this.#runs.shift()
  }

  #growTo(bytes: number): void {
    if (bytes <= this.#ring.length) return
    const ring = Buffer.alloc(Math.min(this.#maxBytes, 2 ** Math.ceil(Math.log2(bytes))))
    for (let at = this.#start; at < this.#end; ) {
      const piece = this.#piece(at, Math.min(this.#end, at + ring.length - (at % ring.length)))
      piece.copy(ring, at % ring.length)
      at += piece.length
    }
    this.#ring = ring
  }

  /** The bytes from `position` to `end`, or to where the ring turns over. */
  #piece(position: number, end: number): Buffer {
    const at = position % this.#ring.length
    return this.#ring.subarray(at, Math.min(this.#ring.length, at + end - position))
  }
}
