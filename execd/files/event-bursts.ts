// The kernel keeps a bounded queue of what happened to watched directories, and drops the rest. Node does not tell when it did:
// but all of the queue is taken at once, so whenever a great part of what it holds comes in one round of the event loop, more
// may have been lost.

import { readFileSync } from 'node:fs'

const QUEUE_PATH = '/proc/sys/fs/inotify/max_queued_events'
const USUAL_QUEUE = 16_384

export class EventBursts {
  readonly #limit: number
  readonly #listeners = new Set<() => void>()
  #count = 0

  constructor(queueSize = readQueueSize()) {
    this.#limit = Math.max(1, Math.floor(queueSize / 2))
  }

  /** Counts one event of any directory. */
  count(): void {
    if (this.#count++ === 0)
      setImmediate(() => {
        const isLost = this.#count >= this.#limit
        this.#count = 0
        if (isLost) for (const listener of this.#listeners) listener()
      })
  }

  /** Calls `listener` when events may have been lost; returns what ends that. */
  onLoss(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}

function readQueueSize(): number {
  try {
    return Number(readFileSync(QUEUE_PATH, 'utf8')) || USUAL_QUEUE
  } catch {
    // Not every sandbox shows it.
    return USUAL_QUEUE
  }
}
