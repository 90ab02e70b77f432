// How what the other side may send ahead on one connection is divided among its streams (RFC 9113 5.2). Each begins with little and may
// send more once somebody reads it, and no more is promised to all together than the connection may have: so streams that nobody reads
// leave room for the others, however many they are.

import { ReceiveWindow } from './receive-window.ts'

export type ShareLimits = {
  /** Of all streams together. */
  bytes: number
  /** What a stream begins with. */
  firstBytes: number
  /** And what it may have at most. */
  mostBytes: number
}

/** What a stream may send before anybody has read of it, and a client before it has heard of this (RFC 9113 6.9.2). */
const FIRST_BYTES = 65_536
/** On how many streams together a client may send as much as on one. */
const CLIENT_WINDOWS = 4
/** The same of a server: many programs may share it, and an answer that is not read must leave room for the others. */
const SERVER_WINDOWS = 16
/** How many of these windows may be held before a connection is best left to those who have it. */
const CLOGGED_WINDOWS = 4
/** After so many streams that did with what they began with, the next ones begin with no more. */
const MODEST_STREAMS = 16
/** So many streams of a server begin with half of all. */
const SURE_STREAMS = 128

/** `isClient`: the other side is one. */
export function shareLimits({ isClient, mostBytes }: { isClient: boolean; mostBytes: number }): ShareLimits {
  const bytes = mostBytes * (isClient ? CLIENT_WINDOWS : SERVER_WINDOWS)
  const firstBytes = isClient ? FIRST_BYTES : Math.min(FIRST_BYTES, bytes / 2 / SURE_STREAMS)
  return { bytes, firstBytes, mostBytes }
}

export class ReceiveShares {
  readonly limits: ShareLimits
  /** Of all together. */
  readonly #window: ReceiveWindow
  /** Windows of streams that go on, and what is still held of those that are over. */
  #takenBytes = 0
  /** What streams may send beyond what they began with. */
  #grownBytes = 0
  /** How many streams in a row did with what they began with. */
  #modestStreams = MODEST_STREAMS

  constructor(limits: ShareLimits) {
    this.limits = limits
    this.#window = new ReceiveWindow(limits.bytes)
  }

  /** Whether so many more streams can begin without promising too much. */
  hasRoomFor(streams: number): boolean {
    const { bytes, firstBytes } = this.limits
    return this.#takenBytes + streams * firstBytes <= bytes
  }

  /** Whether so much of what came is still in somebody's hands, or may come, that another stream would have little of it. */
  get isClogged(): boolean {
    const { mostBytes } = this.limits
    return this.#growable < mostBytes || this.#window.heldBytes >= CLOGGED_WINDOWS * mostBytes
  }

  /** False: it is more than may come. */
  receive(bytes: number): boolean {
    return this.#window.receive(bytes)
  }

  /** Nobody keeps so many bytes any more, of a stream or of one that is over; gives how many are granted anew to all. */
  letGo(bytes: number, { isOver }: { isOver: boolean }): number {
    if (isOver) this.#takenBytes -= bytes
    const window = this.#window
    window.letGo(bytes)
    // Half of what is not held: what is may be held for long, by streams that nobody reads.
    return window.grant((window.bytes - window.heldBytes) / 2)
  }

  begin(): void {
    this.#takenBytes += this.limits.firstBytes
  }

  /** The same as `grow`, at once, if the streams before have needed it: from far away each step takes as long as the first byte. */
  growEarly(window: ReceiveWindow): number {
    return this.#modestStreams < MODEST_STREAMS ? this.#widen(window, this.limits.mostBytes) : 0
  }

  /** Makes a window wider whose bytes were let go; gives by how much. */
  grow(window: ReceiveWindow): number {
    // Whoever keeps so much of it reads more slowly than it comes: it needs more only so that its server is told less often.
    const readsSlowly = window.heldBytes > window.bytes / 4
    return this.#widen(window, readsSlowly ? 2 * window.bytes : this.limits.mostBytes)
  }

  /** A stream is over, of which what is held counts on until it is let go. */
  end(window: ReceiveWindow): void {
    this.#modestStreams = window.cameBytes > this.limits.firstBytes ? 0 : this.#modestStreams + 1
    this.#takenBytes -= window.bytes - window.heldBytes
    this.#grownBytes -= window.bytes - this.limits.firstBytes
  }

  #widen(window: ReceiveWindow, toBytes: number): number {
    const wanted = Math.min(toBytes, this.limits.mostBytes) - window.bytes
    // Never all that there is, as the next one will want some.
    const bytes = Math.max(0, Math.min(wanted, Math.floor(this.#growable / 4)))
    window.widen(bytes)
    this.#takenBytes += bytes
    this.#grownBytes += bytes
    return bytes
  }

  /** The other half is for streams that have not begun. */
  get #growable(): number {
    const { bytes } = this.limits
    return Math.min(bytes / 2 - this.#grownBytes, bytes - this.#takenBytes)
  }
}
