// The connections that are being relayed, by sandbox: so that they end when their sandbox goes, or when its policy no longer allows a
// name that they were opened for, or their server's address.

import { Lanes } from '../../lib/lanes.ts'

export type Flow = {
  /** Of its server. */
  readonly address: string
  readonly port: number
  /** It was opened by its address, and not by a name that led there. */
  readonly isByAddress: boolean
  /** Names that the client has used, in canonical form. */
  readonly names: Set<string>
  /** What these were aliases for when they led to the address. */
  readonly aliases: Set<string>
  end: () => void
}

/** Of all together, each sandbox may have as many as are left free, and no more than its own limit. */
export type FlowLimits = { perSandbox: number; total: number }

/**
 * Names and aliases together; of a connection that says so many nobody keeps account. Programs have a connection for each name, and a name has
 * 16 aliases at most; with as many on each of its connections a sandbox takes 50 MB.
 */
const MAX_NAMES = 128

/** Notes a name that a client uses. False when it has used too many. */
export function addName({ names, aliases }: Flow, name: string, itsAliases: readonly string[]): boolean {
  if (names.has(name)) return true
  if (names.size + aliases.size + itsAliases.length >= MAX_NAMES) return false
  names.add(name)
  for (const alias of itsAliases) aliases.add(alias)
  return true
}

export class Flows {
  readonly #places: Lanes
  readonly #flows = new Map<string, Map<Flow, () => void>>()

  constructor({ perSandbox, total }: FlowLimits) {
    this.#places = new Lanes(total, { each: perSandbox })
  }

  get total(): number {
    return this.#places.taken
  }

  /** False when there are too many already. */
  add(id: string, flow: Flow): boolean {
    if (!this.#places.isOpenTo(id)) return false
    const flows = this.#flows.get(id) ?? new Map()
    this.#flows.set(id, flows.set(flow, this.#places.take(id)))
    return true
  }

  remove(id: string, flow: Flow): void {
    const flows = this.#flows.get(id)
    flows?.get(flow)?.()
    flows?.delete(flow)
    if (flows?.size === 0) this.#flows.delete(id)
  }

  /** Ends those of a sandbox that may not go on. */
  retain(id: string, isAllowed: (flow: Flow) => boolean): void {
    for (const flow of this.#of(id)) if (!isAllowed(flow)) flow.end()
  }

  /** Ends all of a sandbox. */
  endAll(id: string): void {
    for (const flow of this.#of(id)) flow.end()
  }

  /** Ends all there are. */
  endEvery(): void {
    for (const id of [...this.#flows.keys()]) this.endAll(id)
  }

  /** Those that end leave meanwhile. */
  #of(id: string): Flow[] {
    return [...(this.#flows.get(id)?.keys() ?? [])]
  }
}
