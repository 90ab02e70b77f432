// How pieces of what one side sends go on to another, which may read more slowly than they come.

import type { Writable } from 'node:stream'

/** Each piece that waits takes half a kB beside its bytes, so many small ones are too much long before their bytes are. */
const SMALL_BYTES = 512
const MANY_BYTES = 512

/** Gives whether more may come at once. When not, the stream emits 'drain' once they may, as it does for `write` itself. */
export function writePiece(to: Writable, piece: Buffer): boolean {
  if (piece.length >= SMALL_BYTES || to.writableLength < MANY_BYTES) return to.write(piece)
  to.write(piece, (error) => {
    if (!error) to.emit('drain')
  })
  return false
}
