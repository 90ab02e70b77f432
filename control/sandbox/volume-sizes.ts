// How large volumes are. That is found out by walking through all their files, which may be millions: so few are walked through at a
// time, what was found is kept for a while, and who asks waits for so long and no longer.

import { messageOf } from '../../lib/errors.ts'
import { settlesWithin } from '../async.ts'
import type { Lives } from './lives.ts'

const FRESH_MS = 30_000
const MEASURE_TIMEOUT_MS = 60_000
/** So many are walked through side by side. */
const WIDTH = 2
const MAX_KEPT = 10_000

export type VolumeSize = { bytes: number; at: number }

export class VolumeSizes {
  readonly #lives: Pick<Lives, 'runtime' | 'now' | 'signal' | 'log'>
  /** The one found longest ago first. */
  readonly #known = new Map<string, VolumeSize>()
  readonly #measuring = new Map<string, Promise<void>>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(lives: Pick<Lives, 'runtime' | 'now' | 'signal' | 'log'>) {
    this.#lives = lives
  }

  /** The sizes of volumes by key, as far as they are known after `waitMs`; the others are being found out. */
  async of(keys: string[], waitMs: number): Promise<ReadonlyMap<string, VolumeSize>> {
    const now = this.#lives.now()
    const old = keys.filter((key) => (this.#known.get(key)?.at ?? Number.NEGATIVE_INFINITY) < now - FRESH_MS)
    if (old.length > 0) await settlesWithin(Promise.all(old.map((key) => this.#measure(key))), waitMs)
    return this.#known
  }

  #measure(key: string): Promise<void> {
    const begun = this.#measuring.get(key)
    if (begun) return begun
    const measuring = this.#find(key).finally(() => this.#measuring.delete(key))
    this.#measuring.set(key, measuring)
    return measuring
  }

  async #find(key: string): Promise<void> {
    const { runtime, now, signal, log } = this.#lives
    if (this.#running >= WIDTH) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running += 1
    try {
      const over = AbortSignal.any([signal, AbortSignal.timeout(MEASURE_TIMEOUT_MS)])
      const bytes = await runtime.volumes?.sizeOf(key, over)
      if (bytes === undefined) return
      this.#known.delete(key)
      this.#known.set(key, { bytes, at: now() })
      const [oldest] = this.#known.keys()
      if (this.#known.size > MAX_KEPT && oldest !== undefined) this.#known.delete(oldest)
    } catch (error) {
      // It may have been removed meanwhile.
      if (!signal.aborted)
        log.debug('the size of a volume is not known', { volume: key, error: messageOf(error) })
    } finally {
      this.#running -= 1
      this.#waiting.shift()?.()
    }
  }
}
