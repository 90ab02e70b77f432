// The sandboxes by what they are asked for by: id, address, interface. No two have the same of any of them.

import type { EgressRegistration } from '../lib/api/egress-admin.ts'
import { ApiError } from '../lib/errors.ts'
import type { Learned } from './learned.ts'
import type { CompiledPolicy } from './policy/compile.ts'

export type Sandbox = {
  readonly id: string
  readonly address: string
  /** Where sandboxes have IPv6: the one that the other stands for. */
  readonly address6?: string
  readonly interface: string
  readonly token: string
  /** Whose it is, for the record alone. */
  readonly tenant?: string
  /** Its requests may be read, as it trusts an authority of its own for it. */
  readonly credentialProxy?: boolean
  /** Its rules were those of an earlier version when egress began. */
  readonly hasUnmarked?: boolean
  readonly hasOtherMarks?: boolean
  /** Whether the policy is the operator's default and nobody's own. */
  readonly isDefault: boolean
  policy: CompiledPolicy
  /** A policy on its way into the kernel: until it is there, a name must pass both. */
  coming: CompiledPolicy | undefined
  readonly learned: Learned
}

export class SandboxTable {
  readonly #byId = new Map<string, Sandbox>()
  readonly #byAddress = new Map<string, Sandbox>()
  readonly #byInterface = new Map<string, Sandbox>()

  get size(): number {
    return this.#byId.size
  }

  get(id: string): Sandbox | undefined {
    return this.#byId.get(id)
  }

  byAddress(address: string): Sandbox | undefined {
    return this.#byAddress.get(address)
  }

  byInterface(name: string): Sandbox | undefined {
    return this.#byInterface.get(name)
  }

  ids(): string[] {
    return [...this.#byId.keys()]
  }

  all(): Sandbox[] {
    return [...this.#byId.values()]
  }

  get figures(): { rules: number; learned: number } {
    const figures = { rules: 0, learned: 0 }
    for (const { policy, learned } of this.#byId.values()) {
      figures.rules += policy.policy.egress.length
      figures.learned += learned.size
    }
    return figures
  }

  /** Throws 409 when another sandbox has the address or the interface. */
  refuseTaken(id: string, { address, interface: name }: EgressRegistration): void {
    const other = [this.#byAddress.get(address), this.#byInterface.get(name)].find(
      (sandbox) => sandbox && sandbox.id !== id,
    )
    if (!other) return
    const what = other.address === address ? `address ${address}` : `interface "${name}"`
    throw new ApiError(409, 'CONFLICT', `The ${what} belongs to sandbox "${other.id}"`)
  }

  /** Lets nobody else have its address and interface, before it is there itself. */
  reserve(sandbox: Sandbox): void {
    this.#byAddress.set(sandbox.address, sandbox)
    if (sandbox.address6 !== undefined) this.#byAddress.set(sandbox.address6, sandbox)
    this.#byInterface.set(sandbox.interface, sandbox)
  }

  put(sandbox: Sandbox): void {
    this.#byId.set(sandbox.id, sandbox)
    this.reserve(sandbox)
  }

  drop(sandbox: Sandbox): void {
    this.#byId.delete(sandbox.id)
    this.#byAddress.delete(sandbox.address)
    if (sandbox.address6 !== undefined) this.#byAddress.delete(sandbox.address6)
    this.#byInterface.delete(sandbox.interface)
  }
}

/** What a caller hears about a sandbox that egress does not know. */
export function notFound(id: string): ApiError {
  return new ApiError(404, 'NOT_FOUND', `There is no sandbox "${id}"`)
}
