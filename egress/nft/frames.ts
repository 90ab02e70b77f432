// Keeps the table that notes what frames sandboxes send (frame-rules.ts) in step with the interfaces that there are. What it does is never
// waited for: nothing is open without it. A kernel that does not know such tables is asked again only when all rules are made anew.

import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Nft } from './apply.ts'
import { formatFrames, formatFramesLess, formatFramesOf } from './frame-rules.ts'

export type FramesOptions = {
  nft: Pick<Nft, 'apply'>
  table: string
  /** Whether sandboxes have IPv6. */
  ipv6: boolean
  /** Those of the sandboxes that there are now. */
  interfaces: () => readonly string[]
  isThere?: (interfaceName: string) => boolean
  /** Resolves when the time is over or the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  log: Logger
  signal: AbortSignal
}

const UNSEEN =
  'what sandboxes send that is no IPv4 is dropped, and is in no record: the kernel does not show it'

/** An interface is made within moments of its registration, or not at all. */
const FIRST_WAIT_MS = 25
const LAST_WAIT_MS = 3000

export class Frames {
  readonly #options: Required<FramesOptions>
  #isOpen = false
  #hasWarned = false
  /** Only for interfaces that are there (Linux before 6.16). */
  #needsInterface = false
  /** Whose interface was not there yet. */
  readonly #waiting = new Set<string>()
  #waitMs = FIRST_WAIT_MS
  #following: Promise<void> | undefined

  constructor({ isThere = isInterface, wait = waitFor, ...options }: FramesOptions) {
    this.#options = { ...options, isThere, wait }
  }

  /** Whether there is a table. */
  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Makes the table anew, for all interfaces. Does not reject. */
  async build(): Promise<void> {
    const { nft, ipv6, log, interfaces } = this.#options
    this.#isOpen = false
    try {
      await nft.apply(formatFrames(this.#options, { ipv6 }))
      this.#isOpen = true
    } catch (error) {
      if (!this.#hasWarned) log.warn(UNSEEN, { error: messageOf(error) })
      this.#hasWarned = true
      return
    }
    await Promise.all(interfaces().map((name) => this.put(name)))
  }

  /** Looks at an interface from now on, or as soon as it is there. Does not reject. */
  async put(name: string): Promise<void> {
    const { nft, isThere, log } = this.#options
    if (!this.#isOpen) return
    try {
      if (this.#needsInterface && !isThere(name)) return this.#tryAgain(name)
      await nft.apply(formatFramesOf(this.#options, name))
      this.#waiting.delete(name)
    } catch (error) {
      if (!isThere(name)) this.#needsInterface = true
      log.debug('cannot look at what comes in by an interface yet', {
        interface: name,
        error: messageOf(error),
      })
      this.#tryAgain(name)
    }
  }

  /** Looks at it no more. Does not reject. */
  async drop(name: string): Promise<void> {
    this.#waiting.delete(name)
    if (!this.#isOpen) return
    try {
      await this.#options.nft.apply(formatFramesLess(this.#options, name))
    } catch (error) {
      // The whole table has gone, then, and is made without it.
      this.#options.log.debug('cannot forget an interface', { interface: name, error: messageOf(error) })
    }
  }

  #tryAgain(name: string): void {
    // One that is tried already is tried less and less often.
    if (!this.#waiting.has(name)) this.#waitMs = FIRST_WAIT_MS
    this.#waiting.add(name)
    this.#following ??= this.#follow().finally(() => {
      this.#following = undefined
    })
  }

  async #follow(): Promise<void> {
    const { interfaces, isThere, wait, signal } = this.#options
    while (this.#waiting.size > 0 && !signal.aborted) {
      await wait(this.#waitMs, signal)
      this.#waitMs = Math.min(this.#waitMs * 2, LAST_WAIT_MS)
      const wanted = new Set(interfaces())
      for (const name of [...this.#waiting]) {
        if (!wanted.has(name)) this.#waiting.delete(name)
        else if (isThere(name)) await this.put(name)
      }
    }
  }
}

const isInterface = (name: string) => existsSync(`/sys/class/net/${name}`)

async function waitFor(ms: number, signal: AbortSignal): Promise<void> {
  // Aborted is as good as over: who waits looks at the signal.
  await delay(ms, undefined, { signal }).catch(() => {})
}
