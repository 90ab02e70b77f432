// The connections that are being relayed, by sandbox: so that they end when their sandbox goes, or when its policy no longer allows a
// name that they were opened for, or their server's address.

export type Flow = {
  /** Of its server. */
  readonly address: string
  readonly port: number
  /** It was opened by its address, and not by a name that led there. */
  readonly isByAddress: boolean
  /** Names that the client has used, in canonical form. */
  readonly names: Set<string>
  end: () => void
}

export type FlowLimits = { perSandbox: number; total: number }

export class Flows {
  readonly #limits: FlowLimits
  readonly #flows = new Map<string, Set<Flow>>()
  #total = 0

  constructor(limits: FlowLimits) {
    this.#limits = limits
  }

  get total(): number {
    return this.#total
  }

  /** False when there are too many already. */
  add(id: string, flow: Flow): boolean {
    const flows = this.#flows.get(id) ?? new Set()
    if (flows.size >= this.#limits.perSandbox || this.#total >= this.#limits.total) return false
    this.#flows.set(id, flows.add(flow))
    this.#total++
    return true
  }

  remove(id: string, flow: Flow): void {
    const flows = this.#flows.get(id)
    if (!flows?.delete(flow)) return
    this.#total--
    if (flows.size === 0) this.#flows.delete(id)
  }

  /** Ends those of a sandbox that may not go on. */
  retain(id: string, isAllowed: (flow: Flow) => boolean): void {
    for (const flow of [...(this.#flows.get(id) ?? [])]) if (!isAllowed(flow)) flow.end()
  }

  /** Ends all of a sandbox. */
  endAll(id: string): void {
    for (const flow of [...(this.#flows.get(id) ?? [])]) flow.end()
  }

  /** Ends all there are. */
  endEvery(): void {
    for (const id of [...this.#flows.keys()]) this.endAll(id)
  }
}
