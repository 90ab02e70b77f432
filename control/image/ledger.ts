// Which content a reference stands for on this machine, for whom, and when each content was last used. One small file, written beside
// and renamed, so that a crash leaves the old one or the new one. It holds no login: what came by one is marked as such, and no more.

import { readFileSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { messageOf } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import type { Known } from './decide.ts'

export type Content = {
  /** By what the runtime finds it. */
  id: string
  digest?: string
}
type Entry = Content & { reference: string; isShared: boolean }
type Stored = { entries: Entry[]; uses: Record<string, number> }

export type LedgerOptions = { path: string; log: Logger; now: () => number; flushMs?: number }

/** How late a use may be written; a crash loses no more than this of it. */
const FLUSH_MS = 30_000
/** A registry can have tags without end. Of more than these the oldest are forgotten, and asked for again. */
const MAX_ENTRIES = 5000

export class Ledger {
  readonly #options: LedgerOptions
  /** By scope and reference, the longest known first. */
  readonly #entries = new Map<string, Entry>()
  readonly #uses = new Map<string, number>()
  #writing: Promise<void> = Promise.resolve()
  /** One that has not begun yet, and takes along what is noted until then. */
  #next: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(options: LedgerOptions) {
    this.#options = options
    const { entries, uses } = readStored(options)
    for (const entry of entries) this.#entries.set(keyOf(entry.reference, entry.isShared), entry)
    for (const [id, at] of Object.entries(uses)) this.#uses.set(id, at)
  }

  /** What is known of a reference. */
  find(reference: string): Known<Content> {
    const shared = this.#entries.get(keyOf(reference, true))
    const guarded = this.#entries.get(keyOf(reference, false))
    return { ...(shared && { shared }), ...(guarded && { guarded }) }
  }

  /** Notes what a reference stands for from now on. Resolves once that is on the disk. */
  async note(reference: string, content: Content, isShared: boolean): Promise<void> {
    const key = keyOf(reference, isShared)
    const { id, digest } = content
    const before = this.#entries.get(key)
    this.#entries.delete(key)
    this.#entries.set(key, { reference, isShared, id, ...(digest !== undefined && { digest }) })
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= MAX_ENTRIES) break
      this.#entries.delete(oldest)
    }
    if (before?.id !== id || before.digest !== digest) await this.#write()
  }

  /** Notes that a content is used now. */
  touch(id: string): void {
    this.#uses.set(id, this.#options.now())
    this.#timer ??= setTimeout(() => void this.#write(), this.#options.flushMs ?? FLUSH_MS).unref()
  }

  lastUse(id: string): number | undefined {
    return this.#uses.get(id)
  }

  /** The references that stand for a content, and whether everybody may use it. */
  namesOf(id: string): { references: string[]; isShared: boolean } {
    const entries = [...this.#entries.values()].filter((entry) => entry.id === id)
    return {
      references: [...new Set(entries.map(({ reference }) => reference))].sort(),
      isShared: entries.some(({ isShared }) => isShared),
    }
  }

  /** Forgets a content that is gone. */
  async forget(id: string): Promise<void> {
    for (const [key, entry] of this.#entries) if (entry.id === id) this.#entries.delete(key)
    this.#uses.delete(id)
    await this.#write()
  }

  /** Writes what is not on the disk yet. */
  async close(): Promise<void> {
    if (this.#timer) await this.#write()
    await this.#writing
  }

  /** One write after the other; the file is a help and no truth, so that a failure is told and no more. */
  #write(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#next) return this.#next
    this.#next = this.#writing.then(async () => {
      this.#next = undefined
      const { path, log } = this.#options
      const stored: Stored = {
        entries: [...this.#entries.values()],
        uses: Object.fromEntries(this.#uses),
      }
      try {
        await writeFile(`${path}.new`, JSON.stringify(stored), { mode: 0o600 })
        await rename(`${path}.new`, path)
      } catch (error) {
        log.warn('what is known of images could not be written down', { path, error: messageOf(error) })
      }
    })
    this.#writing = this.#next
    return this.#next
  }
}

function keyOf(reference: string, isShared: boolean): string {
  return `${isShared ? 'shared' : 'guarded'} ${reference}`
}

function readStored({ path, log }: LedgerOptions): Stored {
  try {
    const { entries, uses } = JSON.parse(readFileSync(path, 'utf8')) as Stored
    return { entries: [...entries], uses: { ...uses } }
  } catch (error) {
    // Without it nothing is lost but time: registries are asked again.
    log.debug('nothing is known of images yet', { path, error: messageOf(error) })
    return { entries: [], uses: {} }
  }
}
