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
  log: Logger
  signal: AbortSignal
}

/** An interface is made within moments of its registration, or not at all. */
const FIRST_WAIT_MS = 25
const LAST_WAIT_MS = 3000

export class Frames {
  readonly #options: Omit<FramesOptions, 'isThere'>
  readonly #isThere: (interfaceName: string) => boolean
  #isOpen = false
  #hasWarned = false
  /** Only for interfaces that are there (Linux before 6.16). */
  #needsInterface = false
  /** Whose interface was not there yet. */
  readonly #waiting = new Set<string>()
  #waitMs = FIRST_WAIT_MS
  #following: Promise<void> | undefined

  constructor({ isThere = isInterface, ...options }: FramesOptions) {
    this.#options = options
    this.#isThere = isThere
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
      if (!this.#hasWarned)
        log.warn(
          'what sandboxes send that is no IPv4 is dropped, and is in no record: the kernel does not show it',
          {
            error: messageOf(error),
          },
        )
      this.#hasWarned = true
      return
    }
    await Promise.all(interfaces().map((name) => this.put(name)))
  }

  /** Looks at an interface from now on, or as soon as it is there. Does not reject. */
  async put(name: string): Promise<void> {
    if (!this.#isOpen) return
    try {
      if (this.#needsInterface && !this.#isThere(name)) return this.#wait(name)
      await this.#options.nft.apply(formatFramesOf(this.#options, name))
      this.#waiting.delete(name)
    } catch (error) {
      if (!this.#isThere(name)) this.#needsInterface = true
      this.#options.log.debug('cannot look at what comes in by an interface yet', {
        interface: name,
        error: messageOf(error),
      })
      this.#wait(name)
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

  #wait(name: string): void {
    this.#waiting.add(name)
    this.#waitMs = FIRST_WAIT_MS
    this.#following ??= this.#follow().finally(() => {
      this.#following = undefined
    })
  }

  async #follow(): Promise<void> {
    const { interfaces, signal } = this.#options
    while (this.#waiting.size > 0 && !signal.aborted) {
      await delay(this.#waitMs, undefined, { signal }).catch(() => {})
      this.#waitMs = Math.min(this.#waitMs * 2, LAST_WAIT_MS)
      const wanted = new Set(interfaces())
      for (const name of this.#waiting) {
        if (!wanted.has(name)) this.#waiting.delete(name)
        else if (this.#isThere(name)) await this.put(name)
      }
    }
  }
}

const isInterface = (name: string) => existsSync(`/sys/class/net/${name}`)
