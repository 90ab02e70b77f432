// The vaults of all sandboxes: what is written is on the disk before it is in force, and in force before the caller hears of it, as the
// data path asks this very object for every request.

import { ApiError } from '../../lib/errors.ts'
import type { Logger } from '../../lib/log.ts'
import { changeVault, createVault } from './change.ts'
import { requireCovered } from './coverage.ts'
import { viewOf } from './match.ts'
import type { VaultMutation, VaultRequestBody } from './parse.ts'
import type { Vaults, VaultView } from './port.ts'
import { type Vault, vaultProblem } from './vault.ts'
import type { VaultFiles } from './vault-files.ts'

type Policy = Parameters<typeof requireCovered>[1]

export class SandboxVaults implements Vaults {
  readonly #files: VaultFiles
  readonly #vaults = new Map<string, { vault: Vault; view: VaultView }>()
  /** Of those that are there and cannot be read: why. */
  readonly #unreadable: Map<string, string>

  /** Reads what an earlier run has left. */
  constructor(files: VaultFiles, log: Logger) {
    this.#files = files
    const { vaults, unreadable } = files.load()
    this.#unreadable = unreadable
    for (const [id, vault] of vaults) this.#vaults.set(id, { vault, view: viewOf(vault) })
    for (const [id, reason] of unreadable)
      log.error('cannot read a credential vault: its secrets are not used until it is made anew', {
        sandbox: id,
        reason,
      })
  }

  vaultOf(id: string): VaultView | undefined {
    return this.#vaults.get(id)?.view
  }

  /** Throws 404 when there is none, and 500 when there is one that cannot be read. */
  get(id: string): Vault {
    const found = this.#vaults.get(id)?.vault
    if (found) return found
    if (this.#unreadable.has(id))
      throw new ApiError(
        500,
        'VAULT_UNREADABLE',
        'the credential vault cannot be read any more: delete it and create it again',
      )
    throw new ApiError(404, 'NOT_FOUND', 'credential vault not found')
  }

  create(id: string, body: VaultRequestBody, policy: Policy): Vault {
    if (this.#vaults.has(id) || this.#unreadable.has(id))
      throw new ApiError(409, 'CONFLICT', 'credential vault already exists')
    return this.#put(id, createVault(body), policy)
  }

  change(id: string, mutation: VaultMutation, policy: Policy): Vault {
    const current = this.get(id)
    const next = changeVault(current, mutation)
    return next === current ? current : this.#put(id, next, policy)
  }

  /** Throws 404 when there is none. */
  delete(id: string): void {
    if (!this.#unreadable.has(id)) this.get(id)
    this.forget(id)
  }

  /** Removes whatever there is of a sandbox. */
  forget(id: string): void {
    this.#vaults.delete(id)
    this.#unreadable.delete(id)
    this.#files.remove(id)
  }

  /** Throws 400 when a policy would not allow what the bindings of a sandbox are for. */
  requireCovered(id: string, policy: Policy): void {
    const vault = this.#vaults.get(id)?.vault
    if (!vault) return
    try {
      requireCovered(vault, policy)
    } catch (error) {
      if (!(error instanceof ApiError)) throw error
      throw vaultProblem(`credential vault policy validation: ${error.message}`)
    }
  }

  #put(id: string, vault: Vault, policy: Policy): Vault {
    requireCovered(vault, policy)
    const view = viewOf(vault)
    this.#files.write(id, vault)
    this.#vaults.set(id, { vault, view })
    return vault
  }
}
