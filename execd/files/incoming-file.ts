// One file of an upload between the network, which brings it in pieces, and the disk, which takes many of them at once.

const MAX_BATCH_BYTES = 4 << 20
/** The system takes no more pieces at a time. */
const MAX_BATCH_PIECES = 512

type Sink = { writev(buffers: Buffer[]): Promise<{ bytesWritten: number }> }

export class IncomingFile {
  /** Which file of the upload it is, from 0 on. */
  readonly index: number
  #pieces: Buffer[] = []
  #isEnded = false
  #wake = () => {}

  constructor(index: number) {
    this.index = index
  }

  add(bytes: Buffer): void {
    this.#pieces.push(bytes)
    this.#wake()
  }

  end(): void {
    this.#isEnded = true
    this.#wake()
  }

  /** Writes everything as it comes, to the end. */
  async writeTo(
    sink: Sink,
    { signal, onWritten }: { signal: AbortSignal; onWritten(bytes: number): void },
  ): Promise<void> {
    const wake = () => this.#wake()
    signal.addEventListener('abort', wake)
    try {
      for (;;) {
        signal.throwIfAborted()
        const batch = this.#takeBatch()
        if (batch.length > 0) onWritten(await writeAllPieces(sink, batch))
        else if (this.#isEnded) return
        else await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      signal.removeEventListener('abort', wake)
    }
  }

  #takeBatch(): Buffer[] {
    let bytes = 0
    let count = 0
    while (count < this.#pieces.length && count < MAX_BATCH_PIECES && bytes < MAX_BATCH_BYTES)
      bytes += this.#pieces[count++]?.length ?? 0
    return this.#pieces.splice(0, count)
  }
}

/** Returns how many bytes there were. */
async function writeAllPieces(sink: Sink, pieces: Buffer[]): Promise<number> {
  let total = 0
  let left = pieces
  while (left.length > 0) {
    const { bytesWritten } = await sink.writev(left)
    total += bytesWritten
    left = withoutBytes(left, bytesWritten)
  }
  return total
}

/** What is left of `pieces` after their first `count` bytes. */
function withoutBytes(pieces: Buffer[], count: number): Buffer[] {
  let skip = count
  for (const [index, piece] of pieces.entries()) {
    if (skip < piece.length) return [piece.subarray(skip), ...pieces.slice(index + 1)]
    skip -= piece.length
  }
  return []
}
