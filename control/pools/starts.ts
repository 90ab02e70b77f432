import type { PoolRow } from '../store/pools.ts'

/** So many warm sandboxes are started side by side. */
const WIDTH = 4

/** The starts that are under way. Of several tenants none has all: its image may be one that takes an hour to fetch. */
export class Starts {
  readonly #mostOfTenant: number
  readonly #byTenant = new Map<string, number>()
  #all = 0

  constructor(pools: readonly PoolRow[]) {
    const isShared = pools.some(({ tenant }) => tenant !== pools[0]?.tenant)
    this.#mostOfTenant = isShared ? WIDTH - 1 : WIDTH
  }

  add(tenant: string, count: number): void {
    this.#all += count
    this.#byTenant.set(tenant, (this.#byTenant.get(tenant) ?? 0) + count)
  }

  /** How many more of a tenant may be begun. */
  freeFor(tenant: string): number {
    return Math.max(Math.min(WIDTH - this.#all, this.#mostOfTenant - (this.#byTenant.get(tenant) ?? 0)), 0)
  }
}
