// The frames of one head, which nothing comes between (RFC 9113 4.3): a HEADERS frame and those that go on with it.

import { withoutPadding } from './frame-reader.ts'
import { CODE, type Fault, FLAG, MAX_FRAME_BYTES } from './frames.ts'

const PRIORITY_BYTES = 5
const MAX_BLOCK_BYTES = 65_536
/** As many as it takes when each is full, and some more. */
const MAX_FRAMES = (2 * MAX_BLOCK_BYTES) / MAX_FRAME_BYTES

export class FieldBlock {
  readonly streamId: number
  readonly isEnd: boolean
  readonly #pieces: Buffer[]
  #bytes: number

  constructor(streamId: number, isEnd: boolean, first: Buffer) {
    this.streamId = streamId
    this.isEnd = isEnd
    this.#pieces = [first]
    this.#bytes = first.length
  }

  add(piece: Buffer): Fault | undefined {
    this.#pieces.push(piece)
    this.#bytes += piece.length
    if (this.#bytes <= MAX_BLOCK_BYTES && this.#pieces.length <= MAX_FRAMES) return undefined
    return { code: CODE.enhanceYourCalm, problem: 'a head that is too long, or in too many frames' }
  }

  whole(): Buffer {
    const [first] = this.#pieces
    return this.#pieces.length === 1 && first ? first : Buffer.concat(this.#pieces, this.#bytes)
  }
}

/** What a HEADERS frame holds beside its padding and what is no longer used of it. Undefined: it cannot be. */
export function fieldsOf(payload: Buffer, flags: number): Buffer | undefined {
  const inner = (flags & FLAG.padded) === 0 ? payload : withoutPadding(payload)
  if (!inner || (flags & FLAG.priority) === 0) return inner
  return inner.length < PRIORITY_BYTES ? undefined : inner.subarray(PRIORITY_BYTES)
}
