// The time of day, and what is done when somebody sets it (docs/decisions/clock-jumps.md). Deadlines are written as times of
// day, because clients name them so; what they mean is a span from now. So when the wall clock jumps while this program runs,
// which the monotonic clock tells, whoever keeps such times moves them along, before anybody sees the new time.

/** The last moment that a date can name (contract: lifecycle.md 2.1, "not representable as a date"). */
export const LAST_MOMENT = Date.UTC(9999, 11, 31, 23, 59, 59, 999)

export type ClockSources = {
  /** Milliseconds since 1970, as the machine has them. */
  wall: () => number
  /** Milliseconds from any moment on, which nobody sets. */
  monotonic: () => number
  /** A clock that is only drawn slowly towards the right time never differs so much between two looks. */
  jumpMs?: number
}

/** Moves times along; false when that cannot be at this moment, and has to be asked for again. */
export type JumpListener = (byMs: number) => boolean

export class Clock {
  readonly #wall: () => number
  readonly #monotonic: () => number
  readonly #jumpMs: number
  #onJump: JumpListener = () => true
  #offset: number

  constructor({ wall, monotonic, jumpMs = 2000 }: ClockSources) {
    this.#wall = wall
    this.#monotonic = monotonic
    this.#jumpMs = jumpMs
    this.#offset = wall() - monotonic()
  }

  /** Milliseconds since 1970; after a jump as if there had been none, until all times have been moved along. */
  readonly now = (): number => {
    const wall = this.#wall()
    const offset = wall - this.#monotonic()
    const byMs = Math.round(offset - this.#offset)
    if (Math.abs(byMs) >= this.#jumpMs && !this.#onJump(byMs)) return wall - byMs
    this.#offset = offset
    return wall
  }

  /** Calls `listener` with how far the wall clock has jumped, forward or back. */
  onJump(listener: JumpListener): void {
    this.#onJump = listener
  }
}
