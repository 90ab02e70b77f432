// How far a pull is, from what the daemon tells of its layers one by one.

import type { MakingEvent } from './events.ts'

/** No image that is meant well has as many layers; the daemon itself refuses more than 127. */
const MAX_LAYERS = 1000

export class PullProgress {
  readonly #layers = new Map<string, { current: number; total: number; isUnpacking: boolean }>()

  /** Takes in what the daemon tells. */
  note({ id, status, progressDetail }: MakingEvent): void {
    if (id === undefined || (!this.#layers.has(id) && this.#layers.size >= MAX_LAYERS)) return
    const { current = 0, total = 0 } = progressDetail ?? {}
    const layer = this.#layers.get(id) ?? { current: 0, total: 0, isUnpacking: false }
    if (status === 'Downloading')
      this.#layers.set(id, { current, total: Math.max(total, current), isUnpacking: false })
    else if (status === 'Download complete' || status === 'Verifying Checksum')
      this.#layers.set(id, { ...layer, current: layer.total })
    else if (status === 'Extracting')
      this.#layers.set(id, { ...layer, current: layer.total, isUnpacking: true })
    else if (status === 'Pull complete')
      this.#layers.set(id, { ...layer, current: layer.total, isUnpacking: false })
  }

  /** What has come so far. */
  get bytes(): number {
    return this.#sum(({ current }) => current)
  }

  /** What will come, as far as that is known. */
  get totalBytes(): number {
    return this.#sum(({ total }) => total)
  }

  /** Whether all that is known of has come, and some of it is unpacked now. */
  get isUnpacking(): boolean {
    const layers = [...this.#layers.values()]
    return (
      layers.some(({ isUnpacking }) => isUnpacking) && layers.every(({ current, total }) => current >= total)
    )
  }

  #sum(of: (layer: { current: number; total: number }) => number): number {
    return [...this.#layers.values()].reduce((sum, layer) => sum + of(layer), 0)
  }
}
