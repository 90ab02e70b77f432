// How large volumes are. That is found out by walking through all their files, which may be millions: so few are walked through at a
// time, what was found is kept for a while, and who asks waits for so long and no longer. It is written down, too, as quotas count it: the
// last size that was found counts until there is another, and that there never was one is written down as well.

import { messageOf } from '../../lib/errors.ts'
import { settlesWithin } from '../async.ts'
import type { Lives } from './lives.ts'

const FRESH_MS = 30_000
const MEASURE_TIMEOUT_MS = 60_000
/** So many are walked through side by side. */
const WIDTH = 2
const MAX_KEPT = 10_000

/** How old the sizes may be that quotas count. */
const COUNTED_MS = 300_000

type Needs = Pick<Lives, 'store' | 'runtime' | 'quotas' | 'now' | 'signal' | 'log'>
export type VolumeSize = { bytes: number; at: number }

export class VolumeSizes {
  readonly #lives: Needs
  /** The one found longest ago first. */
  readonly #known = new Map<string, VolumeSize>()
  readonly #measuring = new Map<string, Promise<void>>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(lives: Needs) {
    this.#lives = lives
  }

  /** The sizes of volumes by key, as far as they are known after `waitMs`; the others are being found out. */
  async of(keys: string[], waitMs: number): Promise<ReadonlyMap<string, VolumeSize>> {
    const now = this.#lives.now()
    const old = keys.filter((key) => (this.#known.get(key)?.at ?? Number.NEGATIVE_INFINITY) < now - FRESH_MS)
    if (old.length > 0) await settlesWithin(Promise.all(old.map((key) => this.#measure(key))), waitMs)
    return this.#known
  }

  /** Finds out the sizes of volumes of tenants whose bytes are counted. Resolves when all are known that can be. */
  async count(): Promise<void> {
    const { store, quotas, now } = this.#lives
    for (const tenant of store.volumes.tenants())
      if (quotas.of(tenant).volumeBytes !== undefined)
        await Promise.all(store.volumes.unsized(tenant, now() - COUNTED_MS).map((key) => this.#measure(key)))
  }

  #measure(key: string): Promise<void> {
    const begun = this.#measuring.get(key)
    if (begun) return begun
    const measuring = this.#find(key).finally(() => this.#measuring.delete(key))
    this.#measuring.set(key, measuring)
    return measuring
  }

  async #find(key: string): Promise<void> {
    const { store, runtime, now, signal, log } = this.#lives
    if (this.#running >= WIDTH) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#running += 1
    try {
      const over = AbortSignal.any([signal, AbortSignal.timeout(MEASURE_TIMEOUT_MS)])
      const bytes = await runtime.volumes?.sizeOf(key, over)
      if (bytes === undefined) return
      this.#known.delete(key)
      const found = { bytes, at: now() }
      this.#known.set(key, found)
      store.volumes.sized(key, found)
      const [oldest] = this.#known.keys()
      if (this.#known.size > MAX_KEPT && oldest !== undefined) this.#known.delete(oldest)
    } catch (error) {
      if (signal.aborted) return
      // It may have been removed meanwhile.
      log.debug('the size of a volume is not known', { volume: key, error: messageOf(error) })
      store.volumes.notSized(key, now())
    } finally {
      this.#running -= 1
      this.#waiting.shift()?.()
    }
  }
}
