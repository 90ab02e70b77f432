// Writes the lines of a log a moment later and together. Whoever reads them is woken by each write and has its turn at once, on a busy
// machine before the answer of the request that they tell of.

import type { LogLevel } from './log.ts'

/** More than this is not kept back. */
const MAX_KEPT = 64 << 10

export type LineWriter = {
  /** Of warnings and errors nothing is kept back: this program may be about to end. */
  write(line: string, level: LogLevel): void
  /** Writes what is kept back; to be called before the program ends. */
  flush(): void
}

/** What comes in one turn of the event loop goes to `write` at its end. */
export function createLineWriter(write: (lines: string) => void): LineWriter {
  let kept = ''
  const flush = () => {
    const lines = kept
    kept = ''
    if (lines !== '') write(lines)
  }
  return {
    write(line, level) {
      if (kept === '') setImmediate(flush)
      kept += line
      if (level === 'warn' || level === 'error' || kept.length > MAX_KEPT) flush()
    },
    flush,
  }
}
