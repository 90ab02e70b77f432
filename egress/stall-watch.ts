// Lets nobody keep a connection by not reading: who has bytes waiting for it and takes none for so long is given up. Who is owed nothing may
// be silent for as long as it likes, as WebSockets, events and calls of gRPC are. One clock for all connections.

import type { Socket } from 'node:net'
import { Stalls } from './stalls.ts'

export type StallWatchOptions = {
  /** What the kernel holds of a connection, as the other side has not taken it yet. */
  queuedBytesOf: (socket: Socket) => number
  limitMs?: number
}

type Watched = {
  giveUp: () => void
  /** How much had been written when all of it was taken. */
  settledAt: number
}

/** What looks after something else than sockets in the same way. */
type Look = (now: number) => void

/** Long enough for somebody who pauses to read what has come so far. */
const LIMIT_MS = 10 * 60_000
const LOOK_MS = 30_000

export class StallWatch {
  readonly limitMs: number
  readonly #queuedBytesOf: (socket: Socket) => number
  readonly #stalls: Stalls<Socket>
  readonly #sockets = new Map<Socket, Watched>()
  readonly #looks = new Set<Look>()
  #clock: NodeJS.Timeout | undefined

  constructor({ queuedBytesOf, limitMs = LIMIT_MS }: StallWatchOptions) {
    this.#queuedBytesOf = queuedBytesOf
    this.limitMs = limitMs
    this.#stalls = new Stalls(limitMs)
  }

  /** Until it is closed, or what is returned is called. Whoever watches one that is watched takes it over. */
  watchSocket(socket: Socket, giveUp: () => void): () => void {
    if (socket.destroyed) return () => {}
    const watched = { giveUp, settledAt: -1 }
    this.#sockets.set(socket, watched)
    const forget = () => {
      socket.off('close', forget)
      if (this.#sockets.get(socket) === watched) this.#sockets.delete(socket)
      this.#stopIfIdle()
    }
    socket.on('close', forget)
    this.#start()
    return forget
  }

  /** Calls at each look, until what is returned is called. */
  watch(look: Look): () => void {
    this.#looks.add(look)
    this.#start()
    return () => {
      this.#looks.delete(look)
      this.#stopIfIdle()
    }
  }

  /** Called by a clock while anybody is watched. */
  look(now = performance.now()): void {
    for (const socket of this.#stalls.look(this.#waiting(), now)) this.#sockets.get(socket)?.giveUp()
    for (const look of [...this.#looks]) look(now)
  }

  *#waiting(): Generator<[Socket, number]> {
    for (const [socket, watched] of this.#sockets) {
      const { bytesWritten } = socket
      // Most are silent, and the kernel need not be asked again.
      if (bytesWritten === watched.settledAt) continue
      const untaken = socket.writableLength + this.#queuedBytesOf(socket)
      if (untaken > 0) yield [socket, bytesWritten - untaken]
      else watched.settledAt = bytesWritten
    }
  }

  #start(): void {
    this.#clock ??= setInterval(() => this.look(), LOOK_MS).unref()
  }

  #stopIfIdle(): void {
    if (this.#sockets.size > 0 || this.#looks.size > 0) return
    clearInterval(this.#clock)
    this.#clock = undefined
  }
}
